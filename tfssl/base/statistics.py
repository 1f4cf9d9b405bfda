"""Intervals: what all that measures has in common."""

import math
from collections.abc import Sequence

NORMAL = 1.959964
"""The 97.5 % point of the normal distribution."""


def student(degrees: int, confidence: float = 0.95) -> float:
    """Return how many standard errors Student's two-sided interval reaches.

    It is 12.706 for one degree of freedom, 4.303 for two.

    Args:
      degrees: degrees of freedom, 1 or more: one less than there are values.
      confidence: the confidence of the interval, 0 .. 1.
    """
    from scipy.stats import t  # which scikit-learn brings; here, as it takes a while to import

    return float(t.ppf((1 + confidence) / 2, degrees))


def wilson(share: float, count: int, z: float = NORMAL) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share that was measured on `count` rows: (low, high), within 0 .. 1."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Return how far `one` is ahead of `other` in the mean, and the 95 % interval of that: (mean, low, high).

    Both hold a value of the same pictures in the same order. The interval is that of the mean of their differences,
    which leaves out what is as hard for both; it is over the draw of these pictures.
    """
    differences = [a - b for a, b in zip(one, other, strict=True)]
    count, mean = len(differences), math.fsum(differences) / len(differences)
    variance = math.fsum((each - mean) ** 2 for each in differences) / max(1, count - 1)
    half = NORMAL * math.sqrt(variance / count)
    return mean, mean - half, mean + half


def over_draws(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of one value a draw, two or more, and Student's 95 % interval of it: (mean, low, high)."""
    count, mean = len(values), math.fsum(values) / len(values)
    variance = math.fsum((each - mean) ** 2 for each in values) / (count - 1)
    half = student(count - 1) * math.sqrt(variance / count)
    return mean, mean - half, mean + half
