"""Figures of features that need no label: over how many directions they spread, and how evenly."""

import numpy as np

CHUNK = 4096


def effective_rank(features: np.ndarray) -> float:
    """Return RankMe: exp of the entropy of the singular values, divided by their sum, of features float [N, D].

    As Garrido et al. 2023 (arXiv 2210.02885); features are not centred there either. It is 1 where all rows have one
    direction, and at most the smaller of N and D. Their 1e-7 beside each share, which is there for the logarithm of 0,
    is left out: 0 log 0 is 0. No rows but zeros have rank 1.
    """
    rows, numbers = features.shape
    if rows < numbers:
        whole = features.astype(np.float64)
        products = whole @ whole.T
    else:
        products = np.zeros((numbers, numbers))
        for start in range(0, rows, CHUNK):
            part = features[start : start + CHUNK].astype(np.float64)
            products += part.T @ part
    values = np.linalg.eigvalsh(products)
    # What is left of nothing in float64: its root would count as a direction, of 1e-7 of the largest or less.
    singular = np.sqrt(values[values > 1e-12 * max(values[-1], 1e-300)])
    shares = singular / max(singular.sum(), 1e-300)
    return float(np.exp(-np.sum(shares * np.log(shares))))


def uniformity(features: np.ndarray, temperature: float = 2.0) -> float:
    """Return log of the mean over pairs of rows of exp(-temperature * squared distance), of rows of length 1.

    As Wang and Isola 2020 (arXiv 2005.10242). 0 where all rows have one direction; the lower, the more evenly they
    lie on the sphere.

    Args:
      features: float [N, D], two rows or more; rows of zeros stay where they are.
    """
    rows = features.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    squares = np.einsum("nd,nd->n", rows, rows)
    total = 0.0
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        apart = squares[part, None] + squares - 2 * rows[part] @ rows.T
        total += float(np.exp(-temperature * np.maximum(apart, 0.0)).sum())
    count = len(rows)
    return float(np.log(max(total - count, 0.0) / (count * (count - 1))))  # a row is no pair with itself
