"""Scores that are linear in features."""

from collections.abc import Callable

import numpy as np

from tfssl.evaluation.on_disk import Features

LEAST = -float(np.finfo(np.float32).max)
"""The score of a class that was not learned."""
CHUNK = 4096
"""Rows that are prepared at once."""

LinearMap = tuple[np.ndarray, np.ndarray]
"""Kernel float [D, C] and intercept float [C]."""
Preparation = Callable[[np.ndarray], np.ndarray]
"""Makes float [N, D], that a kernel reads, of features float16 or float32 [N, D]; of each row by itself."""


def of_all_classes(found: LinearMap, present: np.ndarray, classes: int) -> LinearMap:
    """Give the classes that were not learned a score that is below all others.

    Args:
      found: of the classes `present`, int [P].
      classes: how many there are.
    """
    kernel, bias = np.zeros((len(found[0]), classes)), np.full(classes, LEAST)
    kernel[:, present], bias[present] = found
    return kernel, bias


def apply(maps: list[LinearMap], features: Features, prepare: Preparation) -> list[np.ndarray]:
    """Return the scores of rows by each map, float32 [M, C], without a prepared copy of all rows."""
    kernel = np.concatenate([kernel for kernel, _ in maps], 1).astype(np.float32)
    bias = np.concatenate([bias for _, bias in maps]).astype(np.float32)
    scores = np.empty((len(features), len(bias)), np.float32)
    for start in range(0, len(features), CHUNK):
        rows = prepare(features[start : start + CHUNK]).astype(np.float32)
        scores[start : start + CHUNK] = rows @ kernel + bias
    return np.split(scores, len(maps), 1)
