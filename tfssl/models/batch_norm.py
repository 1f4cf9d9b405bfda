"""Batch norm: a layer that trains fast on one replica, and precise batch norm, statistics measured after training."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm over the last axis with statistics over all replicas; on one replica training is faster.

    Keras sums up, squares and scales a batch in a dozen operations, each of which reads and writes all of it, in
    float32 whatever the policy computes in. With one replica there is nothing to synchronise, and for maps TensorFlow
    has one operation for all of it (`FusedBatchNormV3`), which reads bfloat16 and float16 and sums up in float32. The
    same function and moving statistics, up to rounding; anything but training with maps [N, H, W, C] on one replica is
    left to Keras.

    Attributes:
      test_mode: whether it uses its moving statistics while it trains, too, and leaves them; its scale and shift learn.
        A model that is called in training mode overrides what its layers were called with (Keras 3.15), and a layer
        that is not trainable has no scale and shift to learn, so neither will do. It is not saved.
    """

    test_mode = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"synchronized": True} | settings)

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        training = training and not self.test_mode
        if not (training and self.trainable and mask is None and self._is_fused(inputs)):
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = (tf.convert_to_tensor(variable, tf.float32) for variable in (self.gamma, self.beta))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=(), variance=(), epsilon=self.epsilon, is_training=True
        )
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance *= (count - 1) / count  # the operation divides by one less than the count, Keras does not
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _is_fused(self, inputs: tf.Tensor) -> bool:
        replica = tf.distribute.get_replica_context()
        of_maps = len(inputs.shape) == 4 and self.axis in (-1, 3) and inputs.dtype != "float64"
        usual = self.scale and self.center and not self.renorm
        return of_maps and usual and replica is not None and replica.num_replicas_in_sync == 1


BatchNormalization.__module__ = "keras.layers"
"""So a saved model names Keras's own layer, whose function, weights and settings are the same, and loads anywhere."""


class Estimating:
    """Estimates the statistics of one model, again and again as its weights change: see `estimate`."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._forward: Callable[[Any], Any] | None = None

    def estimate(self, batches: Iterable[Any], steps: int) -> bool:
        """Do what the function `estimate` does, with batches of the same kind each time: traced once."""
        norms = _batch_norms(self._model)
        if not norms:
            return False
        statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
        others = self._model.non_trainable_variables
        states = [variable for variable in others if not any(variable is s for s in statistics)]
        before = [(variable, variable.numpy()) for variable in states + statistics]
        settings = [(norm, norm.momentum, norm.trainable) for norm in norms]

        rows, sums = 0, [np.zeros(variable.shape, np.float64) for variable in statistics]
        done = False
        try:
            for norm in norms:
                norm.momentum = 0.0  # then the moving statistics are those of the last batch
                norm.trainable = True  # Keras keeps a frozen one in test mode
            for images in itertools.islice(batches, steps):
                images = tf.nest.map_structure(tf.convert_to_tensor, images)
                # Called as a concrete function: TensorFlow warns of retracing where a process estimates several models.
                self._forward = self._forward or _compile_forward(self._model, images)
                self._forward(images)
                count = len(tf.nest.flatten(images)[0])
                rows += count
                for k in range(0, len(statistics), 2):
                    mean, variance = (np.asarray(variable.numpy(), np.float64) for variable in statistics[k : k + 2])
                    sums[k] += count * mean
                    sums[k + 1] += count * (variance + mean**2)
            done = rows > 0
        finally:
            for norm, momentum, trainable in settings:
                norm.momentum, norm.trainable = momentum, trainable
            for variable, value in before[: len(states)] if done else before:
                variable.assign(value)
        if not done:
            raise ValueError("batch norm cannot be estimated: there is no batch; give a data set with at least one")
        for k in range(0, len(statistics), 2):
            mean = sums[k] / rows
            statistics[k].assign(mean)
            statistics[k + 1].assign(np.maximum(sums[k + 1] / rows - mean**2, 0.0))
        return True


def estimate(model: keras.Model, batches: Iterable[Any], steps: int) -> bool:
    """Set the moving mean and variance of every batch norm of a model to those of its inputs on the given batches.

    Training on tiles, grey pictures and patches leaves moving statistics that are wrong for whole photos. After Wu and
    Johnson 2021 ("Rethinking Batch in BatchNorm", arXiv 2105.07576, section 3): with weights fixed, each batch passes
    in training mode, that is normalised by its own statistics; mean and second moment are averaged over batches. A
    batch counts by its rows, so that a short last one does not distort them. As in the authors' code, dropout is at
    work as in training.

    Nothing but the moving statistics changes: weights, momentum, `trainable` and states of random generators are as
    before. If a batch fails, the statistics are as before too. Models inside of models are included. To be called
    outside of a distribution strategy's scope.

    Args:
      model: built; a trunk's encoder, say.
      batches: inputs of the model; tensors [n, ...] each, or nested structures of these.
      steps: how many batches to take; all of them where there are fewer.

    Returns:
      Whether the model has a batch norm.

    Raises:
      ValueError: there is no batch.
    """
    return Estimating(model).estimate(batches, steps)


def _compile_forward(model: keras.Model, images: Any) -> Callable[[Any], Any]:
    """Return the model in training mode, compiled for batches of any length."""
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), images)
    return tf.function(lambda images: model(images, training=True)).get_concrete_function(specs)


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    layers = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layers[id(layer)] = layer
    return list(layers.values())
