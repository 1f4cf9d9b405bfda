"""Commands: from a run to its users."""

import os
from typing import Any

import click

import tfssl
from tfssl.cli.options import COUNT, JSON, MODEL_NAME, MORE, PORT, SERVER, SHARE, cli, run


@cli.command()
@click.argument("run")
@click.argument("folder", metavar="DIR")
@click.option("--layer", help="Stage to export, as 'stage3'; the best by the run's evaluation, else the last.")
@click.option("--pool", default=1, show_default=True, help="Average its map to POOL x POOL places, not all to one.")
@click.option("--version", type=int, help="Number of the version; the next free one where not given.")
@click.option("--tflite", default="", metavar="PRECISIONS", help="TFLite files too: float32,float16,int8 or some.")
@click.option("--onnx", is_flag=True, help="ONNX files too. Needs the extra 'onnx'.")
@click.option("--dimensions", type=int, help="Smaller embeddings, by principal components of the run's own data.")
@click.option("--l2-normalise", is_flag=True, help="Embeddings of length 1.")
@JSON
def export(as_json: bool, **arguments: Any) -> None:
    """Write a SavedModel for TensorFlow Serving, and encoder.keras beside it.

    Says which embedding it is, and what evaluate measured exactly that at.
    """
    from tfssl.export.saved_model import export as export_run

    run(as_json, lambda: export_run(**arguments))


@cli.command()
@click.argument("folder", metavar="DIR")
@SERVER
@MODEL_NAME
@JSON
def check(as_json: bool, **arguments: Any) -> None:
    """Replay the golden vectors of an export: is what is served what was measured?

    With --server, also those of a server: it must serve the newest version in DIR.
    """
    run(as_json, lambda: tfssl.check(**arguments))


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
    run(as_json, lambda: tfssl.serve(grpc_port=None if no_grpc else grpc_port, **arguments))


@cli.command()
@click.argument("model", metavar="RUN_OR_EXPORT")
@click.argument("data")
@click.option("--to", required=True, help="FILE.parquet or FILE.npz: embedding [N, D], path and label [N].")
@click.option("--layer", help="Stage of a run; the one that export would take where not given.")
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
    run(as_json, lambda: tfssl.embed(**arguments))


@cli.command()
@click.argument("embeddings")
@click.option("--to", required=True, help="New folder for the index.")
@click.option(
    "--exact-up-to", type=COUNT, default=100000, show_default=True, help="Rows; of more, only near cells are searched."
)
@JSON
def index(as_json: bool, **arguments: Any) -> None:
    """Make a FAISS index of a file that embed wrote. Needs the extra 'search'."""
    run(as_json, lambda: tfssl.index(**arguments))


@cli.command()
@click.argument("index")
@click.option("--query", multiple=True, required=True, help="A picture (or sound) to find the like of; once for each.")
@click.option("--count", default=10, show_default=True, help="Answers for each.")
@click.option("--encoder", help="Run or export that made the embeddings, where it was moved.")
@click.option("--to", help="Picture file for queries and answers: png, svg, pdf or jpg.")
@JSON
def search(as_json: bool, **arguments: Any) -> None:
    """Find what of a collection is most like a picture or a sound. Needs the extra 'search'."""
    run(as_json, lambda: tfssl.search(**arguments))
