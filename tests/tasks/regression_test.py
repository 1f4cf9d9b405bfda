"""Heads that predict numbers learn at the rates of other heads."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.multitask import puzzle_stream
from tfssl.multitask.encoders import Plans
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_task
from tfssl.tasks.parts import regression


def test_it_begins_as_a_plain_convolution():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 64))
    plainly = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    model = keras.Model(inputs, [regression.numbers(inputs, 8, 3, "mine"), plainly])
    mine, plain = model(np.random.default_rng(0).normal(size=(4, 16, 16, 64)).astype(np.float32))
    assert mine.shape == plain.shape
    assert np.std(mine) == pytest.approx(np.std(plain), rel=0.1)


def test_curvature_does_not_grow_with_the_width():
    """The gradient of a squared error by the weights, of inputs that are all 1: it grew with their number."""
    norms = []
    for channels in (16, 256):
        inputs = keras.Input((4, 4, channels))
        model = keras.Model(inputs, regression.numbers(inputs, 1, 1, "mine"))
        model.set_weights([np.zeros((1, 1, channels, 1), np.float32), np.zeros(1, np.float32)])
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(np.ones((2, 4, 4, channels), np.float32)) - 1))
        norms.append(float(tf.norm(tape.gradient(loss, model.trainable_weights)[0])))
    assert norms[0] == pytest.approx(2.0)
    assert norms[1] == pytest.approx(2.0)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["colorization(diverse=4)", "colorization(loss='regression')", "inpainting"])
def test_default_learning_rate_does_not_diverge(text):
    keras.utils.set_random_seed(0)
    tasks = [parse_task(text)]
    dataset = puzzle_stream.stream(open_source("toy:images(count=64, size=32)"), tasks, 32, 16, seed=0)
    encoders = Plans("resnet10(width=16)", 32, None).make()
    model = make_model(tasks, encoders, dataset.element_spec)
    compile_model(model, tasks, encoders, make_optimizer(0.9, 0.0))
    model.optimizer.learning_rate = 0.1
    losses = model.fit(dataset, steps_per_epoch=5, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert max(losses[1:]) < losses[0]
