"""What `finetune` found: the classifier's figures, the curve over few labels, and whether pretraining helped."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfssl.base.result import Result
from tfssl.base.statistics import over_draws, paired, wilson
from tfssl.base.words import counted
from tfssl.downstream.classes import Chosen
from tfssl.downstream.data import Parts
from tfssl.frozen.metrics import mean_average_precision_interval
from tfssl.runs import seen
from tfssl.runs.evaluation import percent

MAIN = "fine-tuned"
"""What is compared with the others: the classifier itself."""

NAMES = {
    "scratch": "from scratch",
    "frozen": "the probe of frozen features",
    "random": "the probe of random features",
}
GAIN = {"scratch": "pretraining gives", "frozen": "fine-tuning gives", "random": "pretraining gives"}

APART = 0.005
"""How far balanced accuracy must be from top-1 to be told beside it."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, 0 .. 1, or differences of such.

    With several draws of labels Student's, over draws; with one, or where all give the same, over test pictures.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.low:.1f} to {100 * self.high:.1f}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of start with one amount of labels.

    Attributes:
      kind: "fine-tuned", "scratch", "frozen", "random".
      labels_per_class, fraction: how many labels were used; all where both are None.
      score: share named right; of several labels the mean average precision.
      ahead: how far "fine-tuned" is ahead, with a paired interval: on the same test pictures, or over the same draws.
      values: one a draw.
      balanced: share named right of each class, averaged over classes and draws; None where answers are no classes or
        a picture may have several.
    """

    kind: str
    labels_per_class: int | None
    fraction: float | None
    score: Interval
    ahead: Interval | None
    values: tuple[float, ...]
    balanced: float | None = None


@dataclasses.dataclass(frozen=True)
class Finetuned(Result):
    """What `finetune` wrote and found.

    Attributes:
      folder: the classifier's.
      classes: their names.
      several: whether a picture may have several labels.
      chosen: of the classifier, see `choosing.Chosen`.
      rows: all that was compared.
      unlabelled: pictures without a label, which were left out.
      broken_files: pictures that cannot be read, which were left out.
      note: where the parts of the data come from.
      seen_in_pretraining: how many of the test pictures the run was pretrained on; None where that is not known.
    """

    folder: Path
    classes: tuple[str, ...]
    several: bool
    chosen: Mapping[str, Any]
    rows: tuple[Row, ...]
    unlabelled: int
    broken_files: int
    note: str
    seen_in_pretraining: int | None

    @classmethod
    def of(cls, folder: Path, parts: Parts, chosen: Mapping[Any, Chosen], overlap: int | None = None) -> Self:
        """Sum up what was chosen, by (kind, amount, draw); the classifier is the first."""
        first = next(iter(chosen.values()))
        return cls(
            folder=folder,
            classes=parts.classes,
            several=parts.several,
            chosen=first.as_json(),
            rows=tuple(_rows(chosen, parts.several)),
            unlabelled=parts.unlabelled,
            broken_files=len(parts.broken) + first.broken,
            note=parts.note,
            seen_in_pretraining=overlap,
        )

    def sentences(self) -> list[str]:
        """Say the result in words: what is right, and beside what."""

        def begin(row: Row) -> str:
            does = "fine-tuning has a mean average precision of" if self.several else "fine-tuning names"
            alike = f"; {_balanced(row)} where each class counts alike" if unequal else ""
            return f"{does} {percent(row.score.mean)}{'' if self.several else ' right'} ({row.score}{alike})"

        def beside(other: Row, ahead: Interval) -> str:
            points = f"{100 * ahead.mean:.1f} points ({ahead})"
            alike = f" ({_balanced(other)})" if unequal else ""
            return f"{NAMES[other.kind]} {percent(other.score.mean)}{alike}: {GAIN[other.kind]} {points}"

        # Where the classes of the test part have unequal numbers, top-1 is that of the common ones.
        unequal = any(row.balanced is not None and abs(row.balanced - row.score.mean) > APART for row in self.rows)
        return compared(self.rows, begin, beside)

    def __str__(self) -> str:
        chosen = self.chosen
        when = f" after {counted(chosen['step'], 'step')}" if chosen["step"] else ""
        tried = "; ".join(f"{name} {percent(score)}" for name, score in chosen["candidates"].items())
        lines = [f"classifier {self.folder / 'classifier.keras'}: {len(self.classes)} classes"]
        lines += [f"validation ({counted(chosen['val'], 'picture')}) chose {chosen['name']}{when}, of {tried}"]
        lines += [
            f"test ({counted(chosen['test'], 'picture')}): top-1 {percent(chosen['top1'])}, balanced"
            f" {percent(chosen['balanced'])}, mean average precision {percent(chosen['map'])}",
            f"expected calibration error {percent(chosen['error_before'])}, with temperature"
            f" {chosen['temperature']:.2f} {percent(chosen['error_after'])}",
        ]
        if self.unlabelled:
            lines.append(f"left out: {counted(self.unlabelled, 'picture')} without a label")
        if self.broken_files:
            lines.append(f"left out: {counted(self.broken_files, 'broken picture')}")
        if self.seen_in_pretraining is not None:
            lines.append(seen.sentence(self.seen_in_pretraining, chosen["test"]))
        return "\n".join([*lines, *self.sentences()])


def compared(rows: Sequence[Row], begin: Callable[[Row], str], beside: Callable[[Row, Interval], str]) -> list[str]:
    """Say each amount of labels in a sentence.

    Args:
      rows: of all starts.
      begin: says what the fine-tuned network does.
      beside: says what another start does, and how far the fine-tuned network is ahead of it.
    """
    said = []
    for row in rows:
        if row.kind != MAIN:
            continue
        others = [other for other in rows if other.kind != MAIN and amount_of(other) == amount_of(row)]
        parts = [begin(row), *(beside(other, other.ahead) for other in others if other.ahead is not None)]
        line = (f"With {amount_of(row)}, " if amount_of(row) else "") + ", ".join(parts)
        said.append(line[0].upper() + line[1:] + ".")
    return said


def amount_of(row: Row) -> str:
    """Say how many labels were used; "" for all."""
    if row.labels_per_class is not None:
        return f"{row.labels_per_class} labels a class" if row.labels_per_class > 1 else "one label a class"
    return "" if row.fraction is None else f"{100 * row.fraction:g} % of the labels"


def _balanced(row: Row) -> str:
    return "" if row.balanced is None else percent(row.balanced)


def _rows(chosen: Mapping[Any, Chosen], several: bool) -> list[Row]:
    return by_start(
        chosen,
        lambda own: _of(own, several),
        lambda main, own: ahead_of(main, own, several),
        lambda each: _score(each, several),
        None if several else lambda each: each.balanced,
    )


def by_start(
    chosen: Mapping[Any, Any],
    interval: Callable[[Sequence[Any]], Interval],
    ahead: Callable[[Sequence[Any], Sequence[Any]], Interval],
    score: Callable[[Any], float],
    balanced: Callable[[Any], float] | None = None,
) -> list[Row]:
    """Compare what each kind of start gives with each amount of labels.

    Args:
      chosen: by (kind, amount, draw).
      interval: of the draws of one kind and amount.
      ahead: how far the first is ahead of the second, of each the draws.
      score: of one draw.
      balanced: balanced accuracy of one draw, where answers are classes.
    """
    together: dict[Any, dict[int, Any]] = {}
    for (kind, amount, draw), each in chosen.items():
        together.setdefault((amount, kind), {})[draw] = each
    rows = []
    for (amount, kind), draws in together.items():
        own = list(draws.values())
        main = list(together[amount, MAIN].values())
        count, share = amount
        gain = None if kind == MAIN else ahead(main, own)
        alike = None if balanced is None else float(np.mean([balanced(each) for each in own]))
        rows.append(Row(kind, count, share, interval(own), gain, tuple(score(each) for each in own), alike))
    return sorted(rows, key=lambda row: (row.labels_per_class or 0, row.fraction or 0))


def _score(chosen: Chosen, several: bool) -> float:
    return chosen.map if several else chosen.top1


def _of(draws: Sequence[Chosen], several: bool) -> Interval:
    """Return the score of one start, over draws of labels."""
    values = [_score(each, several) for each in draws]
    if _spread(values, draws[0].test):
        return Interval(*over_draws(values))
    if several:
        low, high = mean_average_precision_interval(draws[0].shares, None, draws[0].targets)
    else:
        low, high = wilson(values[0], draws[0].test)
    return Interval(values[0], low, high)


def ahead_of(main: Sequence[Chosen], other: Sequence[Chosen], several: bool) -> Interval:
    """Return how far one start is ahead of another, with its interval: draw by draw, or picture by picture.

    Args:
      main, other: of each draw of labels, the same for both.
      several: whether a picture may have several labels.
    """
    differences = [_score(a, several) - _score(b, several) for a, b in zip(main, other, strict=True)]
    one, two = main[0], other[0]
    if _spread(differences, one.test):
        return Interval(*over_draws(differences))
    if several:
        return Interval(differences[0], *mean_average_precision_interval(one.shares, two.shares, one.targets))
    right = [np.mean([each.right() for each in of], 0).tolist() for of in (main, other)]
    return Interval(*paired(*right))


def _spread(values: Sequence[float], count: int) -> bool:
    """Say whether values differ, by a picture of `count` at least; else draws tell no interval."""
    return max(values) - min(values) > 0.5 / count
