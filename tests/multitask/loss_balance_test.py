"""What tasks count beside each other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.multitask import loss_balance, puzzle_stream
from tfssl.multitask.encoders import Plans
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_tasks

TOY = "toy:images(count=24, size=32)"


@pytest.fixture(scope="module")
def setting():
    """(tasks, encoders, model, dataset) of two tasks."""
    source, tasks = open_source(TOY), parse_tasks("rotation, inpainting")
    keras.utils.set_random_seed(0)
    dataset = puzzle_stream.stream(source, tasks, 32, 8, seed=0)
    encoders = Plans("plain(width=4)", 32, None).make()
    return tasks, encoders, make_model(tasks, encoders, dataset.element_spec), dataset


def test_losses_are_balanced_and_their_sum_stays(setting):
    tasks, _, model, dataset = setting
    losses = loss_balance.initial_losses(model, tasks, dataset)
    scales = loss_balance.of_losses(losses)
    scaled = [losses[name] / scales[name] for name in losses]
    assert scaled[0] == pytest.approx(scaled[1])
    assert sum(scaled) == pytest.approx(sum(losses.values()))
    assert loss_balance.of_losses({"a": 0.01, "b": 1.0}) == pytest.approx({"a": 0.01 / 0.505, "b": 1.0 / 0.505})
    assert loss_balance.of_losses({"a": 0.0, "b": 1.0})["a"] == 1.0


def test_gradients_on_the_trunk_are_balanced(setting):
    """Against gradients taken from each task's own loss, scaled, one batch after another."""
    tasks, encoders, model, dataset = setting
    compile_model(model, tasks, encoders, make_optimizer(0.9, 0.0))
    assert loss_balance.gradients(model, encoders, tasks, dataset)["rotation"] == 0  # its head begins at zero
    loss_balance.settle(model, dataset, 0.1, 4)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.1)
    scales = loss_balance.of_gradients(loss_balance.gradients(model, encoders, tasks, dataset))
    body = encoders["image"].body.trainable_variables
    norms = {}
    for task in tasks:
        found = []
        for puzzles, answers, weights in dataset.take(loss_balance.STEPS):
            with tf.GradientTape() as tape:
                prediction = model(puzzles, training=True)[task.name]
                loss = task.make_loss()(answers[task.name], prediction, weights[task.name]) / scales[task.name]
            gradients = tape.gradient(loss, body)
            found.append(np.sqrt(sum(float(tf.reduce_sum(gradient**2)) for gradient in gradients)))
        norms[task.name] = np.mean(found)
    assert norms["rotation"] == pytest.approx(norms["inpainting"], rel=1e-3)
    assert sum(1 / scale for scale in scales.values()) == pytest.approx(len(tasks))
    assert loss_balance.of_gradients({"a": 2.0, "b": 0.0}) == {"a": 1.0, "b": 1.0}


def test_a_run_keeps_what_it_divides_by(tmp_path):
    settings = {"trunk": "plain(width=4)", "size": 32, "batch_size": 8, "epochs": 1, "steps_per_epoch": 1}
    settings |= {"report": False, "verbose": 0}
    with pytest.raises(tfssl.UserError, match="initial, gradient, none"):
        tfssl.pretrain(TOY, "rotation, inpainting", out=tmp_path / "wrong", balance="losses", **settings)
    assert not (tmp_path / "wrong").exists()
    run = tfssl.pretrain(TOY, "rotation, inpainting", out=tmp_path / "run", balance="gradient", **settings)
    scales = run.prepared["scales"]
    assert set(scales) == {"rotation", "inpainting"}
    assert sum(1 / scale for scale in scales.values()) == pytest.approx(2)
