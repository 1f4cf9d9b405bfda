"""Precise batch norm: the statistics of one kind of input, measured instead of averaged along training."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def estimate(model: keras.Model, batches: Iterable[Any], steps: int) -> None:
    """Sets the moving mean and variance of every batch norm of a model to those of its inputs on the given batches.

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

    Raises:
      ValueError: there is no batch.
    """
    norms = _batch_norms(model)
    if not norms:
        return
    statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
    states = [variable for variable in model.non_trainable_variables if not any(variable is s for s in statistics)]
    before = [(variable, variable.numpy()) for variable in states + statistics]
    settings = [(norm, norm.momentum, norm.trainable) for norm in norms]

    forward: Callable[[Any], Any] | None = None
    rows, sums = 0, [np.zeros(variable.shape, np.float64) for variable in statistics]
    done = False
    try:
        for norm in norms:
            norm.momentum = 0.0  # then the moving statistics are those of the last batch
            norm.trainable = True  # Keras keeps a frozen one in test mode
        for images in itertools.islice(batches, steps):
            images = tf.nest.map_structure(tf.convert_to_tensor, images)
            # Called as a concrete function: TensorFlow warns of retracing where a process estimates several models.
            forward = forward or _compiled(model, images)
            forward(images)
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


def _compiled(model: keras.Model, images: Any) -> Callable[[Any], Any]:
    """The model in training mode, compiled for batches of any length."""
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), images)
    return tf.function(lambda images: model(images, training=True)).get_concrete_function(specs)


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    found = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            found[id(layer)] = layer
    return list(found.values())
