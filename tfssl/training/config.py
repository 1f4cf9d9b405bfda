"""Settings of `pretrain`."""

from pathlib import Path
from typing import Any, Literal

from tfssl.base.config import Count, Share, option, python_only, subject
from tfssl.runs.config import Recipe


class PretrainSettings(Recipe):
    """All arguments of `pretrain`. Those of `Recipe` decide on the weights, and are kept in run.json."""

    data: Any = subject("DATA")
    out: Path = option("Folder of the run. That of an interrupted run is resumed.", Path("runs/first"))
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    log_every: Count = option("Steps that a line of metrics.jsonl is the mean of.", 20)
    checkpoint_every: Count = option("Steps between checkpoints.", 500)
    strategy: Any = python_only(None)
    report: bool = option("Write report.html at the end.", True)
    verbose: Literal[0, 1, 2] = option("1 a progress bar, 2 a line an epoch, 0 nothing.", 1)
