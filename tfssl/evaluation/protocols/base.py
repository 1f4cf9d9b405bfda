"""What an evaluation protocol is: it learns from labelled rows of features, makes choices on others, scores a third."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from tfssl.base.specs import defaults, format_call
from tfssl.evaluation.data import Division
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.scoring import choice_of, score_of
from tfssl.runs.evaluation import ProtocolFacts, Score


class Rows(NamedTuple):
    """Labelled rows of features."""

    features: Features  # float16 or float32 [N, D]
    labels: np.ndarray  # int [N], 0 .. classes - 1; or float [N, classes], 1 where a row has a label, of several

    def take(self, numbers: np.ndarray) -> "Rows":
        """Return the rows of these numbers."""
        return Rows(self.features[numbers], self.labels[numbers])


class Split(NamedTuple):
    """What settings are learned from and what they are chosen on."""

    learn: np.ndarray  # int [L], numbers of training rows
    held_out: Rows


class Answers(NamedTuple):
    """Scores by a protocol; in each row the class with the largest one is the answer."""

    held_out: np.ndarray | None  # float32 [H, classes], each row without itself, split after split; None without any
    test: np.ndarray  # float32 [M, classes]


def splits_of(train: Rows, division: Division | None, held_out: Rows | None) -> list[Split]:
    """Return what choices are made on, one split for each fold; none where nothing is held out.

    Arguments as of `Protocol.answers`.
    """
    if division is not None:
        return [Split(fold.learn, train.take(fold.held_out)) for fold in division.folds]
    return [Split(np.arange(len(train.labels)), held_out)] if held_out is not None and len(held_out.labels) else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(abc.ABC):
    """Something that is measured of frozen features. Its fields are its settings.

    Attributes:
      name: as it is asked for, with settings as in 'knn(neighbours=5)'.
      title: as people read it in tables and figures.
      probe: the title where the places that it reads are said beside it; the same where empty.
      pool: to how many places a side the map of a stage is averaged, as `export --pool` does it; stages with fewer
        are left out. None for the grid that `evaluate` chooses for each stage.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    probe: ClassVar[str] = ""
    pool: ClassVar[int | None] = 1

    def expanded(self) -> tuple[Self, ...]:
        """Return what is measured where this is asked for: several where a setting is left open on purpose."""
        return (self,)

    def __str__(self) -> str:
        """Name it with the settings that are not the default ones."""
        usual = defaults(type(self))
        return format_call(self.name, {k: v for k, v in dataclasses.asdict(self).items() if v != usual[k]})

    @property
    def facts(self) -> ProtocolFacts:
        """What `evaluation.json` says of it."""
        settings = str(self).removeprefix(self.name)
        title = f"{self.title} {settings}".rstrip()
        return ProtocolFacts(title, f"{self.probe or self.title} {settings}".rstrip(), self.pool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(Measurement):
    """A way to measure how well frozen features tell classes; what it learns lives as long as a call.

    Attributes:
      several: whether it can learn from rows that have several labels each.
    """

    several: ClassVar[bool] = False

    @abc.abstractmethod
    def scores(self, train: Rows, test: Features, classes: int) -> np.ndarray:
        """Learn from labelled rows, with the settings as they are, and score others.

        Args:
          train: what is learned from.
          test: float16 or float32 [M, D].
          classes: how many there are; `train` may lack some.

        Returns:
          float32 [M, classes].
        """

    def lack(self, labels: np.ndarray) -> str:
        """Say in words what training labels int [N] lack for this protocol; '' where nothing."""
        del labels
        return ""

    def choose(self, train: Rows, splits: Sequence[Split], classes: int) -> tuple[Self, np.ndarray]:
        """Choose what is open in the settings: learn from some rows, and score others of which the labels are known.

        Returns:
          The protocol with nothing left open, and its scores of the held-out rows, float32 [H, classes], split after
          split.
        """
        learned = ((train.take(split.learn), split.held_out.features) for split in splits)
        return self, np.concatenate([self.scores(rows, held_out, classes) for rows, held_out in learned])

    def answers(
        self, train: Rows, division: Division | None, test: Features, classes: int, held_out: Rows | None = None
    ) -> Answers:
        """Make all choices on held-out rows, learn from all of `train`, and score the test rows.

        Args:
          train: what is learned from.
          division: of `train`, into what settings are learned from and what they are chosen on. None where `held_out`
            has rows of its own, which are then only chosen on.
        """
        splits = splits_of(train, division, held_out)
        if not splits:
            return Answers(None, self.scores(train, test, classes))
        chosen, scores = self.choose(train, splits, classes)
        return Answers(scores, chosen.scores(train, test, classes))

    def score(
        self, train: Rows, division: Division | None, test: Rows, classes: int, held_out: Rows | None = None
    ) -> Score:
        """Return the figures of `answers`; arguments as there."""
        found = self.answers(train, division, test.features, classes, held_out)
        share = None
        if found.held_out is not None:
            chosen_on = held_out.labels if held_out is not None else train.labels[division.held_out]  # type: ignore
            share = choice_of(found.held_out, chosen_on)
        counts = np.bincount(train.labels, minlength=classes) if train.labels.ndim == 1 else train.labels.sum(0)
        return score_of(found.test, test.labels, counts, share)

    @property
    def way(self) -> tuple[Any, ...]:
        """Equal for protocols that measure the same rows alike: of the same `scores`, with the same settings."""
        return type(self).scores, *dataclasses.astuple(self)
