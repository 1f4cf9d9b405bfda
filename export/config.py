"""Settings of `export`, `check` and `serve`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tfssl.base.config import Count, Port, Positive, Settings, option, subject

LARGEST_VERSION = 2**63 - 1
"""Servers hold the number of a version in a signed integer of 64 bits."""


class ExportSettings(Settings):
    """All arguments of `export`."""

    run: Any = subject("RUN")
    folder: Path = subject("DIR")
    stage: str | None = option("Stage to export, as 'stage3'; the best by the run's evaluation, else the last.", None)
    version: Annotated[int, Field(ge=1, le=LARGEST_VERSION, strict=True)] | None = option(
        "Number of the version; the next free one where not given.", None
    )
    tflite: Any = option("TFLite files too: float32,float16,int8 or some.", (), metavar="PRECISIONS")
    onnx: bool = option("ONNX files too. Needs the extra 'onnx'.", False)
    word2vec: Any = option("Of words, files of word2vec's formats too: text,binary or one.", (), metavar="FORMATS")
    dimensions: int | None = option("Smaller embeddings, by principal components of the run's own data.", None)
    l2_normalise: bool = option("Embeddings of length 1.", False)
    pool: int = option("Average its map to POOL x POOL places, not all to one.", 1)


class CheckSettings(Settings):
    """All arguments of `check`."""

    folder: Path = subject("DIR")
    server: str | None = option("host:8500 for gRPC, http://host:8501 for REST.", None, metavar="ADDRESS")
    model_name: str | None = option("Of the model on the server; that of DIR.", None, metavar="NAME")


def _check_name(name: str | None) -> str | None:
    if name is not None and (not name or "/" in name or ":" in name):
        raise ValueError("a name without / and :")
    return name


class ServeSettings(Settings):
    """All arguments of `serve`."""

    folder: Path = subject("DIR")
    name: Annotated[str | None, AfterValidator(_check_name)] = option(
        "Of the model; that of DIR where not given.", None
    )
    host: str = option("Address to listen on.", "127.0.0.1")
    rest_port: Port = option("0 for any that is free.", 8501)
    grpc_port: Port | None = option("0 for any that is free.", 8500, off=("--no-grpc", None, "REST alone."))
    poll: Positive = option("Seconds between looks for new versions.", 1.0)
    threads: Count | None = option("Requests computed at once; as many as there are cores.", None)
    max_request: Count = option("MiB of a request.", 64)
    max_waiting: Count = option("Requests that may wait at once.", 256)
    timeout: Positive = option("Seconds to send one, and to answer it.", 30.0)
