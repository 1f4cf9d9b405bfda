"""How good logits are: what candidates are chosen by, and what the chosen one is measured at."""

from typing import NamedTuple

import numpy as np

from tfssl.downstream import calibration
from tfssl.frozen import metrics


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
