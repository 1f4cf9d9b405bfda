"""Few labels a class: what features are worth to those who have no more."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation.data import Division
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.protocols import svm
from tfssl.evaluation.protocols.base import Protocol, Rows, Split, splits_of
from tfssl.evaluation.protocols.linear_map import LinearMap, Preparation, apply, of_all_classes
from tfssl.evaluation.protocols.logistic import statistics
from tfssl.evaluation.scoring import over_draws, score_of
from tfssl.frozen import metrics
from tfssl.frozen.ridge import ridge
from tfssl.runs.evaluation import Score

LABELS = (96, 64, 32, 16, 8, 4, 2, 1)
"""How many labels a class are drawn where it is not said: those of Goyal et al. 2019 (arXiv 1905.01235).

The most come first, because the first figures that are asked for say which stage is best.
"""
PENALTIES = tuple(10.0**power for power in range(4, -4, -1))
"""Of ridge regression, what held-out rows choose among, the strongest first."""
USUAL = 1.0
"""The penalty where nothing can be held out."""
WAYS = ("ridge", "svm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowShot(Protocol):
    """A probe of a few labels a class, the mean over draws of them.

    'ridge' is ridge regression of the classes in closed form. Features are standardised by all training rows, which
    takes no label: who has few labels has many pictures. 'svm' is the SVM of `svm`, on L2-normalised features.

    The labels of a draw are drawn from all training rows, by seed and draw, the same for all stages; those of a larger
    count hold those of a smaller one. A class with fewer gives all; where all give all there is one draw. Penalty or C
    is the same for all draws, that of the largest share right of held-out rows (Goyal et al. take the best on the test
    set). For this choice the draws are from the other training rows. So this one number knows more labels than were
    drawn, and nothing else does.

    `scores` and `choose` are those of all rows that they are given; `score` draws.

    Attributes:
      labels: of each class; each of `LABELS` where None.
      draws: how many.
      seed: of the draws.
      by: 'ridge' or 'svm'.
      penalty: of 'ridge', as of `ridge.ridge`, or C of 'svm'; what held-out rows choose where None.
    """

    name: ClassVar[str] = "lowshot"
    title: ClassVar[str] = "low-shot probe"
    labels: int | None = None
    draws: int = 5
    seed: int = 0
    by: str = "ridge"
    penalty: float | None = None

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise UserError(f"lowshot: by={self.by!r} is given, expected one of {', '.join(WAYS)}")
        for name in ("labels", "draws"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise UserError(f"lowshot: {name}={value!r} is given, expected a whole number of 1 or more")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise UserError(f"lowshot: seed={self.seed!r} is given, expected a whole number of 0 or more")
        if self.penalty is not None and not (isinstance(self.penalty, (int, float)) and self.penalty > 0):
            raise UserError(f"lowshot: penalty={self.penalty!r} is given, expected a number above 0")

    def expanded(self) -> tuple[Self, ...]:
        if self.labels is not None:
            return (self,)
        return tuple(dataclasses.replace(self, labels=count) for count in LABELS)

    def lack(self, labels: np.ndarray) -> str:
        largest = int(np.bincount(labels).max())
        if self.labels is None or self.labels <= largest:
            return ""
        return f"the largest class has {largest} training pictures, and {self} draws {self.labels} of each"

    def scores(self, train: Rows, test: Features, classes: int) -> np.ndarray:
        prepare = self._preparation(train.features)
        return apply(self._fits(train, classes, prepare), test, prepare)[0]

    def choose(self, train: Rows, splits: Sequence[Split], classes: int) -> tuple[Self, np.ndarray]:
        every = dataclasses.replace(self, labels=None)
        chosen, _ = every._chosen(train, splits, classes, self._preparation(train.features))
        return Protocol.choose(dataclasses.replace(self, penalty=chosen.penalty), train, splits, classes)

    def score(
        self, train: Rows, division: Division | None, test: Rows, classes: int, held_out: Rows | None = None
    ) -> Score:
        """Return means over draws of `train`, and half of Student's 95 % interval of the mean share right."""
        splits = splits_of(train, division, held_out)
        prepare = self._preparation(train.features)
        chosen, share = self, None
        if splits:
            chosen, share = self._chosen(train, splits, classes, prepare)
        scores = []
        for rows in self._drawn(train):
            (values,) = apply(chosen._fits(rows, classes, prepare), test.features, prepare)
            scores.append(score_of(values, test.labels, np.bincount(rows.labels, minlength=classes)))
        return over_draws(scores, share)

    def _drawn(self, rows: Rows) -> list[Rows]:
        """Draw rows with labels as often as it is set; all rows once where no class has more."""
        if self.labels is None or np.bincount(rows.labels).max() <= self.labels:
            return [rows]
        return [rows.take(drawn(rows.labels, self.labels, (self.seed, draw))) for draw in range(self.draws)]

    def _chosen(self, train: Rows, splits: Sequence[Split], classes: int, prepare: Preparation) -> tuple[Self, float]:
        """Return the protocol with the penalty that is best over draws, and the share of held-out rows right by it."""
        open_to = (PENALTIES if self.by == "ridge" else svm.COSTS) if self.penalty is None else (self.penalty,)
        shares = np.zeros(len(open_to))
        whole = sum(len(split.held_out.labels) for split in splits)
        for split in splits:
            draws, held_out = self._drawn(train.take(split.learn)), split.held_out
            for rows in draws:
                values = apply(self._fits(rows, classes, prepare, open_to), held_out.features, prepare)
                weight = len(held_out.labels) / whole / len(draws)
                shares += [weight * metrics.top1(each, held_out.labels) for each in values]
        best = int(shares.argmax())  # of two that are level the stronger penalty
        return dataclasses.replace(self, penalty=open_to[best]), float(shares[best])

    def _preparation(self, known: Features) -> Preparation:
        """Return what prepares features: standardises them by rows float [N, D], or gives each row the length 1."""
        if self.by == "svm":
            return svm.normalised
        mean, deviation = statistics(known)
        return lambda features: (features.astype(np.float32) - mean) / deviation

    def _fits(self, rows: Rows, classes: int, prepare: Preparation, penalties: Sequence[float] = ()) -> list[LinearMap]:
        """Fit with each penalty; with its own, or the usual one, where none is given."""
        present, targets = np.unique(rows.labels, return_inverse=True)
        features = prepare(np.asarray(rows.features))
        if self.by == "svm":
            return [
                svm.fit(features.astype(np.float64), rows.labels, classes, cost)
                for cost in penalties or [self.penalty or svm.USUAL]
            ]
        wanted = np.eye(len(present))[targets]
        solved = ridge(features, wanted, np.ones(len(wanted)), penalties or [self.penalty or USUAL])
        return [of_all_classes(each, present, classes) for each in solved]


def drawn(labels: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """Draw `count` rows of each class of labels int [N] by the seed, or all that it has; int, rising.

    With the same seed a larger count draws these, and more.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.unique(labels[by_class], return_index=True)[1]
    place = np.arange(len(labels)) - np.repeat(starts, np.diff(np.append(starts, len(labels))))
    return np.sort(by_class[place < count])
