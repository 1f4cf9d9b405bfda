"""A task with a memory bank beside another: what is trained on is the bank's loss, logged and balanced as such."""

import keras
import numpy as np
import pytest

from tfssl.models.trunks import Trunk, make_pixels
from tfssl.multitask import loss_balance, puzzle_stream
from tfssl.multitask.losses import task_losses
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_tasks

PICTURES = 60


@pytest.fixture(scope="module")
def setting():
    """(tasks, encoders, dataset); at so high a temperature all cosines are as good as one."""
    source = open_source(f"toy:images(count={PICTURES}, size=16)")
    texts = "rotation(rotations=2), pirl(projection=4, bank=60, temperature=30.0)"
    tasks = [task.prepared(source) for task in parse_tasks(texts)]
    pixels = keras.Input((None, None, 3))
    body = keras.Model(pixels, keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="stage1")(pixels))
    encoders = {"image": Trunk(make_pixels(), body, ("stage1",))}
    return tasks, encoders, puzzle_stream.stream(source, tasks, 16, 4, seed=0, verbose=0)


@pytest.mark.parametrize("mixing", ["joint", "alternate"])
def test_the_loss_of_a_bank_is_trained_on_logged_and_then_written_into(mixing, setting):
    tasks, encoders, dataset = setting
    puzzles, answers, weights = next(iter(dataset))
    model = make_model(tasks, encoders, dataset.element_spec)
    compile_model(model, tasks, encoders, make_optimizer(0.0, 0.0), mixing=mixing)
    model.run_eagerly = True
    model.optimizer.learning_rate = 0.0
    (bank,) = model.plan.banks.values()
    before = bank.vectors.numpy()
    made = model(puzzles, training=True)
    wanted = float(bank.loss(answers["pirl"], made["pirl"], weights["pirl"]))
    assert wanted == pytest.approx(np.log(PICTURES), abs=0.1)  # of the batch of four it would be 1.4
    assert float(task_losses(tasks, answers, made, weights, model.plan.banks)["pirl"]) == wanted
    logs = model.train_on_batch(puzzles, answers, weights, return_dict=True)
    assert float(logs["pirl_loss"]) == pytest.approx(wanted, rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(wanted + float(logs["rotation_loss"]), rel=1e-5)
    numbers = answers["pirl"].numpy()[::2, 1]
    np.testing.assert_array_equal(np.flatnonzero((bank.vectors.numpy() != before).any(1)), np.sort(numbers))
    rows = made["pirl"].numpy()[::2]
    moved = before[numbers] + rows / np.linalg.norm(rows, axis=1, keepdims=True)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.vectors.numpy()[numbers], moved, rtol=1e-4, atol=1e-5)
    assert [v.path for v in model.extra_variables()] == ["pirl_bank/vectors"]
    assert not [v for v in model.weights if "bank" in v.path]


def test_losses_are_balanced_by_that_of_the_bank(setting):
    tasks, encoders, dataset = setting
    losses = loss_balance.initial_losses(make_model(tasks, encoders, dataset.element_spec), tasks, dataset, steps=1)
    assert losses["pirl"] == pytest.approx(np.log(PICTURES), abs=0.1)
