"""The commands: each is a thin call of the Python function of the same name, with the same arguments."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

import tfssl

COUNT = click.IntRange(min=1)
PORT = click.IntRange(0, 65535)
MORE = click.FloatRange(0, min_open=True)
SEED = click.IntRange(0, 2**31 - 1)  # goes into int32 tensors
SHARE = click.FloatRange(0, 1)
SERVER = click.option("--server", metavar="ADDRESS", help="host:8500 for gRPC, http://host:8501 for REST.")
MODEL_NAME = click.option("--model-name", metavar="NAME", help="Of the model on the server; that of DIR.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output, nothing else.")


class Group(click.Group):
    """Commands in the order in which one uses them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tfssl.__version__, prog_name="tfssl")
def cli() -> None:
    """Learn an encoder from pictures without labels, measure it, and hand it on.

    DATA is a folder of pictures (sub-folder = label, for evaluation only), clips that ingest prepared, toy:images,
    toy:clips, or tfds:NAME.
    """


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
    _run(as_json, lambda: tfssl.show(**arguments))


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
    _run(as_json, lambda: tfssl.ingest(**arguments))


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
    "--weight-decay", type=click.FloatRange(0), default=5e-4, show_default=True, help="Not on batch norm and biases."
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
@click.option("--log-every", type=COUNT, default=20, show_default=True, help="Steps between lines of metrics.jsonl.")
@click.option("--checkpoint-every", type=COUNT, default=500, show_default=True, help="Steps between checkpoints.")
@JSON
def pretrain(as_json: bool, **arguments: Any) -> None:
    """Train an encoder on pretext tasks. Killed and started again, it goes on where it was."""
    _run(as_json, lambda: tfssl.pretrain(**arguments))


@cli.command()
@click.argument("run")
@click.argument("data")
@click.option("--test", help="Test data, where DATA has no train/ and test/ (or val/).")
@click.option("--protocols", default="linear,knn", show_default=True, help="linear, knn, or both.")
@click.option("--numbers", default=9216, show_default=True, help="Largest count of pooled features of a stage.")
@click.option("--grid", type=int, help="Pool every stage to GRID x GRID instead.")
@click.option("--frames", default=1, show_default=True, help="Of a clip, whose features are averaged.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part of unreadable pictures.")
@JSON
def evaluate(as_json: bool, protocols: str, **arguments: Any) -> None:
    """Measure the features of every stage, beside the same trunk with random weights."""
    chosen = tuple(protocol.strip() for protocol in protocols.split(",") if protocol.strip())
    _run(as_json, lambda: tfssl.evaluate(protocols=chosen, **arguments))


@cli.command("evaluate-sound")
@click.argument("run")
@click.argument("data")
@click.option("--folds", help="Regular expression that finds a file's fold in its name, '^(.)' for ESC-10; else five.")
@click.option("--neighbours", default=10, show_default=True, help="k of k-NN.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of folds that names do not tell.")
@JSON
def evaluate_sound(as_json: bool, **arguments: Any) -> None:
    """Measure the sound encoder of a run on labelled sounds, stage by stage, over folds.

    DATA has a sub-folder of sounds for each class. Needs the extra 'video'.
    """
    _run(as_json, lambda: tfssl.evaluate_sound(**arguments))


@cli.command()
@click.argument("run")
@click.argument("data")
@click.option("--draws", type=COUNT, default=4, show_default=True, help="Puzzles of each picture or clip, about.")
@click.option("--batch-size", default=64, show_default=True, help="Pictures or clips at once.")
@click.option("--max-broken", type=SHARE, default=0.01, show_default=True, help="Largest part unreadable.")
@JSON
def pretext(as_json: bool, **arguments: Any) -> None:
    """How well does a run solve its own puzzles, made of DATA that it never saw?"""
    _run(as_json, lambda: tfssl.pretext(**arguments))


@cli.command()
@click.argument("run")
@click.argument("data")
@JSON
def retrieve(as_json: bool, **arguments: Any) -> None:
    """Search labelled clips by picture and by sound, each by the other: nDCG and recall, beside chance."""
    _run(as_json, lambda: tfssl.retrieve(**arguments))


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
    _run(as_json, lambda: tfssl.neighbours(**arguments))


