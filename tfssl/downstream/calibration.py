"""Probabilities that mean what they say: one temperature, fitted on a validation part (Guo et al. 2017, 1706.04599)."""

import numpy as np

BINS = 15
"""Of the expected calibration error, as in the paper."""
RANGE = (0.05, 20.0)
"""Smallest and largest temperature: where logits say nothing, none is too large."""


def probabilities(logits: np.ndarray, several: bool, temperature: float = 1.0) -> np.ndarray:
    """Return float64 [N, classes]: a softmax, or where a picture may have several labels a sigmoid of each."""
    scaled = np.asarray(logits, np.float64) / temperature
    if several:
        return 0.5 * (1.0 + np.tanh(0.5 * scaled))
    shifted = np.exp(scaled - scaled.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def loss(logits: np.ndarray, targets: np.ndarray, several: bool, temperature: float = 1.0) -> float:
    """Return the mean negative log likelihood in nats: of a picture, or of each of its classes where there are several.

    Args:
      logits: float [N, classes].
      targets: float [N, classes], 1 where a picture has a label, else 0.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    if several:
        return float(np.mean(np.logaddexp(0.0, scaled) - targets * scaled))
    top = scaled.max(1)
    whole = top + np.log(np.exp(scaled - top[:, None]).sum(1))
    return float(np.mean(whole - np.sum(targets * scaled, 1)))


def temperature(logits: np.ndarray, targets: np.ndarray, several: bool, bounds: tuple[float, float] = RANGE) -> float:
    """Return the temperature with the least loss, within `bounds`. Arguments as of `loss`."""
    from scipy.optimize import minimize_scalar

    # The loss is convex in 1 / temperature, so there is one valley, in its logarithm too.
    found = minimize_scalar(
        lambda power: loss(logits, targets, several, float(np.exp(power))),
        bounds=tuple(np.log(bounds)),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibration_error(shares: np.ndarray, targets: np.ndarray, several: bool) -> float:
    """Return the expected calibration error, 0 .. 1: how far confidence is from being right, over the bins of it.

    Arguments as of `bins`.
    """
    confidence, right, count = bins(shares, targets, several)
    return float((count * np.abs(confidence - right)).sum() / count.sum())


def bins(shares: np.ndarray, targets: np.ndarray, several: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, the share that is right, and the count of 15 bins of confidence; each [15].

    Of one label the largest probability counts, of several each of them. An empty bin has zeros.

    Args:
      shares: probabilities, float [N, classes].
      targets: float [N, classes].
    """
    if several:
        confidence, right = shares.ravel(), targets.ravel()
    else:
        best = shares.argmax(1)
        rows = np.arange(len(shares))
        confidence, right = shares[rows, best], targets[rows, best]
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    some = np.maximum(count, 1)
    return np.bincount(place, confidence, BINS) / some, np.bincount(place, right, BINS) / some, count
