"""Figures of merit of class scores. All are fractions, 0 .. 1."""

import warnings

import numpy as np


def top1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows of `scores`, float [M, classes], whose largest entry is at `labels`, int [M]."""
    return float(np.mean(np.argmax(scores, 1) == labels))


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return average precision of each class against the rest, averaged over the classes that `labels` holds.

    Args:
        scores: float [M, classes].
        labels: int [M]; or [M, classes], above 0 where a row has a label, of which it may have several.
    """
    from sklearn.metrics import average_precision_score

    answers = labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(scores.shape[1])
    present = np.flatnonzero(answers.any(0))
    with warnings.catch_warnings():
        # One class alone in the test rows: scikit-learn warns that there is no negative; the value (1.0) is right.
        warnings.simplefilter("ignore")
        return float(np.mean([average_precision_score(answers[:, label], scores[:, label]) for label in present]))
