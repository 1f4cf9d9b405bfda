"""Two replicas learn what one does with the joint batch, and a run under a strategy ends and goes on."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.keras_globals import set_otherwise, state
from tfssl.base.keras_state import plain_keras
from tfssl.models.trunks import make_trunk
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks.rotation import Rotation
from tfssl.training import pretrain

TOY = "toy:images(count=72, size=32)"
BATCH = 8


class Exact(Rotation):
    """Rotation with a head in the policy's dtype: a task's own computes in float32."""

    def head(self, encoders, puzzle):
        return keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(encoders["image"](puzzle)))


def train(strategy: tf.distribute.Strategy, steps: int) -> tuple[list[float], list[np.ndarray], list[np.ndarray]]:
    """Loss of each step as `fit` logs it; weights before and after."""
    source, task = open_source(TOY), Exact()
    keras.utils.set_random_seed(0)
    with strategy.scope(), plain_keras("float64"):
        dataset = puzzle_stream.stream(source, [task], 32, BATCH, seed=0)
        encoders = {"image": make_trunk("resnet10(width=4)", 32)}
        model = make_model([task], encoders, dataset.element_spec)
        compile_model(model, [task], encoders, make_optimizer(momentum=0.9, weight_decay=5e-4))
        model.optimizer.learning_rate = 0.0125
    before = model.get_weights()
    # An epoch a step: the logged loss is then that of the step alone.
    history = model.fit(dataset, steps_per_epoch=1, epochs=steps, shuffle=False, verbose=0).history
    return history["loss"], before, model.get_weights()


def test_two_replicas_are_one_with_the_joint_batch(replicas):
    """In float64: in float32 the rounding of batch norm over so few rows grows to per cents within four steps."""
    assert replicas.num_replicas_in_sync == 2
    losses, before, after = train(tf.distribute.get_strategy(), 4)
    losses_of_two, before_of_two, after_of_two = train(replicas, 4)
    np.testing.assert_allclose(losses_of_two, losses, rtol=1e-6)  # the metric that logs it is float32
    for start, start_of_two, one, two in zip(before, before_of_two, after, after_of_two, strict=True):
        np.testing.assert_array_equal(start, start_of_two)
        # What was learned, not the weights, which hardly move in four steps; batch norm statistics are among them.
        moved = np.abs(one - start).max()
        assert moved > 0
        np.testing.assert_allclose(two - start, one - start, rtol=0, atol=1e-9 * moved)


def test_all_runs_of_a_process_have_one_strategy_over_all_gpus(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 2)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: object())
    pretrain._strategy_of_all_gpus.cache_clear()
    try:
        assert pretrain.default_strategy() is pretrain.default_strategy()
    finally:
        pretrain._strategy_of_all_gpus.cache_clear()


def test_a_run_under_a_strategy_ends_and_goes_on(replicas, tmp_path, capsys):
    settings = {"trunk": "plain(width=4)", "size": 32, "epochs": 2, "batch_size": BATCH, "checkpoint_every": 4}
    settings |= {"tasks": "rotation", "report": False, "verbose": 0}
    with set_otherwise("mixed_float16"):  # which the run did not choose
        before = state()
        with replicas.scope():  # as good as `strategy`, below
            run = tfssl.pretrain(TOY, out=tmp_path / "run", **settings)
        assert state() == before
    assert run.result["steps"] == 18
    assert {layer.compute_dtype for layer in run.trunk().body.layers} == {"float32"}
    embedding = run.encoder()(np.zeros([1, 32, 32, 3], np.uint8))
    assert np.isfinite(embedding).all()

    for name in ("result.json", "encoder.keras"):
        (run.folder / name).unlink()
    newest = tf.train.latest_checkpoint(str(run.folder / "checkpoints"))
    for path in (run.folder / "checkpoints").glob(f"{newest.rpartition('/')[2]}.*"):
        path.unlink()  # the one before is of step 16, in the middle of an epoch
    shutil.copytree(run.folder, tmp_path / "copy")
    again = tfssl.pretrain(TOY, out=tmp_path / "copy", strategy=replicas, **settings)
    assert "from step 16 of 18" in capsys.readouterr().err
    assert again.result["steps"] == 18
    assert again.result["metrics"] == pytest.approx(run_metrics(tmp_path / "run"), rel=1e-3)


def run_metrics(folder) -> dict[str, float]:
    """The metrics of the last epoch of the log."""
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {name: line[name] for name in ("loss", "rotation_accuracy")}
