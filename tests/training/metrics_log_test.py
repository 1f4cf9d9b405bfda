"""What the log says of the last steps, against losses and scores that are computed one step at a time by numpy."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.multitask import metric_sums
from tfssl.multitask.model import PretextModel, build_metrics
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.checkpoints import Checkpoints
from tfssl.tasks.parts.colour_losses import SCALE, ColourError, SquaredColour
from tfssl.training import callbacks

ROWS, STEPS, EVERY = 4, 7, 3  # an epoch of 7 steps: lines after 3 and 6, and at its end
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, [3 * STEPS, ROWS, 5]).astype(np.float32)
ANSWERS = RNG.integers(0, 5, [3 * STEPS, ROWS])
WEIGHTS = RNG.choice([0, 0.5, 1], [3 * STEPS, ROWS]).astype(np.float32)
COLOURS = RNG.normal(0, 2, [3 * STEPS, ROWS, 2, 2, 2]).astype(np.float32)
TRUTH = RNG.integers(-60, 60, [3 * STEPS, ROWS, 2, 2, 2]).astype(np.float32)


def expected(first: int, last: int) -> dict[str, float]:
    """The figures over the steps of these numbers, `last` among them; those of weights of their own for each metric."""
    steps = slice(first - 1, last)
    logits, answers, weights = LOGITS[steps].astype(np.float64), ANSWERS[steps], WEIGHTS[steps]
    of_answer = np.take_along_axis(logits, answers[..., None], -1)[..., 0]
    kinds = ((np.log(np.exp(logits).sum(-1)) - of_answer) * weights).mean()
    counted = weights.sum()
    colours = SCALE * COLOURS[steps].astype(np.float64) - TRUTH[steps]
    colours_loss = (colours**2).sum(-1).mean((2, 3)) / SCALE**2 * weights
    return {
        "loss": kinds + 0.25 * colours_loss.mean(),
        "kinds_loss": kinds,
        "colours_loss": colours_loss.mean(),
        "kinds_accuracy": ((logits.argmax(-1) == answers) * weights).sum() / counted,
        "colours_ab_rmse": np.sqrt(((colours**2).mean((2, 3, 4)) * weights).sum() / counted),
    }


def answering() -> PretextModel:
    """Two tasks whose answers are their puzzles."""
    inputs = {"kinds": keras.Input([5], name="kinds"), "colours": keras.Input([2, 2, 2], name="colours")}
    one = keras.layers.Dense(5, use_bias=False, kernel_initializer="identity", name="as_it_is")
    model = PretextModel(inputs, {"kinds": one(inputs["kinds"]), "colours": inputs["colours"]})
    model.compile(
        keras.optimizers.SGD(0.0),
        loss={"kinds": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "colours": SquaredColour()},
        loss_weights={"kinds": 1.0, "colours": 0.25},
        weighted_metrics={
            "kinds": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            "colours": [ColourError(name="ab_rmse")],
        },
    )
    if not tf.distribute.has_strategy():
        build_metrics(model, data(0).element_spec)
    return model


def data(first: int) -> tf.data.Dataset:
    """The steps after `first`."""
    puzzles, answers = {"kinds": LOGITS, "colours": COLOURS}, {"kinds": ANSWERS, "colours": TRUTH}
    weights = {"kinds": WEIGHTS, "colours": WEIGHTS[..., None, None]}
    return tf.data.Dataset.from_tensor_slices((puzzles, answers, weights)).skip(first)


def fit(model, folder, first, length, epoch, checkpoints=None, saved=None, epochs=None):
    """Trains from step `first` on, an epoch of so many steps, with the callbacks as `pretrain` orders them."""
    steps = callbacks.Steps(first, lambda step: 0.0, ROWS)
    log = callbacks.MetricsLog(folder, steps, EVERY, saved)
    restore = [] if saved is None else [callbacks.RestoreMetrics(saved)]
    listeners = [steps, *restore, log]
    if checkpoints is not None:
        listeners.append(callbacks.SaveAndStop(steps, log, checkpoints, 1, STEPS, 3 * STEPS))
    settings = {"shuffle": False, "verbose": 0, "initial_epoch": epoch, "epochs": epochs or epoch + 1}
    model.fit(data(first), steps_per_epoch=length, callbacks=listeners, **settings)


def check(folder) -> None:
    """Two epochs of the log: the lines after so many steps, and the first step that each is the mean of."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    wanted = [(3, 1), (6, 4), (7, 1), (9, 8), (12, 10), (14, 8)]
    assert [line["step"] for line in lines] == [last for last, _ in wanted]
    assert [line.get("epoch_end", False) for line in lines] == [False, False, True] * 2
    for line, (last, first) in zip(lines, wanted, strict=True):
        figures = expected(first, last)
        assert {name: line[name] for name in figures} == pytest.approx(figures, rel=1e-5), line


