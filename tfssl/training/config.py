"""Settings of `pretrain`."""

from pathlib import Path
from typing import Any, Literal

from tfssl.base.config import Share, option, python_only, subject
from tfssl.runs.config import Pace, Recipe


class PretrainSettings(Pace, Recipe):
    """All arguments of `pretrain`. Those of `Recipe` decide on the weights, and are kept in run.json."""

    data: Any = subject("DATA")
    out: Path = option("Folder of the run. That of an interrupted run is resumed.", Path("runs/first"))
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    strategy: Any = python_only(None)
    report: bool = option("Write report.html at the end.", True)
    verbose: Literal[0, 1, 2] = option("1 a progress bar, 2 a line an epoch, 0 nothing.", 1)
