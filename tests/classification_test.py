"""The last layer of heads that choose: it begins at chance, and learns alike whatever the width."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.tasks import classification


def test_it_begins_at_chance():
    inputs = keras.Input((64,))
    model = keras.Model(inputs, classification.logits(inputs, 5, "mine"))
    np.testing.assert_array_equal(model(np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)), 0)


def test_curvature_does_not_grow_with_the_width():
    """The largest eigenvalue of the loss's Hessian, of features that are all 1: between two answers E|x|^2 / 2."""
    found = []
    for channels in (16, 256):
        inputs = keras.Input((channels,))
        model = keras.Model(inputs, classification.logits(inputs, 2, "mine"))
        kernel = model.trainable_weights[0].value
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                logits = model(np.ones((1, channels), np.float32))
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits([0], logits)[0]
            gradient = inner.gradient(loss, kernel)
        hessian = outer.jacobian(gradient, kernel)
        found.append(np.linalg.eigvalsh(tf.reshape(hessian, [2 * channels, -1]).numpy()).max())
    assert found == pytest.approx([classification.SCALE**2 / 2] * 2, rel=1e-4)


def test_weights_of_unscaled_features_give_what_they_gave():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(64, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    inputs = keras.Input((64,))
    model = keras.Model(inputs, classification.logits(inputs, 5, "mine"))
    model.set_weights([kernel, bias])
    classification.unscale(model)
    rows = rng.normal(size=(3, 64)).astype(np.float32)
    np.testing.assert_allclose(model(rows), rows @ kernel + bias, rtol=1e-4, atol=1e-5)
