"""The frozen probe in closed form: ridge regression of the labels, whose penalty a validation part chooses."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfssl.downstream import calibration
from tfssl.downstream.measures import Measure, measure

PENALTIES = tuple(10.0**power for power in range(-4, 4))
"""What validation chooses among, a row."""
SCALES = (1.0, 1000.0)
"""Smallest and largest scale of its logits."""
FLOOR = 0.01
"""Part of the mean variance that is added to each: what hardly varies among few pictures, as a dead unit, is not blown
up when fine-tuning wakes it."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """logits = ((features - mean) / sqrt(variance)) kernel + bias.

    Attributes:
      mean, variance: float32 [D], of the features that it was fitted to.
      kernel, bias: float32 [D, classes] and [classes].
    """

    mean: np.ndarray
    variance: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return float32 [N, classes] of features float [N, D]."""
        scaled = (features.astype(np.float32) - self.mean) / np.sqrt(self.variance)
        return (scaled @ self.kernel + self.bias).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A probe, and what validation chose: its penalty, the scale of its logits; and the score there."""

    probe: Probe
    penalty: float
    scale: float
    score: Measure


Solved = tuple[np.ndarray, np.ndarray]
"""Kernel float64 [D, C] and intercept float64 [C]."""


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


def fit(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    validation: np.ndarray,
    answers: np.ndarray,
    several: bool,
) -> Fitted:
    """Fit a probe to rows of features; its penalty, and the scale that makes logits of it, are chosen on others.

    Least squares of 0 and 1 give something like a probability p; logits are scale * (p - 1/2).

    Args:
      features, targets, weights: float [N, D], [N, classes] and [N], to learn from.
      validation, answers: float [M, D] and [M, classes], to choose on.
      several: whether each class has a probability of its own.
    """
    solved, statistics = _solve(features, targets, weights, PENALTIES)
    fits = []
    for penalty, (kernel, bias) in zip(PENALTIES, solved, strict=True):
        logits = _as_probe(kernel, bias, statistics, 1.0).logits(validation)
        scale = 1.0 / calibration.temperature(logits, answers, several, (1 / SCALES[1], 1 / SCALES[0]))
        probe = _as_probe(kernel, bias, statistics, scale)
        fits.append(Fitted(probe, penalty, scale, measure(probe.logits(validation), answers, several)))
    return max(fits, key=lambda each: each.score.order)  # of two that are level the smaller penalty


def fit_again(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, fitted: Fitted) -> Probe:
    """Fit to other rows with the penalty and scale that `fit` chose."""
    ((kernel, bias),), statistics = _solve(features, targets, weights, [fitted.penalty])
    return _as_probe(kernel, bias, statistics, fitted.scale)


def _solve(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalties: Sequence[float]
) -> tuple[list[Solved], tuple[np.ndarray, np.ndarray]]:
    rows = features.astype(np.float64)
    mean, variance = rows.mean(0), rows.var(0)
    variance = variance + FLOOR * variance.mean() + 1e-12
    return ridge((rows - mean) / np.sqrt(variance), targets, weights, penalties), (mean, variance)


def _as_probe(kernel: np.ndarray, bias: np.ndarray, statistics: tuple[np.ndarray, np.ndarray], scale: float) -> Probe:
    parts = (*statistics, scale * kernel, scale * (bias - 0.5))
    return Probe(*(part.astype(np.float32) for part in parts))