@cli.command()
@click.argument("run")
@click.argument("folder", metavar="DIR")
@click.option("--layer", help="Stage to export, as 'stage3'; the last where not given.")
@click.option("--version", type=int, help="Number of the version; the next free one where not given.")
@click.option("--tflite", default="", metavar="PRECISIONS", help="TFLite files too: float32,float16,int8 or some.")
@click.option("--onnx", is_flag=True, help="ONNX files too. Needs the extra 'onnx'.")
@click.option("--dimensions", type=int, help="Smaller embeddings, by principal components of the run's own data.")
@click.option("--l2-normalise", is_flag=True, help="Embeddings of length 1.")
@JSON
def export(as_json: bool, **arguments: Any) -> None:
    """Write a SavedModel for TensorFlow Serving, and encoder.keras beside it."""
    from tfssl.export.saved_model import export as export_run

    _run(as_json, lambda: export_run(**arguments))


@cli.command()
@click.argument("folder", metavar="DIR")
@SERVER
@MODEL_NAME
@JSON
def check(as_json: bool, **arguments: Any) -> None:
    """Replay the golden vectors of an export: is what is served what was measured?

    With --server, also those of a server: it must serve the newest version in DIR.
    """
    _run(as_json, lambda: tfssl.check(**arguments))


@cli.command()
@click.argument("folder", metavar="DIR")
@click.option("--name", help="Of the model; that of DIR where not given.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--rest-port", type=PORT, default=8501, show_default=True, help="0 for any that is free.")
@click.option("--grpc-port", type=PORT, default=8500, show_default=True, help="0 for any that is free.")
@click.option("--no-grpc", is_flag=True, help="REST alone.")
@click.option("--poll", type=MORE, default=1.0, show_default=True, help="Seconds between looks for new versions.")
@click.option("--threads", type=COUNT, help="Requests computed at once; as many as there are cores.")
@click.option("--max-request", type=COUNT, default=64, show_default=True, help="MiB of a request.")
@click.option("--max-waiting", type=COUNT, default=256, show_default=True, help="Requests that may wait at once.")
@click.option("--timeout", type=MORE, default=30.0, show_default=True, help="Seconds to send one, and to answer it.")
@JSON
def serve(as_json: bool, grpc_port: int, no_grpc: bool, **arguments: Any) -> None:
    """Serve an export on this machine by TensorFlow Serving's REST and gRPC, until Ctrl-C.

    New versions in DIR are switched to without a lost request. For trying out; production belongs on TensorFlow
    Serving. Needs the extra 'serving'.
    """
    # libjpeg writes a line for each broken picture; kept for a report of a crash, they would fill the disk.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _run(as_json, lambda: tfssl.serve(grpc_port=None if no_grpc else grpc_port, **arguments))


@cli.command()
@click.argument("model", metavar="RUN_OR_EXPORT")
@click.argument("data")
@click.option("--to", required=True, help="FILE.parquet or FILE.npz: embedding [N, D], path and label [N].")
@click.option("--layer", help="Stage of a run; the last where not given.")
@click.option("--sound", is_flag=True, help="Of clips, embed what is heard.")
@click.option("--batch-size", default=64, show_default=True, help="Pictures at once.")
@click.option("--max-broken", type=SHARE, default=1.0, show_default=True, help="Largest part of unreadable pictures.")
@click.option("--beam", help="Runner of Apache Beam to hand it to; for an export and pictures.")
@SERVER
@MODEL_NAME
@JSON
def embed(as_json: bool, **arguments: Any) -> None:
    """Embed every picture, clip or sound of a collection. Killed and started again, it goes on.

    With --server, a server computes that serves the export; the golden vectors of the export tell that it does.
    """
    _run(as_json, lambda: tfssl.embed(**arguments))


@cli.command()
@click.argument("embeddings")
@click.option("--to", required=True, help="New folder for the index.")
@click.option(
    "--exact-up-to", type=COUNT, default=100000, show_default=True, help="Rows; of more, only near cells are searched."
)
@JSON
def index(as_json: bool, **arguments: Any) -> None:
    """Make a FAISS index of a file that embed wrote. Needs the extra 'search'."""
    _run(as_json, lambda: tfssl.index(**arguments))


@cli.command()
@click.argument("index")
@click.option("--query", multiple=True, required=True, help="A picture (or sound) to find the like of; once for each.")
@click.option("--count", default=10, show_default=True, help="Answers for each.")
@click.option("--encoder", help="Run or export that made the embeddings, where it was moved.")
@click.option("--to", help="Picture file for queries and answers: png, svg, pdf or jpg.")
@JSON
def search(as_json: bool, **arguments: Any) -> None:
    """Find what of a collection is most like a picture or a sound. Needs the extra 'search'."""
    _run(as_json, lambda: tfssl.search(**arguments))


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
    click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="As of pretrain."),
    click.option("--mixing", type=click.Choice(["joint", "alternate"]), help="As of pretrain."),
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
    _run(as_json, lambda: tfssl.compare(tasks=tasks, **arguments))


