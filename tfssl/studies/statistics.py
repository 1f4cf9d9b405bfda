"""Means over seeds, and differences, with 95 % intervals."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from tfssl.base.statistics import NORMAL, student, wilson


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean, and the 95 % interval that it comes with.

    Attributes:
      mean: of `values`.
      low, high: the interval; None where there is none, as for one value without a count.
      values: one a seed.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def over_seeds(values: Sequence[float], count: int | None = None) -> Estimate:
    """Return the mean of one value a seed, with Student's interval over seeds.

    Args:
      values: one a seed.
      count: of shares: of how many test pictures. One share, or shares that are all the same and tell no spread, get
        Wilson's interval over these then.
    """
    number, mean = len(values), math.fsum(values) / len(values)
    if number > 1 and (count is None or spreads(values, count)):
        half = student(number - 1) * _deviation(values, mean) / math.sqrt(number)
        return Estimate(mean, mean - half, mean + half, tuple(values))
    low, high = (None, None) if count is None else wilson(mean, count)
    return Estimate(mean, low, high, tuple(values))


def difference(one: Mapping[int, float], other: Mapping[int, float], count: int) -> Estimate | None:
    """Return how far the shares `one` (seed -> share) are ahead of `other`; None where they have no seed in common.

    With several common seeds Student's interval of the differences seed by seed: runs of one seed began with the same
    weights and saw the same pictures. With one seed, or where all differences are equal and tell no spread, the
    interval over the draw of `count` test pictures, as if both had been measured on pictures of their own, which is
    cautious; it knows nothing of what another seed would give.
    """
    seeds = [seed for seed in one if seed in other]
    if not seeds:
        return None
    estimate = over_seeds([one[seed] - other[seed] for seed in seeds])
    if spreads(estimate.values, count):
        return estimate
    a, b = (math.fsum(shares[seed] for seed in seeds) / len(seeds) for shares in (one, other))
    half = NORMAL * math.sqrt((a * (1 - a) + b * (1 - b)) / count)
    return Estimate(estimate.mean, estimate.mean - half, estimate.mean + half, estimate.values)


def spreads(values: Sequence[float], count: int) -> bool:
    """Return whether shares measured on `count` pictures differ, by a picture at least."""
    return max(values) - min(values) > 0.5 / count


def _deviation(values: Sequence[float], mean: float) -> float:
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
