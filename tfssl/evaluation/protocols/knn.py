"""k-NN on frozen features: no training, so nothing to tune that could hide a bad embedding."""

import dataclasses
from typing import ClassVar

import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.protocols.base import Protocol, Rows
from tfssl.frozen.nearest import nearest_neighbours


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearestNeighbours(Protocol):
    """k-NN of the mean over all places; see `nearest.nearest_neighbours`.

    Attributes:
      neighbours: k; all rows where there are fewer.
      temperature: of the weight exp(s / temperature) of a neighbour of cosine similarity s.
    """

    name: ClassVar[str] = "knn"
    title: ClassVar[str] = "k-NN"
    neighbours: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise UserError(f"knn: {name}={value!r} is given, expected a number above 0")

    def scores(self, train: Rows, test: Features, classes: int) -> np.ndarray:
        bank, asked = np.asarray(train.features), np.asarray(test)
        return nearest_neighbours(bank, train.labels, asked, classes, self.neighbours, self.temperature)
