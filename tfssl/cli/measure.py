"""Commands: how good a run is."""

from typing import Any

import click

import tfssl
from tfssl.cli.options import COUNT, JSON, SEED, SHARE, cli, run


@cli.command()
@click.argument("run")
@click.argument("data")
@click.option("--test", help="Test data, where DATA has no train/ and test/ (or val/).")
@click.option("--protocols", help="Names, as linear,linear_pooled,linear_pooled_2,knn; all there are where not given.")
@click.option("--numbers", default=9216, show_default=True, help="Largest count of pooled features of a stage.")
@click.option("--grid", type=int, help="Pool every stage to GRID x GRID instead.")
@click.option("--frames", default=1, show_default=True, help="Of a clip, whose features are averaged.")
@click.option("--split-seed", type=SEED, default=0, show_default=True, help="Divides DATA that has no test part.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part of unreadable pictures.")
@JSON
def evaluate(as_json: bool, **arguments: Any) -> None:
    """Measure the features of every stage, beside the same trunk with random weights."""
    run(as_json, lambda: tfssl.evaluate(**arguments))


@cli.command("evaluate-sound")
@click.argument("run")
@click.argument("data")
@click.option("--folds", help="Regular expression that finds a file's fold in its name, '^(.)' for ESC-10; else five.")
@click.option("--groups", help="Regular expression: files in whose names it finds the same text are in one fold.")
@click.option("--neighbours", default=10, show_default=True, help="k of k-NN.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of folds that names do not tell.")
@JSON
def evaluate_sound(as_json: bool, **arguments: Any) -> None:
    """Measure the sound encoder of a run on labelled sounds, stage by stage, over folds.

    DATA has a sub-folder of sounds for each class. Needs the extra 'video'.
    """
    run(as_json, lambda: tfssl.evaluate_sound(**arguments))


@cli.command("evaluate-localisation")
@click.argument("run")
@click.argument("data", default="toy:clips(count=200, seed=20180)")
@JSON
def evaluate_localisation(as_json: bool, **arguments: Any) -> None:
    """How often does a run point at what sounds, in clips of the toy world?

    DATA is 'toy:clips(count=200, seed=20180)' where not given; the run must not be trained on that seed. RUN was
    trained on 'audio_visual(fusion="localise")'.
    """
    run(as_json, lambda: tfssl.evaluate_localisation(**arguments))


@cli.command("evaluate-tracking")
@click.argument("run")
@click.argument("data", default="toy:clips(count=50, seed=20180)")
@click.option("--recent", default=4, show_default=True, help="Newest frames to copy from, beside the first.")
@click.option("--most", default=10, show_default=True, help="Of all places, how many of the most similar count.")
@click.option("--temperature", default=0.5, show_default=True, help="Lower takes more from the most similar of these.")
@click.option("--reach", default=6, show_default=True, help="Cells that a place may move between frames.")
@JSON
def evaluate_tracking(as_json: bool, **arguments: Any) -> None:
    """How well does a run follow the main object of clips of the toy world, beside random weights and staying?

    DATA is 'toy:clips(count=50, seed=20180)' where not given; the run must not be trained on that seed. RUN was
    trained on 'tracking'.
    """
    run(as_json, lambda: tfssl.evaluate_tracking(**arguments))


@cli.command()
@click.argument("run")
@click.argument("data")
@click.option("--draws", type=COUNT, default=4, show_default=True, help="Puzzles of each picture or clip, about.")
@click.option("--batch-size", default=64, show_default=True, help="Pictures or clips at once.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part unreadable.")
@JSON
def pretext(as_json: bool, **arguments: Any) -> None:
    """How well does a run solve its own puzzles, made of DATA that it never saw?"""
    run(as_json, lambda: tfssl.pretext(**arguments))


@cli.command()
@click.argument("run")
@click.argument("data")
@JSON
def retrieve(as_json: bool, **arguments: Any) -> None:
    """Search labelled clips by picture and by sound, each by the other: nDCG and recall, beside chance."""
    run(as_json, lambda: tfssl.retrieve(**arguments))


@cli.command()
@click.argument("run")
@click.argument("data")
@click.option("--to", required=True, help="Picture file: png, svg, pdf or jpg.")
@click.option("--count", default=6, show_default=True, help="Frames or pictures to find the like of.")
@click.option("--nearest", default=5, show_default=True, help="Answers for each.")
@click.option("--frames", default=5, show_default=True, help="Of a clip, spread evenly over it, to choose from.")
@click.option("--limit", default=2000, show_default=True, help="Largest count of clips or pictures to look through.")
@click.option("--layer", help="Stage of the run; the last where not given.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Other seeds ask for others.")
@JSON
def neighbours(as_json: bool, **arguments: Any) -> None:
    """Draw frames of clips, or pictures, with what is nearest in features, beside random weights.

    Answers are of other recordings than the question.
    """
    run(as_json, lambda: tfssl.neighbours(**arguments))
