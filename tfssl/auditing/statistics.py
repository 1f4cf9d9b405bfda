"""Intervals that know that questions about one picture are not independent: batches of pictures are the unit."""

import math
from collections.abc import Sequence

import numpy as np

from tfssl.base.statistics import student

CONFIDENCE, SURE = 0.99, 0.9995
"""Confidence of the intervals that are printed, and of a `weak` verdict: an audit asks a hundred questions."""


def mean_interval(
    values: np.ndarray, groups: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, tuple[float, float]]:
    """Return the mean of `values` and its interval (Student's t), from the means of groups.

    Args:
      values: float [Q].
      groups: int [Q], the batch that each comes from. Batches hold different pictures, so their means are independent,
        whatever the questions about one picture have in common.
      confidence: the confidence of the interval.
    """
    names, inverse = np.unique(groups, return_inverse=True)
    counts = np.bincount(inverse)
    means = np.bincount(inverse, values) / counts
    mean = float(np.mean(values))
    if len(names) < 2:
        return mean, (-math.inf, math.inf)
    error = math.sqrt(
        float(np.sum((counts / counts.mean()) ** 2 * (means - mean) ** 2)) / (len(names) - 1) / len(names)
    )
    half = student(len(names) - 1, confidence) * error
    return mean, (mean - half, mean + half)


def join(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Join arrays of batches: all rows, and the batch of each row."""
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
