"""metrics.jsonl: what training came to, a line every few steps and one at the end of each epoch.

Each line is an object: "step", "epoch", metrics by name, "learning_rate" and "images_per_second" (of a text
"words_per_second"). That of the end of an epoch has "epoch_end": true, and metrics over the whole epoch; others have
them over the steps since the line before. Where the run was looked at after the epoch, it has what `tfssl.runs.watch`
describes.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfssl.base.files import atomic_write, write_errors
from tfssl.runs import watch

NAME = "metrics.jsonl"
SPEEDS = frozenset({"images_per_second", "images/s", "words_per_second", "words/s"})
NOT_METRICS = frozenset({"step", "epoch", "epoch_end", "learning_rate", "watch", *watch.FIGURES}) | SPEEDS
"""What a line holds beside metrics, and the name of the speed in the logs of Keras."""


def append(
    folder: Path,
    step: int,
    epoch: int,
    metrics: Mapping[str, float],
    learning_rate: float,
    speed: float,
    epoch_end: bool = False,
    seen: Mapping[str, Any] | None = None,
    unit: str = "images",
) -> None:
    """Add a line to the log of the run in `folder`. Raise UserError where it cannot be written.

    `seen` is what a look at the run gave, as `tfssl.runs.watch` describes it.
    """
    line = {"step": step, "epoch": epoch, **metrics, "learning_rate": learning_rate}
    line |= {f"{unit}_per_second": speed} | ({"epoch_end": True} if epoch_end else {}) | dict(seen or {})
    with write_errors(folder / NAME), (folder / NAME).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of the log of the run in `folder`, [] where it has none yet."""
    return [line for _, line in _lines(folder)]


def read_epoch_end(folder: Path, step: int | None = None) -> dict[str, Any]:
    """Read the line of the epoch that ended at `step`, or of the last epoch.

    Raises:
      LookupError: no epoch has ended, or none at that step.
    """
    return [line for line in read(folder) if line.get("epoch_end") and step in (None, line["step"])][-1]


def cut(folder: Path, step: int) -> None:
    """Keep the lines up to `step` only: what comes after is made again."""
    if (folder / NAME).exists():
        kept = [text + "\n" for text, line in _lines(folder) if line["step"] <= step]
        with atomic_write(folder / NAME) as temporary:
            temporary.write_text("".join(kept))


def metrics_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a line, or of the logs of an epoch, by name."""
    return {name: value for name, value in line.items() if name not in NOT_METRICS}


def _lines(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line as it is written, and what it holds; pass over one that a killed run left unfinished."""
    path = folder / NAME
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and {"step", "epoch"} <= line.keys():
            yield text, line
