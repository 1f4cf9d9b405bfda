"""What `look` computes of a collection, before it is said, written and drawn."""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfssl.evaluation.config import LookSettings
from tfssl.evaluation.look import closeness, placing, selection
from tfssl.evaluation.look.collection import Collection
from tfssl.pipelines.sources import splits

OUTLIERS = 24
"""The farthest, which are shown."""


class Votes(NamedTuple):
    """What nearest neighbours say of each picture's class."""

    classes: tuple[str, ...]
    answers: np.ndarray  # int [N], -1 unknown
    guesses: np.ndarray  # int [N]
    shares: np.ndarray  # float [N, classes], of the votes
    known: np.ndarray  # int [n], those with a label of which something is said; none where there is one class

    def confused(self) -> list[tuple[int, int, int]]:
        """Return (class, what it is taken for, how often), the most often first."""
        return closeness.confused(self.answers[self.known], self.guesses[self.known])

    def surest(self, own: str, other: str, count: int) -> np.ndarray:
        """Return the surest pictures of a class that are taken for another, int [at most count]."""
        pair = self.classes.index(own), self.classes.index(other)
        rows = self.known[(self.answers[self.known] == pair[0]) & (self.guesses[self.known] == pair[1])]
        return rows[np.argsort(-self.shares[rows, pair[1]], kind="stable")][:count]


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """Of N pictures, which are numbers here.

    Attributes:
      collection: the pictures.
      shown, places, layout: int [n], which are on the map; float [n, 2], 0..1, where; and how they were placed.
      duplicates: the numbers in each group of near-duplicates, the largest first.
      leaked: how many of the other parts have a near-duplicate in training; None where there is no such part.
      neighbours: how many nearest there are of each.
      away: float [N], mean distance to these.
      farthest: int [N], all, the farthest first.
      chosen: what to label, the first one first.
      votes: of the nearest.
    """

    collection: Collection
    shown: np.ndarray
    places: np.ndarray
    layout: str
    duplicates: list[np.ndarray]
    leaked: int | None
    neighbours: int
    away: np.ndarray
    farthest: np.ndarray
    chosen: list[int]
    votes: Votes

    @property
    def outliers(self) -> list[int]:
        """The farthest, as many as are shown."""
        return self.farthest[:OUTLIERS].tolist()


def find(collection: Collection, settings: LookSettings) -> Findings:
    """Compare all pictures with each other, choose, and place them."""
    numbers, distances = closeness.nearest(collection.features)
    groups = closeness.groups_of(collection.patterns)
    away = distances.mean(1)
    farthest = np.argsort(-away, kind="stable")
    chosen = _chosen(collection, settings)
    shown = _shown([*chosen, *farthest[:OUTLIERS].tolist()], collection.count, settings)
    places, layout = placing.places(collection.features[shown], settings.layout, settings.seed)
    return Findings(
        collection=collection,
        shown=shown,
        places=places,
        layout=layout,
        duplicates=closeness.several(groups),
        leaked=_leaked(collection),
        neighbours=numbers.shape[1],
        away=away,
        farthest=farthest,
        chosen=chosen,
        votes=_votes(collection, numbers, distances, groups),
    )


def _chosen(collection: Collection, settings: LookSettings) -> list[int]:
    if settings.select is None:
        return []
    rows = np.flatnonzero(collection.to_label)
    chosen = selection.select(collection.features[rows], collection.labelled[rows], settings.select, settings.seed)
    return rows[chosen].tolist()


def _shown(first: list[int], count: int, settings: LookSettings) -> np.ndarray:
    others = np.random.default_rng([settings.seed, 2]).permutation(count)
    return np.sort(list(dict.fromkeys([*first, *others.tolist()]))[: settings.mapped])


def _votes(collection: Collection, numbers: np.ndarray, distances: np.ndarray, groups: np.ndarray) -> Votes:
    classes = tuple(sorted({label for label in collection.labels if label is not None}))
    place = {name: number for number, name in enumerate(classes)}
    answers = np.array([-1 if label is None else place[label] for label in collection.labels])
    shares = closeness.votes(numbers, distances, groups, answers, max(1, len(classes)))
    known = np.flatnonzero((answers >= 0) & (shares.sum(1) > 0) & (len(classes) > 1))
    return Votes(classes, answers, shares.argmax(1), shares, known)


def _leaked(collection: Collection) -> int | None:
    train = np.array([collection.part_of(number) == splits.TRAIN for number in range(collection.count)])
    if train.all() or not train.any():
        return None
    return int(closeness.have_like(collection.patterns[~train], collection.patterns[train]).sum())
