"""Losses of two views without negatives: what the dimensions of embeddings have in common over the batch."""

import abc
from typing import Any

import keras
import tensorflow as tf

from tfssl.tasks.parts import replicas
from tfssl.tasks.parts.agreement import precise

EPSILON_OF_CORRELATION, EPSILON_OF_DEVIATION = 1e-5, 1e-4
"""Added to variances, as in the authors' codes: facebookresearch/barlowtwins (batch norm's) and vicreg."""


class LossOfPairs(keras.losses.Loss, abc.ABC):
    """A loss of all pairs of a batch together, on all replicas; every row has it, so that their mean is it.

    Answer: int [n] of `agreement.partners`; pictures whose rows have 0 are left out. Prediction: float [n, D], rows of
    a picture side by side. Computed in float32 or wider.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": precise()} | kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        counts = tf.cast(tf.not_equal(y_true, 0.0), y_pred.dtype)
        rows, _ = replicas.gather(y_pred)
        all_counts, _ = replicas.gather(counts)
        pairs = tf.reshape(rows, [-1, 2, y_pred.shape[-1]])
        return counts * self.of_pairs(pairs[:, 0], pairs[:, 1], all_counts[::2, None])

    @abc.abstractmethod
    def of_pairs(self, first: tf.Tensor, second: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Return the loss, [], of embeddings [N, D] of both sides; which count, [N, 1], 0 or 1."""


def centred(rows: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Return rows [N, D] less the mean of those that count; the others are 0."""
    mean = tf.math.divide_no_nan(tf.reduce_sum(rows * counts, 0), tf.reduce_sum(counts))
    return (rows - mean) * counts


class BarlowTwins(LossOfPairs):
    """The cross-correlation of both sides is to be the identity (Zbontar et al. 2021, arXiv 2103.03230).

    The sum over the diagonal of (1 - c)^2, and over the rest of `off_diagonal` c^2, divided by D, which the paper's is
    not: so it is about 1 before training, whatever the width.
    """

    def __init__(self, off_diagonal: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.off_diagonal = off_diagonal

    def of_pairs(self, first: tf.Tensor, second: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        count = tf.reduce_sum(counts)

        def normalised(rows: tf.Tensor) -> tf.Tensor:
            rows = centred(rows, counts)
            variance = tf.math.divide_no_nan(tf.reduce_sum(tf.square(rows), 0), count)
            return rows * tf.math.rsqrt(variance + EPSILON_OF_CORRELATION)

        correlation = tf.matmul(normalised(first), normalised(second), transpose_a=True)
        correlation = tf.math.divide_no_nan(correlation, count)
        squares, diagonal = tf.square(correlation), tf.linalg.diag_part(correlation)
        rest = tf.reduce_sum(squares) - tf.reduce_sum(tf.square(diagonal))
        return (tf.reduce_sum(tf.square(1 - diagonal)) + self.off_diagonal * rest) / first.shape[1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"off_diagonal": self.off_diagonal}


class VICReg(LossOfPairs):
    """Both sides alike, each dimension with a deviation of 1, no two correlated (Bardes et al. 2022, arXiv 2105.04906).

    Invariance: mean squared difference. Variance: mean of max(0, 1 - deviation), of both sides. Covariance: sum of the
    squared covariances off the diagonal over D, of both sides. Their weighted sum is divided by the sum of the weights,
    which the paper's is not: so it learns at the rates of other tasks.
    """

    def __init__(self, invariance: float, variance: float, covariance: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def of_pairs(self, first: tf.Tensor, second: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        width, count = first.shape[1], tf.reduce_sum(counts)
        apart = tf.reduce_mean(tf.reduce_sum(tf.square((first - second) * counts), 0))
        total = self.invariance * tf.math.divide_no_nan(apart, count)
        for side in (first, second):
            rows = centred(side, counts)
            covariance = tf.math.divide_no_nan(tf.matmul(rows, rows, transpose_a=True), count - 1)
            variances = tf.linalg.diag_part(covariance)
            short = tf.nn.relu(1 - tf.sqrt(variances + EPSILON_OF_DEVIATION))
            rest = tf.reduce_sum(tf.square(covariance)) - tf.reduce_sum(tf.square(variances))
            total += self.variance * tf.reduce_mean(short) / 2 + self.covariance * rest / width
        return total / (self.invariance + self.variance + self.covariance)

    def get_config(self) -> dict[str, Any]:
        weights = {"invariance": self.invariance, "variance": self.variance, "covariance": self.covariance}
        return super().get_config() | weights
