"""The frozen probe in closed form: ridge regression of the labels, whose penalty a validation part chooses."""

import dataclasses

import numpy as np

from tfssl.downstream import calibration
from tfssl.downstream.measures import Measure, measure
from tfssl.frozen.ridge import PENALTIES, Statistics, standardised_ridge

SCALES = (1.0, 1000.0)
"""Smallest and largest scale of its logits."""


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
    solved, statistics = standardised_ridge(features, targets, weights, PENALTIES)
    fits = []
    for penalty, (kernel, bias) in zip(PENALTIES, solved, strict=True):
        logits = _as_probe(kernel, bias, statistics, 1.0).logits(validation)
        scale = 1.0 / calibration.temperature(logits, answers, several, (1 / SCALES[1], 1 / SCALES[0]))
        probe = _as_probe(kernel, bias, statistics, scale)
        fits.append(Fitted(probe, penalty, scale, measure(probe.logits(validation), answers, several)))
    return max(fits, key=lambda each: each.score.order)  # of two that are level the smaller penalty


def fit_again(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, fitted: Fitted) -> Probe:
    """Fit to other rows with the penalty and scale that `fit` chose."""
    ((kernel, bias),), statistics = standardised_ridge(features, targets, weights, [fitted.penalty])
    return _as_probe(kernel, bias, statistics, fitted.scale)


def _as_probe(kernel: np.ndarray, bias: np.ndarray, statistics: Statistics, scale: float) -> Probe:
    parts = (*statistics, scale * kernel, scale * (bias - 0.5))
    return Probe(*(part.astype(np.float32) for part in parts))
