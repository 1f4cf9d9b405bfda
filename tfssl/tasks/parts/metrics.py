"""What the metrics of tasks that predict pictures have in common."""

import abc

import keras
import tensorflow as tf


class PictureMean(keras.metrics.Mean, abc.ABC):
    """The mean over pictures of a figure that each has: sums and counts only. Pictures of weight 0 do not count."""

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        weight = None if sample_weight is None else tf.reshape(sample_weight, [-1])
        super().update_state(self.values(y_true, y_pred), weight)

    @abc.abstractmethod
    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the figure of each picture: float32 [B]."""
