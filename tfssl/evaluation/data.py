"""The pictures of an evaluation, and how those to learn from are divided for choices."""

import dataclasses
import functools
from typing import Any, NamedTuple, Self

import numpy as np

from tfssl.frozen import features
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.any_source import AnySource

FOLDS = 5
FEW = 200
"""Where a fifth of the rows is less, each fifth is held out in turn: of 200 a share has an error of 3.5 points."""


class Fold(NamedTuple):
    """Numbers of rows that settings are learned from, and of those that they are chosen on."""

    learn: np.ndarray  # int [L]
    held_out: np.ndarray  # int [H]


class Division(NamedTuple):
    """Which rows settings are learned from and which they are chosen on; from all of both the last fit learns."""

    folds: tuple[Fold, ...]  # none where no class has two groups

    @classmethod
    def of(cls, labels: np.ndarray, groups: np.ndarray, seed: int) -> Self:
        """Hold out a fifth within each class, and never a part of a group; of few rows each fifth in turn.

        Which stage is best is said by a share right, and of 30 rows that has a standard error of 9 points. So where a
        fifth is less than `FEW` rows, each row is held out once. A class of a single group is always learned from.

        Args:
          labels, groups, seed: as of `dividing.divide`.
        """
        learn, held_out = dividing.divide(labels, groups, seed)
        if not len(held_out):
            return cls(())
        if len(held_out) >= FEW:
            return cls((Fold(learn, held_out),))
        fold_of = dividing.folds(labels, groups, FOLDS, seed)
        alone = [labels == label for label in np.unique(labels) if len(np.unique(fold_of[labels == label])) == 1]
        if alone:
            fold_of[np.isin(groups, groups[np.any(alone, 0)])] = -1
        numbers = [fold for fold in range(FOLDS) if (fold_of == fold).any()]
        return cls(tuple(Fold(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in numbers))

    @property
    def held_out(self) -> np.ndarray:
        """Numbers of all rows that are held out, int [H], fold after fold."""
        return np.concatenate([np.zeros(0, int), *(fold.held_out for fold in self.folds)])

    def among(self, rows: np.ndarray) -> "Division":
        """Return the same division of some of the rows, int [N], rising: the numbers that they have among these."""
        folds = [Fold(*(np.flatnonzero(np.isin(rows, part)) for part in fold)) for fold in self.folds]
        return Division(tuple(fold for fold in folds if len(fold.held_out)))


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Labelled pictures with the same classes.

    Attributes:
      train: what protocols learn from.
      test: what they are measured on.
      val: what choices are made on; where None, a part of `train` that is held out for them, and learned from at last.
      seed: of the division of `train`.
      targets: of the pictures of each of `parts` float32 [N, classes], 1 where one has a label, if a picture may have
        several; () else. The label that a source has of it is then the rarest.
    """

    train: AnySource
    test: AnySource
    val: AnySource | None
    seed: int
    targets: tuple[np.ndarray, ...] = ()
    _readings: dict[Any, features.Reading] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @property
    def parts(self) -> list[AnySource]:
        """Training, test, and validation where it is there."""
        return [part for part in (self.train, self.test, self.val) if part is not None]

    def labels_of(self, part: AnySource) -> np.ndarray:
        """Return the labels of one of `parts`, int [N], or float [N, classes] where a picture may have several."""
        if not self.targets:
            return np.asarray(part.labels)
        return next(targets for each, targets in zip(self.parts, self.targets, strict=True) if each is part)

    @functools.cached_property
    def division(self) -> Division | None:
        """That of `train`, None where there is `val`: of all its pictures, whichever turn out to be broken."""
        if self.val is not None:
            return None
        return Division.of(np.asarray(self.train.labels), np.asarray(self.train.groups), self.seed)

    def reading(self, part: AnySource, *how: int) -> features.Reading:
        """Return what reads a part, the same at each call: see `features.Reading`."""
        key = (id(part), *how)
        if key not in self._readings:
            self._readings[key] = features.Reading(part, *how)
        return self._readings[key]

    def sources(self) -> list[AnySource]:
        """Return the parts, those of one source once."""
        return list({id(part.broken): part for part in self.parts}.values())
