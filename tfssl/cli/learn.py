"""Commands: from data to a run."""

from typing import Any

import click

import tfssl
from tfssl.cli.options import COUNT, JSON, SEED, SHARE, cli, run


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


@cli.command()
@click.argument("data")
@click.option("--tasks", default="rotation", show_default=True, help="Pretext tasks, commas between them.")
@click.option("--trunk", default="resnet18", show_default=True, help="The network, as 'resnet10(width=32)'.")
@click.option("--size", default=96, show_default=True, help="Side of the crops in pixels.")
@click.option("--sound-trunk", default="l3(width=64)", show_default=True, help="The network of tasks that listen.")
@click.option("--epochs", default=20, show_default=True)
@click.option("--out", required=True, help="Folder of the run. That of an interrupted run is gone on with.")
@click.option("--steps-per-epoch", type=int, help="Steps of an epoch; one pass over DATA where not given.")
@click.option("--batch-size", default=64, show_default=True, help="Source images in a step.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="Peak, for 64 images a step; scales with it.",
)
@click.option("--schedule", default="cosine", show_default=True, help="cosine or step.")
@click.option(
    "--warm-up", type=SHARE, default=0.02, show_default=True, help="Part of the steps in which the rate rises."
)
@click.option(
    "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True, help="Nesterov momentum."
)
@click.option(
    "--weight-decay",
    type=click.FloatRange(0),
    default=5e-4,
    show_default=True,
    help="L2, as in the papers; not on batch norm and biases.",
)
@click.option("--mixing", default="joint", show_default=True, help="joint, or alternate: one update a task.")
@click.option(
    "--balance",
    default="initial",
    show_default=True,
    help="initial: losses of equal size at the start; gradient: their gradients on the trunk; or none.",
)
@click.option("--init", help="A run whose weights to begin with; it may have had other tasks.")
@click.option("--keep-every", type=COUNT, help="Epochs between copies of the trunk that are kept.")
@click.option("--mixed-precision", help="float16 or bfloat16.")
@click.option("--jit-compile", is_flag=True, help="Compile the step with XLA.")
@click.option("--deterministic", is_flag=True, help="Bit-identical repeats and resumes; slower.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part of unreadable pictures.")
@click.option(
    "--log-every", type=COUNT, default=20, show_default=True, help="Steps that a line of metrics.jsonl is the mean of."
)
@click.option("--checkpoint-every", type=COUNT, default=500, show_default=True, help="Steps between checkpoints.")
@JSON
def pretrain(as_json: bool, **arguments: Any) -> None:
    """Train an encoder on pretext tasks. Killed and started again, it goes on where it was."""
    run(as_json, lambda: tfssl.pretrain(**arguments))
