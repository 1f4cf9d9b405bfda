"""What `finetune` found of a dense target: its figures, beside what the same answers give without pretraining."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfssl.base.result import Result
from tfssl.base.statistics import over_draws
from tfssl.base.words import counted
from tfssl.downstream.dense.base import DenseChosen, DenseTarget
from tfssl.downstream.dense.data import DenseParts
from tfssl.downstream.results import GAIN, Interval, Row, by_start, compared
from tfssl.runs import seen

NAMES = {
    "scratch": "from scratch",
    "frozen": "the head on frozen features",
    "random": "the head on random features",
}
DRAWS = 1000
"""Of test pictures, for an interval."""


@dataclasses.dataclass(frozen=True)
class DenseFinetuned(Result):
    """What `finetune` wrote and found.

    Attributes:
      folder: of the network.
      target: what was learned.
      names: of classes or joints, () where there are none.
      headline, unit, lower: the figure that is compared, its unit ("%" of a share 0 .. 1), whether less is better.
      chosen: of the network, see `base.DenseChosen`.
      rows: all that was compared, in the unit of the headline.
      broken_files: pictures that cannot be read, which were left out.
      note: where the parts of the data come from.
      seen_in_pretraining: how many of the test pictures the run was pretrained on; None where that is not known.
    """

    folder: Path
    target: str
    names: tuple[str, ...]
    headline: str
    unit: str
    lower: bool
    chosen: Mapping[str, Any]
    rows: tuple[Row, ...]
    broken_files: int
    note: str
    seen_in_pretraining: int | None

    @classmethod
    def of(cls, folder: Path, parts: DenseParts, chosen: Mapping[Any, DenseChosen], overlap: int | None = None) -> Self:
        """Sum up what was chosen, by (kind, amount, draw); the network is the first."""
        first, target = next(iter(chosen.values())), parts.target
        return cls(
            folder=folder,
            target=target.name,
            names=target.names,
            headline=target.headline,
            unit=target.unit,
            lower=target.lower,
            chosen=first.as_json(),
            rows=tuple(
                by_start(
                    chosen, lambda own: interval_of(own, target), lambda one, two: ahead_of(one, two, target), _score
                )
            ),
            broken_files=len(parts.broken) + first.broken,
            note=parts.note,
            seen_in_pretraining=overlap,
        )

    def says(self, value: float, name: str | None = None) -> str:
        """Say a figure with its unit; the headline where no name is given."""
        if self.unit == "%" or (name or self.headline).startswith("within"):
            return f"{100 * value:.1f} %"
        return f"{value:.1f} {self.unit}"

    def interval(self, found: Interval) -> str:
        """Say an interval, without the unit."""
        factor = 100 if self.unit == "%" else 1
        return f"{factor * found.low:.1f} to {factor * found.high:.1f}"

    def sentences(self) -> list[str]:
        """Say the result in words: the figure, and beside what."""

        def begin(row: Row) -> str:
            article = "an" if self.headline.startswith("A") else "a"
            score = f"{self.says(row.score.mean)} ({self.interval(row.score)})"
            return f"fine-tuning has {article} {self.headline} of {score}"

        def beside(other: Row, ahead: Interval) -> str:
            words = "points" if self.unit == "%" else self.unit
            gives = GAIN[other.kind].replace("gives", "takes off") if self.lower else GAIN[other.kind]
            points = f"{(100 if self.unit == '%' else 1) * ahead.mean:.1f} {words} ({self.interval(ahead)})"
            return f"{NAMES[other.kind]} {self.says(other.score.mean)}: {gives} {points}"

        return compared(self.rows, begin, beside)

    def __str__(self) -> str:
        chosen = self.chosen
        when = f" after {counted(chosen['step'], 'step')}" if chosen["step"] else ""
        tried = "; ".join(
            f"{name} {self.says(-score if self.lower else score)}" for name, score in chosen["candidates"].items()
        )
        named = f" of {len(self.names)}: {', '.join(self.names)}" if self.names else ""
        figures = [
            f"{name} {self.says(value, name)}" for name, value in chosen["figures"].items() if " of " not in name
        ]
        lines = [f"network {self.folder / 'network.keras'}: {self.target}{named}"]
        lines += [f"validation ({counted(chosen['val'], 'picture')}) chose {chosen['name']}{when}, of {tried}"]
        lines += [f"test ({counted(chosen['test'], 'picture')}): {', '.join(figures)}"]
        if self.broken_files:
            lines.append(f"left out: {counted(self.broken_files, 'broken picture')}")
        if self.seen_in_pretraining is not None:
            lines.append(seen.sentence(self.seen_in_pretraining, chosen["test"]))
        return "\n".join([*lines, *self.sentences()])


def _score(chosen: DenseChosen) -> float:
    return chosen.score


def interval_of(draws: Sequence[DenseChosen], target: DenseTarget) -> Interval:
    """Return the figure of one start, over draws of labels, else over draws of test pictures."""
    values = [each.score for each in draws]
    if len(set(values)) > 1:
        return Interval(*over_draws(values))
    return Interval(values[0], *bootstrap(target.scores_of, draws[0].table))


def ahead_of(main: Sequence[DenseChosen], other: Sequence[DenseChosen], target: DenseTarget) -> Interval:
    """Return how much better one start is than another, with its interval: draw by draw, or by test pictures."""
    sign = -1 if target.lower else 1
    differences = [sign * (a.score - b.score) for a, b in zip(main, other, strict=True)]
    if len(set(differences)) > 1:
        return Interval(*over_draws(differences))
    low, high = bootstrap(lambda *drawn: sign * target.scores_of(*drawn), main[0].table, other[0].table)
    return Interval(differences[0], low, high)


def on_the_same(one: DenseChosen, other: DenseChosen) -> tuple[DenseChosen, DenseChosen]:
    """Return both of the test pictures alone that both have: which can be decoded may depend on the size."""
    _, mine, others = np.intersect1d(one.rows, other.rows, return_indices=True)
    if len(mine) == len(one.rows) == len(other.rows):
        return one, other
    made = ((one, mine), (other, others))
    first, second = (dataclasses.replace(of, table=of.table[rows], rows=of.rows[rows]) for of, rows in made)
    return first, second


def bootstrap(
    scores_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    one: np.ndarray,
    other: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of a figure over draws of test pictures, or of the difference of two, paired by picture.

    Args:
      scores_of: the figure of each draw, as of `DenseTarget`.
      one, other: what is known of each picture, [M, K], of the same pictures.
    """
    counts = np.random.default_rng(seed).multinomial(len(one), np.full(len(one), 1 / len(one)), DRAWS).astype(float)
    values = scores_of(one, counts)
    if other is not None:
        values = values - scores_of(other, counts)
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
