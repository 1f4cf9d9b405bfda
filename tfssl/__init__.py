"""tfssl: encoders learned from data without labels, with TensorFlow and Keras.

    run = tfssl.pretrain("photos/", out="runs/first")
    tfssl.evaluate(run, "labelled/")
    tfssl.export(run, "models/encoder")

Names are found when they are first used, so `import tfssl` does not import TensorFlow.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a bare checkout `pipelines/` and `export/` lie beside this folder, not in it; installed, they lie in it.
if not (Path(__file__).parent / "pipelines").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

from tfssl.base import environment, keras_state

keras_state.choose_backend()

if TYPE_CHECKING:
    from tfssl.apply.colorize import colorize
    from tfssl.apply.inpaint import inpaint
    from tfssl.apply.localise import localise
    from tfssl.apply.predict import predict
    from tfssl.apply.track import track
    from tfssl.auditing.audit import audit
    from tfssl.base.errors import UserError
    from tfssl.benchmarks.devices import bench_devices
    from tfssl.benchmarks.pipeline import bench_pipeline
    from tfssl.benchmarks.serving import bench_serving
    from tfssl.downstream.finetune import finetune
    from tfssl.embedding.embed import embed
    from tfssl.embedding.index import index
    from tfssl.embedding.search import search
    from tfssl.evaluation.evaluate import evaluate
    from tfssl.evaluation.feature_cache import cache
    from tfssl.evaluation.localisation import evaluate_localisation
    from tfssl.evaluation.neighbours.neighbours import neighbours
    from tfssl.evaluation.pretext import pretext
    from tfssl.evaluation.retrieval import retrieve
    from tfssl.evaluation.sound import evaluate_sound
    from tfssl.evaluation.tracking import evaluate_tracking
    from tfssl.evaluation.words import evaluate_words
    from tfssl.export.checking.check import check
    from tfssl.export.saved_model import export
    from tfssl.export.server.serve import serve
    from tfssl.multitask.puzzle_stream import puzzles
    from tfssl.pipelines.clips.ingest import ingest
    from tfssl.report.puzzles import show
    from tfssl.report.report import report
    from tfssl.runs.run import load_run
    from tfssl.starting.quickstart import quickstart
    from tfssl.studies.compare import compare
    from tfssl.studies.sweep import sweep
    from tfssl.tasks import TASKS
    from tfssl.tasks.base import PretextTask
    from tfssl.training.pretrain import pretrain

__version__ = environment.VERSION

_HOMES = {
    "PretextTask": "tfssl.tasks.base",
    "TASKS": "tfssl.tasks",
    "UserError": "tfssl.base.errors",
    "audit": "tfssl.auditing.audit",
    "bench_devices": "tfssl.benchmarks.devices",
    "bench_pipeline": "tfssl.benchmarks.pipeline",
    "bench_serving": "tfssl.benchmarks.serving",
    "cache": "tfssl.evaluation.feature_cache",
    "check": "tfssl.export.checking.check",
    "colorize": "tfssl.apply.colorize",
    "compare": "tfssl.studies.compare",
    "embed": "tfssl.embedding.embed",
    "evaluate": "tfssl.evaluation.evaluate",
    "evaluate_localisation": "tfssl.evaluation.localisation",
    "evaluate_sound": "tfssl.evaluation.sound",
    "evaluate_tracking": "tfssl.evaluation.tracking",
    "evaluate_words": "tfssl.evaluation.words",
    "finetune": "tfssl.downstream.finetune",
    "index": "tfssl.embedding.index",
    "ingest": "tfssl.pipelines.clips.ingest",
    "inpaint": "tfssl.apply.inpaint",
    "load_run": "tfssl.runs.run",
    "localise": "tfssl.apply.localise",
    "neighbours": "tfssl.evaluation.neighbours.neighbours",
    "predict": "tfssl.apply.predict",
    "pretext": "tfssl.evaluation.pretext",
    "pretrain": "tfssl.training.pretrain",
    "puzzles": "tfssl.multitask.puzzle_stream",
    "quickstart": "tfssl.starting.quickstart",
    "retrieve": "tfssl.evaluation.retrieval",
    "search": "tfssl.embedding.search",
    "serve": "tfssl.export.server.serve",
    "show": "tfssl.report.puzzles",
    "sweep": "tfssl.studies.sweep",
    "track": "tfssl.apply.track",
}

__all__ = [
    "TASKS",
    "PretextTask",
    "UserError",
    "audit",
    "bench_devices",
    "bench_pipeline",
    "bench_serving",
    "cache",
    "check",
    "colorize",
    "compare",
    "embed",
    "evaluate",
    "evaluate_localisation",
    "evaluate_sound",
    "evaluate_tracking",
    "evaluate_words",
    "export",
    "finetune",
    "index",
    "ingest",
    "inpaint",
    "load_run",
    "localise",
    "neighbours",
]
__all__ += ["predict", "pretext", "pretrain", "puzzles", "quickstart", "report", "retrieve", "search", "serve", "show"]
__all__ += ["sweep", "track"]


def __getattr__(name: str) -> Any:
    if name in ("export", "report", "serving"):  # modules; the first two can be called: see tfssl.export
        return importlib.import_module(f"tfssl.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tfssl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
