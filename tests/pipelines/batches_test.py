import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.multitask.puzzle_stream import puzzles, stream, task_seed
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks.rotation import Rotation


@pytest.fixture(scope="module")
def source():
    return open_source("toy:images(count=30, size=32)")


def take(dataset, count):
    return [tf.nest.map_structure(lambda x: x.numpy(), element) for element in itertools.islice(dataset, count)]


@pytest.mark.smoke
def test_an_epoch_is_a_permutation_and_epochs_differ():
    seen = np.concatenate([batches.order(103, 10, 5, tf.constant(step)).numpy() for step in range(31)])
    epochs = seen[: 3 * 103].reshape(3, 103)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(103))
    assert (epochs[0] != epochs[1]).mean() > 0.9
    assert (epochs[1] != epochs[2]).mean() > 0.9
    other = np.concatenate([batches.order(103, 10, 6, tf.constant(step)).numpy() for step in range(11)])
    assert (other[:103] != epochs[0]).mean() > 0.9


def test_the_order_is_that_of_index_shuffle():
    order = batches.order(50, 50, 7, tf.constant(2)).numpy()
    expected = [tf.random.experimental.index_shuffle(i, seed=[7, 2], max_index=49).numpy() for i in range(50)]
    np.testing.assert_array_equal(order, expected)


def test_a_stream_starts_anywhere(source):
    whole = take(puzzles(source, "rotation", 32, 8, seed=1), 6)
    late = take(puzzles(source, "rotation", 32, 8, seed=1, start=4), 2)
    for one, other in zip(whole[4:], late, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(whole[0][0]["rotation"], whole[1][0]["rotation"])


def test_parallelism_does_not_matter(source):
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    dataset = puzzles(source, "rotation", 24, 8, seed=1)
    for one, other in zip(take(dataset, 3), take(dataset.with_options(options), 3), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_shapes_are_static(source):
    inputs, answers, weights = puzzles(source, "rotation", 32, 8).element_spec
    assert inputs["rotation"] == tf.TensorSpec([32, 32, 32, 3], tf.uint8)
    assert answers["rotation"] == tf.TensorSpec([32], tf.int32)
    assert weights["rotation"] == tf.TensorSpec([32], tf.float32)


def test_seeds_of_tasks_differ_by_name():
    seed = tf.constant([3, 4])
    assert (task_seed(seed, "rotation").numpy() != task_seed(seed, "jigsaw").numpy()).any()


@pytest.mark.parametrize("batch_size", [0, 31])
def test_batch_larger_than_the_data(source, batch_size):
    with pytest.raises(UserError, match=rf"--batch-size {batch_size} is given, but .* has 30 pictures"):
        puzzles(source, "rotation", 32, batch_size)


@pytest.fixture
def partly_broken(tmp_path):
    """Ten grey pictures of their own brightness each; the header of one promises more than its body holds."""
    for number in range(10):
        path = tmp_path / f"{number}.jpg"
        Image.new("RGB", (32, 32), (20 * number + 10,) * 3).save(path, quality=95)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "3.jpg", quality=95)
    data = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(data[: len(data) // 2])
    return open_source(tmp_path)


def test_a_picture_that_breaks_while_decoding_is_noted_and_replaced(partly_broken):
    assert partly_broken.count == 10
    broken = batches.BrokenPictures(partly_broken)
    assert broken.names() == {}
    dataset = batches.training(partly_broken, 32, 5, seed=0, broken=broken)
    levels = np.concatenate([batch["image"][:, 16, 16, 0] for batch in take(dataset, 2)])
    # Nine pictures as they are, and in place of the tenth a copy of one of its batch: not black.
    allowed = {20 * number + 10 for number in range(10) if number != 3}
    assert {min(allowed, key=lambda level: abs(level - int(seen))) for seen in levels} == allowed
    assert min(abs(int(seen) - level) for seen in levels for level in allowed) <= 2
    (name,) = broken.names()
    assert name.endswith("3.jpg")
    assert broken.numbers() == [3]
    of_later = batches.BrokenPictures(partly_broken)
    of_later.mark(tf.constant([5, 6], tf.int64), tf.constant([True, False]))
    of_later.restore(broken.numbers())
    assert of_later.numbers() == [3, 6]


def test_plain_leaves_broken_rows_black(partly_broken):
    found = take(batches.plain(partly_broken, 16, 4), 3)
    assert [len(batch["valid"]) for batch in found] == [4, 4, 2]
    valid = np.concatenate([batch["valid"] for batch in found])
    np.testing.assert_array_equal(valid, np.arange(10) != 3)
    images = np.concatenate([batch["image"] for batch in found])
    assert images.shape == (10, 16, 16, 3)
    np.testing.assert_allclose(images.mean((1, 2, 3)), np.where(valid, 20 * np.arange(10) + 10, 0), atol=2)


def test_a_task_that_reads_sound_needs_sound(source):
    class Hearing(Rotation):
        name = "hearing"
        reads = ("sound",)

    with pytest.raises(UserError, match="reads sound"):
        stream(source, [Hearing()], 32, 4, 0)
