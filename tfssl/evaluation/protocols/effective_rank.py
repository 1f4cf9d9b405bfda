"""How many directions features fill: says without a label whether they have collapsed."""

import dataclasses
from typing import ClassVar

import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.protocols.base import Measurement
from tfssl.frozen import rank
from tfssl.runs.spread import Spread

PAIRED = 2048
"""Pictures of which all pairs are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectiveRank(Measurement):
    """RankMe and uniformity of the mean over all places: see `rank.effective_rank` and `rank.uniformity`.

    Alignment, the third such figure, compares two crops of one picture and takes two more passes over the data; it is
    not measured.

    Attributes:
      pictures: at most so many, drawn by the seed. 25,600 is the paper's.
      seed: see above.
    """

    name: ClassVar[str] = "rank"
    title: ClassVar[str] = "effective rank"
    pictures: int = 25_600
    seed: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.pictures, int) and self.pictures >= 2):
            raise UserError(f"rank: pictures={self.pictures!r} is given, expected a whole number of 2 or more")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise UserError(f"rank: seed={self.seed!r} is given, expected a whole number of 0 or more")

    def spread(self, features: Features) -> Spread:
        """Return the figures of features float16 or float32 [N, D], of two rows or more."""
        order = np.random.default_rng(self.seed).permutation(len(features))[: self.pictures]
        rows = np.asarray(features[order])
        return Spread(
            rank=rank.effective_rank(rows),
            numbers=rows.shape[1],
            pictures=len(rows),
            uniformity=rank.uniformity(rows[:PAIRED]),
        )
