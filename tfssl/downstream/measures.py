"""How good logits are: what candidates are chosen by, and what the chosen one is measured at."""

from typing import NamedTuple

import numpy as np

from tfssl.downstream import calibration
from tfssl.evaluation import metrics


class Measure(NamedTuple):
    """A score, 0 .. 1: share right, or mean average precision where a picture may have several labels; and the loss."""

    score: float
    loss: float

    @property
    def order(self) -> tuple[float, float]:
        """The larger the better: by the score, and of two that are level by the loss."""
        return self.score, -self.loss


def measure(logits: np.ndarray, targets: np.ndarray, several: bool) -> Measure:
    """Measure logits float [N, classes] against targets float [N, classes].

    The loss is that of the best temperature: a candidate is not worse for being too sure of itself, which is mended.
    """
    score = metrics.mean_average_precision(logits, targets) if several else metrics.top1(logits, targets.argmax(1))
    heat = calibration.temperature(logits, targets, several)
    return Measure(score, calibration.loss(logits, targets, several, heat))


def right(shares: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return whether the most probable class of each picture is a label of it, bool [N]."""
    return targets[np.arange(len(targets)), shares.argmax(1)] > 0


def balanced_accuracy(shares: np.ndarray, targets: np.ndarray) -> float:
    """Return the share right of each class that has pictures, averaged over classes, 0 .. 1."""
    hit = right(shares, targets).astype(np.float64)
    counts = targets.sum(0)
    return float(np.mean((hit @ targets)[counts > 0] / counts[counts > 0]))


def mean_average_precision_interval(
    shares: np.ndarray, other: np.ndarray | None, targets: np.ndarray, draws: int = 200
) -> tuple[float, float]:
    """Return the 95 % interval of a mean average precision, or of how far it is ahead of another one.

    By bootstrap over pictures, the same pictures for both.

    Args:
      shares, other: probabilities, float [N, classes]; `other` None for the interval of the first alone.
      draws: samples with replacement.
    """
    rng = np.random.default_rng(0)
    values = []
    for _ in range(draws):
        rows = rng.integers(0, len(targets), len(targets))
        value = metrics.mean_average_precision(shares[rows], targets[rows])
        if other is not None:
            value -= metrics.mean_average_precision(other[rows], targets[rows])
        values.append(value)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
