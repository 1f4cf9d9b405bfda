"""tfssl: encoders learned from data without labels, with TensorFlow and Keras.

    run = tfssl.pretrain("photos/", tasks="rotation", trunk="resnet18", size=96, epochs=20, out="runs/first")
    tfssl.evaluate(run, "labelled/")
    tfssl.export(run, "models/encoder")

Names are found when they are first used, so `import tfssl` does not import TensorFlow.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a bare checkout `pipelines/` and `export/` lie beside this folder, not in it; installed, they lie in it.
if not (Path(__file__).parent / "pipelines").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

if TYPE_CHECKING:
    from tfssl.auditing import audit
    from tfssl.bench import bench_pipeline
    from tfssl.colorizing import colorize
    from tfssl.device_bench import bench_devices
    from tfssl.embedding import embed, index, search
    from tfssl.errors import UserError
    from tfssl.evaluation import evaluate, evaluate_sound, neighbours, pretext, retrieve
    from tfssl.export.check import check
    from tfssl.export.saved_model import export
    from tfssl.export.server.serving import serve
    from tfssl.filling import inpaint
    from tfssl.gallery import show
    from tfssl.ingesting import ingest
    from tfssl.localising import localise
    from tfssl.mixing import puzzles
    from tfssl.runs import load_run
    from tfssl.serving_bench import bench_serving
    from tfssl.studies import compare, sweep
    from tfssl.task import PretextTask
    from tfssl.tasks import TASKS
    from tfssl.tracking import track
    from tfssl.training import pretrain

_HOMES = {
    "PretextTask": "tfssl.task",
    "TASKS": "tfssl.tasks",
    "UserError": "tfssl.errors",
    "audit": "tfssl.auditing",
    "bench_devices": "tfssl.device_bench",
    "bench_pipeline": "tfssl.bench",
    "bench_serving": "tfssl.serving_bench",
    "check": "tfssl.export.check",
    "colorize": "tfssl.colorizing",
    "compare": "tfssl.studies",
    "embed": "tfssl.embedding",
    "evaluate": "tfssl.evaluation",
    "evaluate_sound": "tfssl.evaluation",
    "index": "tfssl.embedding",
    "ingest": "tfssl.ingesting",
    "inpaint": "tfssl.filling",
    "load_run": "tfssl.runs",
    "localise": "tfssl.localising",
    "neighbours": "tfssl.evaluation",
    "pretext": "tfssl.evaluation",
    "retrieve": "tfssl.evaluation",
    "pretrain": "tfssl.training",
    "puzzles": "tfssl.mixing",
    "search": "tfssl.embedding",
    "serve": "tfssl.export.server.serving",
    "show": "tfssl.gallery",
    "sweep": "tfssl.studies",
    "track": "tfssl.tracking",
}

__all__ = [
    "TASKS",
    "PretextTask",
    "UserError",
    "audit",
    "bench_devices",
    "bench_pipeline",
    "bench_serving",
    "check",
    "colorize",
    "compare",
    "embed",
    "evaluate",
    "evaluate_sound",
    "export",
    "index",
    "ingest",
    "inpaint",
    "load_run",
    "localise",
    "neighbours",
]
__all__ += ["pretext", "pretrain", "puzzles", "retrieve", "search", "serve", "show", "sweep", "track"]


def __getattr__(name: str) -> Any:
    if name in ("export", "serving"):  # modules; the first can be called: see tfssl.export
        return importlib.import_module(f"tfssl.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tfssl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
