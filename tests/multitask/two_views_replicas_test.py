"""Tasks of two views: two replicas of n rows make the update of one with 2n, and not where a gradient is cut."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.cut_gather import without_gradient
from tfssl.base.keras_state import plain_keras
from tfssl.models.trunks import make_trunk
from tfssl.models.trunks.layers import activate, convolution
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_task
from tfssl.tasks.parts import replicas as rows_of_replicas

TOY = "toy:images(count=72, size=32)"
TEXTS = [
    "contrastive(projection=8)",
    "redundancy(projection=8, hidden=12)",
    "redundancy(loss='vicreg', projection=8, hidden=12)",
    "pirl(projection=8)",
    "pirl(of='jigsaw', grid=2, projection=8)",
]


def shallow():
    pixels = keras.Input((None, None, 3))
    x = activate(convolution(pixels, 8, 3, 2))
    return keras.Model(pixels, activate(convolution(x, 12, 3, 2), "stage1"), name="body")


def step_of(strategy, text, steps=1):
    """The loss of a step of `fit` of 8 pictures, or the mean of some; what they change of the weights; the banks."""
    source = open_source(TOY)
    task = parse_task(text).prepared(source)
    keras.utils.set_random_seed(0)
    with strategy.scope(), plain_keras("float64"):
        dataset = puzzle_stream.stream(source, [task], 32, 8, seed=0, verbose=0)
        encoders = {"image": make_trunk(shallow(), 32)}
        model = make_model([task], encoders, dataset.element_spec)
        compile_model(model, [task], encoders, make_optimizer(momentum=0.9, weight_decay=5e-4))
        model.optimizer.learning_rate = 0.01
    before = model.get_weights()
    losses = model.fit(dataset, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0).history["loss"]
    changes = [new - old for new, old in zip(model.get_weights(), before, strict=True)]
    return losses[0], changes, [variable.numpy() for variable in model.extra_variables()]


def apart(one, two):
    """The largest difference of what two steps change, in the largest change of that variable."""
    assert all(np.abs(changes).max() > 0 for changes in one)
    return max(np.abs(first - second).max() / np.abs(first).max() for first, second in zip(one, two, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_two_replicas_make_the_update_of_one(replicas, text, monkeypatch):
    """Three models are traced and trained, two of them twice: some seconds each."""
    loss, changes, _ = step_of(tf.distribute.get_strategy(), text)
    loss_of_two, changes_of_two, _ = step_of(replicas, text)
    assert loss_of_two == pytest.approx(loss, rel=1e-6)  # the metric that logs it is float32
    assert apart(changes, changes_of_two) < 1e-9
    monkeypatch.setattr(rows_of_replicas, "gather", without_gradient)
    loss_of_cut, changes_of_cut, _ = step_of(replicas, text)
    assert loss_of_cut == pytest.approx(loss, rel=1e-6)
    assert apart(changes, changes_of_cut) > 1e-2


@pytest.mark.slow
def test_two_replicas_fill_the_memory_bank_of_one(replicas):
    """Ten steps: the last one has pictures that were seen before. Two models are traced: some seconds each."""
    text = "pirl(projection=8, bank=20)"
    loss, changes, (vectors,) = step_of(tf.distribute.get_strategy(), text, steps=10)
    loss_of_two, changes_of_two, (vectors_of_two,) = step_of(replicas, text, steps=10)
    assert loss_of_two == pytest.approx(loss, rel=1e-6)  # the metric that logs it is float32
    assert apart(changes, changes_of_two) < 1e-9
    assert vectors.dtype == np.float64
    np.testing.assert_allclose(vectors_of_two, vectors, rtol=0, atol=1e-9)
