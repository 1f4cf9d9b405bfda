"""Settings of `pretrain`."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from tfssl.base.config import Count, Settings, Share, option, python_only, spelled, subject
from tfssl.runs.config import Pace, Recipe


class Watching(Settings):
    """How a run is watched while it trains. Changes no weight."""

    watch: Any = option(
        "Labelled data: a small part shows k-NN and a probe while the run trains. The effective rank where not given;"
        " none: nothing.",
        None,
        metavar="LABELLED",
    )
    watch_every: Count | None = option(
        "Epochs between looks; so many that they cost at most 5 % of the time, without labels 1 %.", None
    )


class PretrainSettings(Watching, Pace, Recipe):
    """All arguments of `pretrain`. Those of `Recipe` decide on the weights, and are kept in run.json."""

    data: Any = subject("DATA")
    out: Path = option("Folder of the run. That of an interrupted run is resumed.", Path("runs/first"))
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    strategy: Any = python_only(None)
    report: bool = option("Write report.html at the end.", True)
    verbose: Literal[0, 1, 2] = option("1 a progress bar, 2 a line an epoch, 0 nothing.", 1)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        is_off = isinstance(self.watch, str) and self.watch == "none"
        if self.stop_when is not None and (self.watch is None or is_off):
            raise ValueError(
                f"{spelled('stop_when', self.stop_when)} is given, but no labels to see it by: an effective rank may"
                " stand still, or fall, while features get better; give labelled data as --watch LABELLED"
            )
        if self.watch_every is not None and is_off:
            raise ValueError(
                f"{spelled('watch_every', self.watch_every)} is given, but nothing is watched; leave it out"
            )
        return self


class Complete(PretrainSettings):
    """The settings of a run with what its data decides where nothing was given: see `tfssl.training.completing`."""

    size: Count
    epochs: Count
