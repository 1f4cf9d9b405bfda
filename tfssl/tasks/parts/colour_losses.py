"""Losses and metrics of colorization. Answers are a and b, whole numbers [B, h, w, 2]."""

from typing import Any

import keras
import tensorflow as tf

from tfssl.tasks.parts import colour_bins
from tfssl.tasks.parts.metrics import PictureMean

SCALE = 25.0
"""What a and b are divided by where a network predicts them themselves: about their deviation in photos, so that losses
are about 1 and the learning rates of other tasks fit."""


class SoftBins(keras.losses.Loss):
    """Cross-entropy against the soft encoding of the colour, rare colours counting more: [B, h, w].

    The soft encoding is looked up here, by 10 bins a pixel: handed over as all Q numbers a pixel it would be the
    largest tensor of a step.
    """

    def __init__(self, neighbours: int, sigma: float, weights: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.neighbours, self.sigma, self.weights = neighbours, sigma, weights

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        tables = colour_bins.tables(self.neighbours, self.sigma)
        place = colour_bins.place(y_true)
        nearest = tf.gather(tf.constant(tables.neighbours), place)
        shares = tf.gather(tf.constant(tables.shares), place)
        of_answer = tf.reduce_sum(shares * tf.gather(y_pred, nearest, batch_dims=3), -1)
        loss = tf.reduce_logsumexp(y_pred, -1) - of_answer
        return loss if self.weights is None else loss * tf.gather(tf.constant(self.weights), nearest[..., 0])


class SquaredColour(keras.losses.Loss):
    """Squared distance in ab, in units of `SCALE`, with what a code costs where there is one: [B, h, w].

    Args:
      codes: K of a conditional variational autoencoder; the prediction is then a and b, the means and the logarithms
        of the variances of the code, the same at each place: [B, h, w, 2 + 2 K].
      beta: the weight of the divergence of a picture's code from the standard normal distribution, in nats.
    """

    def __init__(self, codes: int = 0, beta: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.codes, self.beta = codes, beta

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        loss = tf.reduce_sum(tf.square(y_pred[..., :2] - y_true / SCALE), -1)
        return loss + self.beta * divergence(y_pred)[:, None, None] if self.codes else loss


def divergence(prediction: tf.Tensor) -> tf.Tensor:
    """Return the divergence, nats, of codes in predictions [B, h, w, 2 + 2 K] from the standard normal: float32 [B]."""
    mean, log_variance = tf.split(tf.cast(prediction[:, 0, 0, 2:], tf.float32), 2, -1)
    return tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1 - log_variance, -1) / 2


class BinAccuracy(PictureMean):
    """Part of the pixels whose nearest bin is predicted; each pixel counts alike."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        right = tf.argmax(y_pred, -1, tf.int32) == colour_bins.nearest_bin(y_true)
        return tf.reduce_mean(tf.cast(right, tf.float32), [1, 2])


class ColourError(PictureMean):
    """Root of the mean squared error of a and b, in units of ab, over all pixels and both.

    Args:
      bins: whether the prediction is logits of bins; else it is a and b, in units of `SCALE`, in its first channels.
      temperature: that of the annealed mean over bins.
    """

    def __init__(self, bins: bool = False, temperature: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.bins, self.temperature = bins, temperature

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        errors = predicted_ab(y_pred, self.bins, self.temperature) - tf.cast(y_true, tf.float32)
        return tf.reduce_mean(tf.square(errors), [1, 2, 3])

    def result(self) -> tf.Tensor:
        return tf.sqrt(super().result())

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"bins": self.bins, "temperature": self.temperature}


class CodeDivergence(PictureMean):
    """Nats that a picture's code says of its colours, mean over pictures. Near 0 the code is not used."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return divergence(y_pred)


def predicted_ab(prediction: tf.Tensor, bins: bool, temperature: float) -> tf.Tensor:
    """Convert what a head gives to a and b, float32 [..., 2]; arguments as of `ColourError`."""
    if bins:
        return colour_bins.annealed_mean(prediction, temperature)
    return tf.cast(prediction[..., :2], tf.float32) * SCALE