@cli.command()
@click.argument("run")
@click.argument("pictures", nargs=-1, required=True)
@click.option(
    "--mask",
    default="centre",
    show_default=True,
    help="What to paint: a picture (white = hole), a folder of these by name, TOP,LEFT,HEIGHT,WIDTH, or centre.",
)
@click.option("--to", required=True, help="Folder for the painted pictures, as PNG.")
@JSON
def inpaint(as_json: bool, **arguments: Any) -> None:
    """Paint holes of pictures by a run's inpainting; the rest of each comes back as it was.

    PICTURES are files and folders, of any size.
    """
    _run(as_json, lambda: tfssl.inpaint(**arguments))


@cli.command()
@click.argument("run")
@click.argument("pictures", nargs=-1, required=True)
@click.option("--to", required=True, help="Folder for the coloured pictures, as PNG, and films, as MP4.")
@click.option("--draws", default=1, show_default=True, help="Colourings of each; for runs of colorization(diverse=K).")
@click.option("--temperature", type=float, help="Lower is more colourful; the task's own, 0.38, where not given.")
@JSON
def colorize(as_json: bool, **arguments: Any) -> None:
    """Colour grey pictures and films at their own size by a run's colorization; their lightness stays.

    PICTURES are files and folders, of any size; films need the extra 'video'.
    """
    _run(as_json, lambda: tfssl.colorize(**arguments))


@cli.command()
@click.argument("run")
@click.argument("clip")
@click.option("--to", help="heat.mp4 for the film with its sound, heat.png for eight frames.")
@JSON
def localise(as_json: bool, **arguments: Any) -> None:
    """Draw where in the picture the sound comes from.

    With 'toy:clips(count=500, seed=1)' in place of a film, and without --to, it is measured how often that is right.
    RUN was trained on 'audio_visual(fusion="localise")'. Needs the extra 'video'.
    """
    _run(as_json, lambda: tfssl.localise(**arguments))


@cli.command()
@click.argument("run")
@click.argument("clip")
@click.option("--mask", help="Of the first frame: a picture (white = follow) or TOP,LEFT,HEIGHT,WIDTH.")
@click.option("--to", help="out.mp4 for the film, or a folder for its frames and masks, as PNG.")
@click.option("--recent", default=4, show_default=True, help="Newest frames to copy from, beside the first.")
@click.option("--most", default=10, show_default=True, help="Of all places, how many of the most similar count.")
@click.option("--temperature", default=0.5, show_default=True, help="Lower takes more from the most similar of these.")
@click.option("--reach", default=6, show_default=True, help="Cells that a place may move between frames.")
@JSON
def track(as_json: bool, **arguments: Any) -> None:
    """Follow what a mask shows through a film, and draw it over the frames.

    With 'toy:clips(count=100, seed=1)' in place of a film, and without --mask and --to, it is measured how well.
    RUN was trained on 'tracking'. Needs the extra 'video'.
    """
    _run(as_json, lambda: tfssl.track(**arguments))


@cli.command()
@click.argument("data")
@click.option("--tasks", required=True, help="Variants, as 'jigsaw(classes={4,16,64})'.")
@click.option("--every", type=int, help="Steps between probes of a run; at the end only.")
@_study
@JSON
def sweep(as_json: bool, **arguments: Any) -> None:
    """Difficulty and duration as a curve: pretext accuracy beside what a linear probe makes of it."""
    _run(as_json, lambda: tfssl.sweep(**arguments))


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
    _run(as_json, lambda: tfssl.bench_pipeline(**arguments, **memory))


@bench.command()
@click.argument("folder", metavar="DIR")
@click.argument("data")
@click.option("--limit", default=2000, show_default=True, help="Largest count of pictures to probe with, and on.")
@click.option("--passes", default=30, show_default=True, help="How often latency is measured; the median counts.")
@JSON
def devices(as_json: bool, **arguments: Any) -> None:
    """TFLite files of an export: size, latency, and what is left of the accuracy on labelled DATA."""
    _run(as_json, lambda: tfssl.bench_devices(**arguments))


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
    _run(as_json, lambda: tfssl.bench_serving(**arguments))


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
    _run(as_json, lambda: tfssl.audit(**arguments))


def _run(as_json: bool, function: Callable[[], Any]) -> None:
    """Calls, and prints the result for people or as JSON; with --json all else goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result = function()
    print(json.dumps(result.as_json()) if as_json else result)
    if getattr(result, "ok", True) is False:
        raise SystemExit(1)
