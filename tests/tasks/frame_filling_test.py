"""Frame filling: the middle frame is asked for, what counts, and the scores."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.pipelines.clip_records_test import record
from tests.tasks.clip_tasks_test import SIZE, batch, numbered, numbers
from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.tasks.frame_filling import CopiedPSNR, FrameError, FrameFilling, FrameL1, FrameL2, FramePSNR, Gain, mean_of

SEED = tf.constant([0, 1])


def test_the_middle_frame_is_asked_for():
    task = FrameFilling(gap=0.2)
    for draw in range(4):
        puzzle, answer, weight = task.puzzles(batch([record(numbered(30))] * 8), tf.constant([draw, 1]))
        before, after = numbers(puzzle).T
        np.testing.assert_array_equal(after - before, 4)  # of 10 frames a second, two steps
        np.testing.assert_array_equal(numbers(answer[:, None, ..., :3])[:, 0], before + 2)
        np.testing.assert_array_equal(answer[..., 3:], mean_of(puzzle))
        assert weight.numpy().tolist() == [1] * 8


def test_mean_is_rounded_and_does_not_overflow():
    pairs = np.random.default_rng(0).integers(0, 256, (2, 2, 5, 5, 3), np.uint8)
    expected = np.floor(pairs.astype(float).mean(1) + 0.5)
    np.testing.assert_array_equal(mean_of(tf.constant(pairs)), expected)


def test_without_motion_it_does_not_count():
    still, short, none = record(numbered(1) * 30), record(numbered(2)), record([], bytes(2000))
    puzzle, _, weight = FrameFilling().puzzles(batch([still, record(numbered(30)), short, none]), SEED)
    assert weight.numpy().tolist() == [0, 1, 0, 0]
    assert puzzle.shape == (4, 2, SIZE, SIZE, 3)


def test_scores_are_those_of_numpy():
    generator = np.random.default_rng(1)
    answer = generator.integers(0, 256, (3, 6, 6, 6), np.uint8)
    painted = generator.normal(0, 0.8, (3, 6, 6, 3)).astype(np.float32)
    middle, mean = answer[..., :3] / 255, answer[..., 3:] / 255
    shown = (np.clip(painted, -1, 1) + 1) / 2
    errors = np.abs(shown - middle).reshape(3, -1)
    copied = ((mean - middle) ** 2).reshape(3, -1).mean(1)
    expected = {
        FrameL1: 100 * errors.mean(1),
        FrameL2: 100 * (errors**2).mean(1),
        FramePSNR: -10 * np.log10((errors**2).mean(1)),
        CopiedPSNR: -10 * np.log10(copied),
        Gain: 10 * np.log10(copied / (errors**2).mean(1)),
    }
    counts = np.array([1.0, 0.0, 1.0])
    for metric, values in expected.items():
        made = metric(name="score")
        made.update_state(tf.constant(answer), tf.constant(painted), tf.constant(counts))
        assert float(made.result()) == pytest.approx(values[[0, 2]].mean(), rel=1e-4)
    squared = ((painted - (2 * middle - 1)) ** 2).reshape(3, -1).mean(1) / (4 * copied + 1e-4)
    assert float(FrameError()(tf.constant(answer), tf.constant(painted))) == pytest.approx(squared.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("trunk", "size"), [("resnet10(width=4)", 32), ("resnet10(width=4)", 68), ("nin(width=8)", 40)]
)
def test_the_network_begins_with_the_mean_of_both(trunk, size):
    made = make_trunk(trunk, size)
    asked = keras.Input((2, size, size, 3), dtype="uint8", name="frame_filling")
    model = keras.Model(asked, FrameFilling().head({"image": made}, asked))
    puzzle = np.random.default_rng(2).integers(0, 256, (3, 2, size, size, 3), np.uint8)
    painted = model(puzzle).numpy()
    assert painted.shape == (3, size, size, 3)
    np.testing.assert_allclose(painted, puzzle.mean(1) / 127.5 - 1, atol=1e-6)
    # What the last layer reads comes from all of the trunk.
    numbers = model.get_layer("frame_filling_numbers")
    numbers.set_weights([np.random.default_rng(3).normal(0, 0.1, each.shape) for each in numbers.get_weights()])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(puzzle, training=True)))
    gradients = tape.gradient(loss, made.body.trainable_variables)
    kernels = [np.abs(each).max() for each in gradients if each.shape.rank == 4]
    assert min(kernels) > 0


def test_loss_of_copying_is_1_and_of_the_middle_frame_0():
    before, middle, after = np.random.default_rng(4).integers(0, 256, (3, 2, 8, 8, 3), np.uint8)
    mean = mean_of(tf.stack([before, after], 1))
    answer = tf.concat([middle, mean], -1)
    assert float(FrameError()(answer, mean.numpy() / 127.5 - 1)) == pytest.approx(1, abs=1e-3)
    assert float(FrameError()(answer, middle / 127.5 - 1)) == pytest.approx(0, abs=1e-6)


def test_settings_and_picture():
    assert str(FrameFilling(gap=0.2)) == "frame_filling(gap=0.2)"
    with pytest.raises(UserError, match="gap=0 is given, expected"):
        FrameFilling(gap=0)
    with pytest.raises(UserError, match="least_change=1 is given, expected"):
        FrameFilling(least_change=1)
    puzzle, answer, _ = FrameFilling().puzzles(batch([record(numbered(30))] * 2), SEED)
    drawn = FrameFilling().picture(puzzle.numpy(), answer.numpy(), np.zeros([2, SIZE, SIZE, 3], np.float32))
    assert len(drawn.axes) == 2 * 7


@pytest.mark.slow
def test_it_learns_more_than_copying(tmp_path):
    """On clips never seen, where the mean of both neighbours is 0 dB: 0.99 and 1.05 were seen, with seeds 0 and 1."""
    settings = {"trunk": "resnet10(width=8)", "size": 32, "batch_size": 16, "epochs": 1, "steps_per_epoch": 80}
    settings |= {"learning_rate": 0.2, "report": False, "verbose": 0}
    run = tfssl.pretrain("toy:clips(count=160, size=48)", "frame_filling", out=tmp_path / "run", **settings)
    scores = tfssl.pretext(run, "toy:clips(count=80, size=48, seed=1)", draws=1).tasks["frame_filling"].metrics
    assert scores["gain"] > 0.5, scores
