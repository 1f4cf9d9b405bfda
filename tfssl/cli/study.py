"""Commands: tasks and settings beside each other."""

from collections.abc import Callable
from typing import Any

import click

import tfssl
from tfssl.cli.options import COUNT, JSON, MORE, SEED, SHARE, Group, cli, run

STUDY_OPTIONS = (
    click.option("--labelled", help="What to evaluate on; DATA where not given."),
    click.option("--test", help="Labelled test data of its own."),
    click.option("--seeds", default="0", show_default=True, help="Of the runs, as 0,1,2."),
    click.option("--trunk", default="resnet10(width=32)", show_default=True, help="The network."),
    click.option("--size", default=96, show_default=True, help="Side of the crops in pixels."),
    click.option("--steps", default=2000, show_default=True, help="Of each run."),
    click.option("--batch-size", default=64, show_default=True, help="Source images in a step."),
    click.option("--limit", type=int, help="Labelled training pictures of the probes, class-balanced; all."),
    click.option("--test-limit", type=int, help="Test pictures; all."),
    click.option("--split-seed", type=SEED, default=0, show_default=True, help="Divides what has no test part."),
    click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="As of pretrain."),
    click.option("--mixing", type=click.Choice(["joint", "alternate"]), help="As of pretrain."),
    click.option("--balance", type=click.Choice(["initial", "gradient", "none"]), help="As of pretrain."),
    click.option("--mixed-precision", type=click.Choice(["float16", "bfloat16"]), help="As of pretrain."),
    click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part unreadable."),
    click.option("--out", required=True, help="Folder of the study. One that was stopped is gone on with."),
)


def _study(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(STUDY_OPTIONS):
        command = option(command)
    return command


@cli.command()
@click.argument("data")
@click.option("--tasks", multiple=True, required=True, help="A set of tasks; once for each row of the table.")
@_study
@JSON
def compare(as_json: bool, tasks: tuple[str, ...], **arguments: Any) -> None:
    """Pretrain on each set of tasks with each seed, and evaluate: table, figure, and what it shows."""
    run(as_json, lambda: tfssl.compare(tasks=tasks, **arguments))


@cli.command()
@click.argument("data")
@click.option("--tasks", required=True, help="Variants, as 'jigsaw(classes={4,16,64})'.")
@click.option("--every", type=int, help="Steps between probes of a run; at the end only.")
@_study
@JSON
def sweep(as_json: bool, **arguments: Any) -> None:
    """Difficulty and duration as a curve: pretext accuracy beside what a linear probe makes of it."""
    run(as_json, lambda: tfssl.sweep(**arguments))


@cli.group(cls=Group)
def bench() -> None:
    """Measure speed on this machine."""


@bench.command()
@click.argument("data")
@click.option("--tasks", help="Pretext tasks, commas between them; all there are.")
@click.option("--size", default=96, show_default=True, help="Side of the crops in pixels.")
@click.option("--batch-size", default=64, show_default=True, help="Source pictures in a batch.")
@click.option("--passes", default=3, show_default=True, help="How often each stage is measured; the median counts.")
@click.option("--seconds", default=1.5, show_default=True, help="How long a pass of a stage is measured.")
@click.option("--no-cache", is_flag=True, help="Decode pictures anew for each crop.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part of unreadable pictures.")
@JSON
def pipeline(as_json: bool, no_cache: bool, **arguments: Any) -> None:
    """Source pictures a second from files to puzzles, stage by stage; the slow one is named."""
    memory: dict[str, Any] = {"cache_memory": 0} if no_cache else {}
    run(as_json, lambda: tfssl.bench_pipeline(**arguments, **memory))


@bench.command()
@click.argument("folder", metavar="DIR")
@click.argument("data")
@click.option("--limit", default=2000, show_default=True, help="Largest count of pictures to probe with, and on.")
@click.option("--passes", default=30, show_default=True, help="How often latency is measured; the median counts.")
@click.option("--folds", help="Of sounds: finds a file's fold in its name, '^(.)' for ESC-10; else five.")
@click.option("--groups", help="Of sounds: files in whose names it finds the same text are in one fold.")
@JSON
def devices(as_json: bool, **arguments: Any) -> None:
    """TFLite files of an export: size, latency, and what is left of the accuracy on labelled DATA.

    DATA are pictures, or a folder of sounds for files of sound.
    """
    run(as_json, lambda: tfssl.bench_devices(**arguments))


@bench.command()
@click.argument("folder", metavar="DIR")
@click.option("--seconds", type=MORE, default=300.0, show_default=True, help="Of the mixed load.")
@click.option("--clients", type=COUNT, default=16, show_default=True, help="That ask at once.")
@click.option("--batch", type=COUNT, default=32, show_default=True, help="Rows of the larger requests of pixels.")
@click.option("--passes", type=COUNT, default=5, show_default=True, help="Of the throughput; medians count.")
@click.option("--requests", type=COUNT, default=8, show_default=True, help="Of a pass.")
@JSON
def serving(as_json: bool, **arguments: Any) -> None:
    """`tfssl serve` under load, while versions change: latencies, throughput, requests that are lost."""
    run(as_json, lambda: tfssl.bench_serving(**arguments))


@cli.command()
@click.argument("data")
@click.option("--tasks", default="rotation", show_default=True, help="Pretext tasks, commas between them.")
@click.option("--size", default=96, show_default=True, help="Side of the crops in pixels.")
@click.option("--count", default=1000, show_default=True, help="Pictures or clips of the sample.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Other seeds take others.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part of unreadable pictures.")
@JSON
def audit(as_json: bool, **arguments: Any) -> None:
    """Does a task leak its answer? Exit status 1 where it does."""
    run(as_json, lambda: tfssl.audit(**arguments))
