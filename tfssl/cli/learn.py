"""Commands: from data to a run."""

from typing import Any

import click

import tfssl
from tfssl.cli.options import JSON, SEED, SHARE, cli, command, run
from tfssl.training.config import PretrainSettings


@cli.command()
@click.argument("data")
@click.option("--tasks", help="Pretext tasks, as 'rotation(rotations=4)'; the run's, or rotation.")
@click.option("--to", required=True, help="Picture file: png, svg, pdf or jpg.")
@click.option("--run", help="A run whose network answers too.")
@click.option("--size", type=int, help="Side of the crops in pixels; the run's, or 96.")
@click.option("--count", default=6, show_default=True, help="Source pictures.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Other seeds show other pictures.")
@JSON
def show(as_json: bool, **arguments: Any) -> None:
    """Draw puzzles with their answers: the first thing to look at."""
    run(as_json, lambda: tfssl.show(**arguments))


@cli.command()
@click.argument("clips")
@click.option("--to", required=True, help="New folder for the data set, to be given as DATA afterwards.")
@click.option("--size", default=128, show_default=True, help="Short side of frames in pixels.")
@click.option("--rate", default=12.5, show_default=True, help="Frames a second.")
@click.option("--sound-rate", default=16000, show_default=True, help="Hertz.")
@click.option("--seconds", default=10.0, show_default=True, help="Longest piece, about.")
@click.option("--labels", help="A CSV with columns file and label, and group where wanted; else sub-folder = label.")
@click.option("--groups", help="Regular expression: files for which it finds the same text are of one source.")
@click.option("--test", type=SHARE, default=0.2, show_default=True, help="Part of the sources for the split test.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of that choice.")
@click.option("--processes", type=int, help="That decode at once; as many as there are cores.")
@click.option("--beam", help="Runner of Apache Beam to hand it to, as 'FlinkRunner --flink_master=HOST:8081'.")
@JSON
def ingest(as_json: bool, **arguments: Any) -> None:
    """Turn a folder of films and sounds into a data set for the tasks on clips.

    Started again after an interruption, it goes on. Needs the extra 'video'.
    """
    run(as_json, lambda: tfssl.ingest(**arguments))


@command(PretrainSettings)
def pretrain(**arguments: Any) -> Any:
    """Train an encoder on pretext tasks. Killed and started again, it resumes where it was."""
    return tfssl.pretrain(**arguments)