def test_lines_are_means_over_the_steps_since_the_line_before(tmp_path):
    fit(answering(), tmp_path, 0, STEPS, epoch=0, epochs=2)
    check(tmp_path)
    (path,) = (tmp_path / "tensorboard" / "steps").iterdir()
    events = [event for event in tf.compat.v1.train.summary_iterator(str(path)) if event.summary.value]
    found = {(event.step, v.tag): tf.make_ndarray(v.tensor).item() for event in events for v in event.summary.value}
    assert {step for step, _ in found} == {3, 6, 9, 12}
    assert found[6, "kinds_loss"] == pytest.approx(expected(4, 6)["kinds_loss"], rel=1e-5)
    assert found[9, "colours_ab_rmse"] == pytest.approx(expected(8, 9)["colours_ab_rmse"], rel=1e-5)
    assert found[9, "learning_rate"] == 0


def test_a_run_that_goes_on_between_two_lines_writes_the_same(tmp_path):
    """Stopped after step 4, whose line of step 3 is written: that of step 6 is the mean of 4, 5 and 6 nevertheless."""
    before = answering()
    broken = batches.BrokenPictures(open_source("toy:images(count=4, size=16)"))
    checkpoints = Checkpoints(before, tmp_path / "checkpoints", broken)
    fit(before, tmp_path, 0, 4, epoch=0, checkpoints=checkpoints)
    kept = (tmp_path / "metrics.jsonl").read_text().splitlines()
    (tmp_path / "metrics.jsonl").write_text(kept[0] + "\n")  # the second is that of the epoch of four, for the test's
    model = answering()
    again = Checkpoints(model, tmp_path / "checkpoints", broken)
    assert again.restore(print) == 4
    fit(model, tmp_path, 4, STEPS - 4, epoch=0, saved=again.metrics())
    fit(model, tmp_path, STEPS, STEPS, epoch=1)
    check(tmp_path)


@pytest.mark.parametrize(("fails", "saved"), [("batch", 5), ("step", 4), ("epoch", 7), ("diverged", 4)])
def test_what_is_done_is_saved_before_an_error_ends_a_run(tmp_path, fails, saved):
    """An error of another callback after step 5, inside of step 6 or after the epoch; a checkpoint every 4 steps."""

    class Fails(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if fails == "step" and batch == 5:
                raise OSError

        def on_train_batch_end(self, batch, logs=None):
            if fails in ("batch", "diverged") and batch == 4:
                raise OSError if fails == "batch" else callbacks.DivergedError

        def on_epoch_end(self, epoch, logs=None):
            raise OSError

    model = answering()
    broken = batches.BrokenPictures(open_source("toy:images(count=4, size=16)"))
    checkpoints = Checkpoints(model, tmp_path / "checkpoints", broken)
    steps = callbacks.Steps(0, lambda step: 0.0, ROWS)
    log = callbacks.MetricsLog(tmp_path, steps, EVERY)
    save = callbacks.SaveAndStop(steps, log, checkpoints, 4, STEPS, STEPS)
    with pytest.raises((OSError, callbacks.DivergedError)) as error:
        model.fit(data(0), steps_per_epoch=STEPS, callbacks=[steps, log, Fails(), save], shuffle=False, verbose=0)
    save.rescue(error.value)
    assert checkpoints.saved == saved


def test_under_a_strategy_too(tmp_path, replicas):
    with replicas.scope():
        model = answering()
    fit(model, tmp_path, 0, STEPS, epoch=0, epochs=2)
    check(tmp_path)


def test_sums_that_are_put_back_say_the_same():
    model = answering()
    model.fit(data(0), steps_per_epoch=3, verbose=0, shuffle=False)
    sums, said = metric_sums.read(model), model.get_metrics_result()
    model.reset_metrics()
    assert not metric_sums.read(model).any()
    assert metric_sums.values(model, sums) == pytest.approx({name: float(value) for name, value in said.items()})
    assert not metric_sums.read(model).any()
    metric_sums.assign(model, sums)
    np.testing.assert_array_equal(metric_sums.read(model), sums)
