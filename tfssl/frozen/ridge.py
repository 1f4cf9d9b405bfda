"""Ridge regression in closed form."""

from collections.abc import Sequence

import numpy as np

Solved = tuple[np.ndarray, np.ndarray]
"""Kernel float64 [D, C] and intercept float64 [C]."""
Statistics = tuple[np.ndarray, np.ndarray]
"""Mean and variance float64 [D] that features are standardised by."""

PENALTIES = tuple(10.0**power for power in range(-4, 4))
"""Of `standardised_ridge`, what rows that are held out choose among."""
FLOOR = 0.01
"""Part of the mean variance that is added to each: what hardly varies among few pictures, as a dead unit, is not blown
up when fine-tuning wakes it."""


def standardised_ridge(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalties: Sequence[float]
) -> tuple[list[Solved], Statistics]:
    """Fit `ridge` to features float [N, D] less their mean, divided by the root of their variance; return that too."""
    rows = features.astype(np.float64)
    mean, variance = rows.mean(0), rows.var(0)
    variance = variance + FLOOR * variance.mean() + 1e-12
    return ridge((rows - mean) / np.sqrt(variance), targets, weights, penalties), (mean, variance)


def ridge(x: np.ndarray, y: np.ndarray, weights: np.ndarray, penalties: Sequence[float]) -> list[Solved]:
    """Minimise sum_n w_n |y_n - b - x_n K|^2 / sum(w) + penalty |K|^2 for each penalty, by one decomposition.

    Args:
      x: float [N, D].
      y: float [N, C].
      weights: float [N], of rows.

    Returns:
      K and b for each penalty.
    """
    share = weights / weights.sum()
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = share @ x, share @ y
    root = np.sqrt(share)[:, None]
    a, b = root * (x - mean_x), root * (y - mean_y)
    few = len(a) < a.shape[1]
    values, vectors = np.linalg.eigh(a @ a.T if few else a.T @ a)
    values = np.maximum(values, 0.0)
    turned = vectors.T @ (b if few else a.T @ b)
    solved = []
    for penalty in penalties:
        inner = vectors @ (turned / (values + penalty)[:, None])
        kernel = a.T @ inner if few else inner
        solved.append((kernel, mean_y - mean_x @ kernel))
    return solved
