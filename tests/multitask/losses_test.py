import keras
import numpy as np
import pytest

from tfssl.models.trunks import Trunk, make_pixels
from tfssl.multitask import puzzle_stream
from tfssl.multitask.losses import task_losses
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks.inpainting import Inpainting
from tfssl.tasks.rotation import Rotation


def expected(answers, predictions):
    """Cross-entropy of rotation, and the weighted squared error of inpainting's holes; row by row."""
    logits = predictions["rotation"]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    entropy = -np.log(shares[np.arange(len(logits)), answers["rotation"]]).mean()
    size = answers["inpainting"].shape[1]
    colours = answers["inpainting"][..., : 3 * size].reshape(-1, size, size, 3) / 127.5 - 1
    counts = answers["inpainting"][..., 3 * size :].astype(float)
    squares = ((predictions["inpainting"] - colours) ** 2).mean(-1)
    return {"rotation": entropy, "inpainting": np.mean((squares * counts).sum((1, 2)) / counts.sum((1, 2)))}


@pytest.fixture(scope="module")
def batch():
    tasks = [Rotation(rotations=2), Inpainting(hole="centre", adversarial=True)]
    dataset = puzzle_stream.stream(open_source("toy:images(count=4, size=16)"), tasks, 16, 4, seed=0)
    pixels = keras.Input((None, None, 3))
    body = keras.Model(pixels, keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="stage1")(pixels))
    encoders = {"image": Trunk(make_pixels(), body, ("stage1",))}
    return tasks, encoders, next(iter(dataset)), dataset.element_spec


@pytest.mark.parametrize("mixing", ["joint", "alternate"])
def test_each_tasks_loss_is_logged_as_it_was_trained_on(mixing, batch):
    tasks, encoders, (puzzles, answers, weights), spec = batch
    model = make_model(tasks, encoders, spec)
    compile_model(model, tasks, encoders, make_optimizer(0.0, 0.0), mixing=mixing, scales={"inpainting": 4.0})
    assert not model.plan.is_plain
    model.run_eagerly = True
    model.optimizer.learning_rate = 0.0
    made = {name: np.asarray(each) for name, each in model(puzzles, training=True).items()}
    right = {name: np.asarray(each) for name, each in answers.items()}
    wanted = expected(right, made)
    found = task_losses(tasks, answers, made, weights, {})
    assert {name: float(loss) for name, loss in found.items()} == pytest.approx(wanted, rel=1e-4)
    logs = model.train_on_batch(puzzles, answers, weights, return_dict=True)
    assert {name: float(logs[f"{name}_loss"]) for name in wanted} == pytest.approx(wanted, rel=1e-4)
    assert "inpainting_opponent_loss" in logs
