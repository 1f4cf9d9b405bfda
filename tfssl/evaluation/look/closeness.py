"""How close pictures are: the nearest of each, which are near-duplicates, how far outliers are, what is confused."""

from collections.abc import Iterator

import numpy as np

from tfssl.pipelines.ops import near_duplicates

NEAREST = 10
"""Neighbours of a picture that its distance is the mean over, and that vote for its class."""
TEMPERATURE = 0.07
"""Of the vote: see `tfssl.frozen.nearest`."""
ROWS = 1024
"""At once, against all: 200 MB of products of 50,000."""
FEW = 64
"""Of these, whose pairs are listed at once."""


def nearest(features: np.ndarray, count: int = NEAREST) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest others of each row, itself left out, the nearest first.

    It takes time by the square of N: a minute or two for 50,000 rows of 512 numbers on two cores.

    Args:
      features: float32 [N, D], rows of length 1.
      count: of each; all others where there are fewer.

    Returns:
      int [N, k] and their Euclidean distances float32 [N, k], 0..2.
    """
    k = min(count, len(features) - 1)
    numbers, distances = [], []
    for start, cosines in _products(features, features):
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        some = np.argpartition(-cosines, k - 1, 1)[:, :k]
        order = np.argsort(-np.take_along_axis(cosines, some, 1), 1, kind="stable")
        some = np.take_along_axis(some, order, 1)
        numbers.append(some)
        distances.append(np.sqrt(np.maximum(0.0, 2.0 - 2.0 * np.take_along_axis(cosines, some, 1))))
    return np.concatenate(numbers), np.concatenate(distances)


def groups_of(patterns: np.ndarray) -> np.ndarray:
    """Return the group of near-duplicates that each picture is in, int [N]: those that a chain of them leads to.

    Args:
      patterns: of `near_duplicates.patterns`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(patterns)
    groups = np.arange(count, dtype=np.int64)
    for start, cosines in _products(patterns, patterns):
        for at in range(0, len(cosines), FEW):  # of thousands of copies all pairs would be too many to keep
            rows, columns = np.nonzero(cosines[at : at + FEW] >= near_duplicates.ALIKE)
            rows += start + at
            ahead = columns > rows
            if ahead.any():
                pairs = np.unique(groups[rows[ahead]] * count + groups[columns[ahead]])
                links = coo_array((np.ones(len(pairs)), (pairs // count, pairs % count)), shape=(count, count))
                groups = connected_components(links, directed=False)[1].astype(np.int64)[groups]
    return groups


def have_like(patterns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which pictures have a near-duplicate among others, bool [N], by rows of `near_duplicates.patterns`."""
    return np.concatenate([(part >= near_duplicates.ALIKE).any(1) for _, part in _products(patterns, others)])


def several(groups: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of those in each group of two or more, the largest group first."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return sorted((each for each in np.split(order, ends) if len(each) > 1), key=len, reverse=True)


def votes(
    numbers: np.ndarray, distances: np.ndarray, groups: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    """Return what the nearest others say of each: float [N, classes], shares of their weights; 0 where none votes.

    As Wu et al. 2018 (arXiv 1805.01978), each has the weight exp(cosine / temperature). Near-duplicates of a picture
    and what has no label do not vote.

    Args:
      numbers, distances: of `nearest`.
      groups: of `groups_of`.
      labels: int [N], -1 unknown.
    """
    weights = np.exp((-0.5 * distances.astype(np.float64) ** 2) / TEMPERATURE)  # a cosine is 1 - distance^2 / 2
    weights *= (labels[numbers] >= 0) & (groups[numbers] != groups[:, None])
    shares = np.zeros((len(numbers), classes))
    np.add.at(shares, (np.arange(len(numbers))[:, None], labels[numbers]), weights)
    return shares / np.maximum(shares.sum(1, keepdims=True), 1e-300)


def confused(labels: np.ndarray, guesses: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (class, what it is taken for, how often), the most often first, of int [N]."""
    pairs, counts = np.unique(np.stack([labels, guesses]), axis=1, return_counts=True)
    wrong = [(int(a), int(b), int(n)) for (a, b), n in zip(pairs.T, counts, strict=True) if a != b]
    return sorted(wrong, key=lambda each: -each[2])


def _products(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the products of some rows with all others, and which is the first of them."""
    for start in range(0, len(rows), ROWS):
        yield start, rows[start : start + ROWS] @ others.T
