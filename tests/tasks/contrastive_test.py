"""Contrastive: its puzzles, its head, and that it learns; see agreement_test for the loss and views_test for views."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.base.keras_state import plain_keras
from tfssl.models.trunks import make_trunk
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_task

SEED = tf.constant([1, 2])
TOY = "toy:images(count=512, size=32)"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def test_two_views_side_by_side_that_differ(images):
    puzzle, answer, weight = parse_task("contrastive").puzzles({"image": tf.constant(images)}, SEED)
    assert (puzzle.shape, puzzle.dtype) == ((8, 32, 32, 3), tf.uint8)
    np.testing.assert_array_equal(answer, [1, -1] * 4)
    np.testing.assert_array_equal(weight, np.ones(8))
    pairs = puzzle.numpy().astype(int).reshape(4, 2, 32, 32, 3)
    assert (np.abs(pairs[:, 0] - pairs[:, 1]).mean((1, 2, 3)) > 5).all()


def test_without_augmentations_both_views_are_the_picture(images):
    task = parse_task("contrastive(area=1.0, strength=0.0, grey=0.0)")
    puzzle = task.puzzles({"image": tf.constant(images)}, SEED)[0].numpy().reshape(4, 2, 32, 32, 3)
    for views, image in zip(puzzle, images, strict=True):
        assert all((view == image).all() or (view == image[:, ::-1]).all() for view in views)


def test_a_picture_that_is_there_twice_counts_once(images):
    batch = {"image": tf.constant(images), "index": tf.constant([5, 9, 5, 2], tf.int64)}
    _, answer, weight = parse_task("contrastive").puzzles(batch, SEED)
    np.testing.assert_array_equal(answer, [1, -1, 1, -1, 0, 0, 1, -1])
    np.testing.assert_array_equal(weight, [1, 1, 1, 1, 0, 0, 1, 1])


def test_the_stream_says_which_pictures_stand_in_for_broken_ones(images, tmp_path):
    for number, image in enumerate(np.tile(images, (3, 1, 1, 1))):
        data = tf.io.encode_png(image).numpy()
        (tmp_path / f"{number:02}.png").write_bytes(data[: len(data) // 2] if number in (2, 7) else data)
    source = open_source(tmp_path, 0.5)
    assert source.count == 12
    (_, answers, weights) = next(iter(puzzle_stream.stream(source, [parse_task("contrastive")], 32, 12, 0, verbose=0)))
    order = batches.order(12, 12, 0, tf.constant(0)).numpy()
    assert (weights["contrastive"].numpy().reshape(12, 2) == 0).all(1).sum() == 2
    np.testing.assert_array_equal(answers["contrastive"].numpy() != 0, weights["contrastive"].numpy() > 0)
    # A stand-in comes later than the picture that it shows, so it need not be the place of the broken one.
    assert set(order) == set(range(12))


def test_the_head_is_all_that_is_added(images):
    task = parse_task("contrastive(projection=7, hidden=11, layers=3)")
    trunk = make_trunk("plain(width=4)", 32)
    model = make_model([task], {"image": trunk}, puzzle_stream.stream_spec([task], 32, 4))
    puzzle, _, _ = task.puzzles({"image": tf.constant(images)}, SEED)
    embeddings = model({"contrastive": puzzle})["contrastive"]
    assert (embeddings.shape, embeddings.dtype) == ((8, 7), tf.float32)
    added = {v.path.split("/")[0]: v.shape for v in model.trainable_variables if v.path.startswith("contrastive")}
    kernels = [v.shape for v in model.trainable_variables if v.path.startswith("contrastive") and len(v.shape) == 2]
    assert kernels == [(32, 11), (11, 11), (11, 7)]
    assert set(added) == {
        "contrastive_1", "contrastive_1_norm", "contrastive_2", "contrastive_2_norm", "contrastive_projection",
    }  # fmt: skip


def test_one_picture_has_nothing_to_be_told_from(tmp_path):
    """It would train nothing, and say nothing."""
    for text, batch_size in (("contrastive", 1), ("contrastive(batch=1)", 8)):
        with pytest.raises(UserError, match=r"compares the pictures of a step .* 2 or more"):
            tfssl.puzzles(TOY, text, 32, batch_size, verbose=0)
        with pytest.raises(UserError, match=r"compares the pictures of a step .* 2 or more"):
            tfssl.pretrain(TOY, text, size=32, batch_size=batch_size, out=tmp_path / "run", verbose=0)
    # To be looked at it is enough.
    assert set(tfssl.show(TOY, "contrastive", tmp_path / "pair.png", size=32, count=1).files) == {"contrastive"}


def test_chance_is_one_of_the_others():
    assert parse_task("contrastive").chance_accuracy(64) == 1 / 127
    assert parse_task("contrastive(batch=8)").chance_accuracy(64) == 1 / 15


def test_the_embedding_is_float32_under_mixed_precision():
    with plain_keras("mixed_bfloat16"):
        task = parse_task("contrastive")
        spec = puzzle_stream.stream_spec([task], 32, 4)
        model = make_model([task], {"image": make_trunk("plain(width=4)", 32)}, spec)
        assert model.output["contrastive"].dtype == "float32"
        assert model.get_layer("contrastive_projection").compute_dtype == "float32"
        assert model.get_layer("contrastive_1").compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("contrastive(temperature=0.0)", "expected more than 0"),
        ("contrastive(layers=4)", "expected 1 to 3"),
        ("contrastive(projection=0)", "expected at least 1"),
        ("contrastive(hidden=-1)", "or 0 for the trunk's"),
        ("contrastive(area=0.0)", "more than 0, up to 1"),
        ("contrastive(strength=3.0)", "expected 0 to 2"),
        ("contrastive(grey=1.5)", "grey=1.5 is given, expected a probability"),
    ],
)
def test_wrong_settings(text, says):
    with pytest.raises(UserError, match=says):
        parse_task(text)


def test_pictures_say_who_is_nearest(images):
    task = parse_task("contrastive")
    puzzle, answer, _ = (np.asarray(part) for part in task.puzzles({"image": tf.constant(images)}, SEED))
    embeddings = np.eye(4).repeat(2, 0)
    embeddings[1] = [0.6, 0.8, 0, 0]
    figure = task.picture(puzzle, answer, embeddings, count=3)
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == [
        "0.60, nearest",
        "1.00, nearest",
        "1.00, nearest",
    ]
    embeddings[2] = [1, 0, 0, 0]
    assert task.picture(puzzle, answer, embeddings).axes[0].get_title(loc="left") == "0.60, another 1.00"
    assert len(task.picture(puzzle, answer, count=2).axes) == 4


def learned(text, steps=60, rate=0.05):
    """Means of loss and accuracy over the first ten and the last ten of some steps of 64 toy pictures."""
    task = parse_task(text)
    keras.utils.set_random_seed(0)
    dataset = puzzle_stream.stream(open_source(TOY), [task], 32, 64, seed=0, verbose=0)
    encoders = {"image": make_trunk("plain(width=4)", 32)}
    model = make_model([task], encoders, dataset.element_spec)
    compile_model(model, [task], encoders, make_optimizer(0.9, 5e-4))
    model.optimizer.learning_rate = rate
    logs = []
    for batch in dataset.take(steps):
        model.reset_metrics()
        logs.append(model.train_on_batch(*batch, return_dict=True))
    found = np.array([[log["loss"], log[f"{task.name}_accuracy"]] for log in logs], float)
    return found[:10].mean(0), found[-10:].mean(0)


@pytest.mark.slow
def test_it_learns():
    (loss, accuracy), (later_loss, later_accuracy) = learned("contrastive")
    chance = parse_task("contrastive").chance_accuracy(64)
    assert later_loss < loss - 0.2
    assert later_accuracy > max(2 * accuracy, 10 * chance)
