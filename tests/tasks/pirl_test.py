"""PIRL: turned and cut up pictures against a search for them in their source, the head's sides, and that it learns."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.tasks.contrastive_test import learned
from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import make_model
from tfssl.pipelines.ops import tiles
from tfssl.tasks import parse_task

SEED = tf.constant([1, 2])
PLAIN = "area=1.0, strength=0.0, grey=0.0, blur=0.0"
MANY = 400


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (MANY, 32, 32, 3), dtype=np.uint8)


def test_one_side_is_turned_by_each_angle_alike(images):
    puzzle, answer, _ = parse_task(f"pirl({PLAIN})").puzzles({"image": tf.constant(images)}, SEED)
    np.testing.assert_array_equal(answer, [1, -1] * MANY)
    counts = np.zeros((2, 2, 4))  # first side mirrored, second side mirrored, turns
    for plain, turned, image in zip(puzzle[::2].numpy(), puzzle[1::2].numpy(), images, strict=True):
        both = image, image[:, ::-1]
        first = [np.array_equal(plain, one) for one in both]
        second = [[np.array_equal(turned, np.rot90(one, turn)) for turn in range(4)] for one in both]
        counts += np.array(first)[:, None, None] * np.array(second)[None]
    assert counts.sum() == MANY  # exactly one of all for each
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_tiles_are_those_of_the_other_view_in_any_order(images):
    task = parse_task(f"pirl(of='jigsaw', grid=2, {PLAIN})")
    puzzle, _, _ = task.puzzles({"image": tf.constant(images)}, SEED)
    size, cell, tile = 32, tiles.cell_size(32, 2), tiles.tile_size(32, 2)
    assert puzzle["tiles"].shape == (MANY, 4, tile, tile, 3)
    orders, mirrored = [], []
    for plain, cut, image in zip(puzzle["picture"].numpy(), puzzle["tiles"].numpy(), images, strict=True):
        found = []
        for flip, whole in enumerate((image, image[:, ::-1])):
            if np.array_equal(plain, whole):
                mirrored.append(flip)
            corners = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (tile, tile))
            places = [np.argwhere((corners == one[..., 0]).all((2, 3))) for one in cut]
            if all(len(place) == 1 for place in places):
                found.append([int(y) // cell * 2 + int(x) // cell for ((y, x),) in places])
        assert len(found) == 1, "all of one picture or of its mirror image"
        assert sorted(found[0]) == [0, 1, 2, 3]
        orders.append(found[0])
    assert len(mirrored) == MANY
    assert size == 2 * cell
    numbers = np.unique(orders, axis=0, return_inverse=True)[1].ravel()
    assert stats.chisquare(np.bincount(numbers, minlength=24)).pvalue > 1e-3


@pytest.mark.parametrize("of", ["rotation", "jigsaw"])
def test_rows_of_the_head_are_picture_and_changed_side_by_side(images, of):
    task = parse_task(f"pirl(of='{of}', grid=2, projection=6, layers=2, hidden=5)")
    puzzle, _, _ = task.puzzles({"image": tf.constant(images[:3])}, SEED)
    model = make_model([task], {"image": make_trunk("resnet10(width=4)", 32)}, puzzle_stream.stream_spec([task], 32, 3))
    before = model({"pirl": puzzle})["pirl"].numpy()
    assert (before.shape, before.dtype) == ((6, 6), np.float32)
    if of == "rotation":
        changed = tf.concat([puzzle[:3], 255 - puzzle[3:4], puzzle[4:]], 0)
        picture = tf.concat([puzzle[:4], 255 - puzzle[4:5], puzzle[5:]], 0)
    else:
        tile, plain = puzzle["tiles"], puzzle["picture"]
        changed = puzzle | {"tiles": tf.concat([tile[:1], tf.reverse(tile[1:2], [2]), tile[2:]], 0)}
        picture = puzzle | {"picture": tf.concat([plain[:2], 255 - plain[2:]], 0)}
    for given, row in ((changed, 3), (picture, 4)):
        moved = np.abs(model({"pirl": given})["pirl"].numpy() - before).max(1) > 1e-4
        np.testing.assert_array_equal(np.flatnonzero(moved), [row])


def test_heads_of_both_sides_are_their_own(images):
    """As the paper's f and g: linear; of a jigsaw one layer for each tile, and one for all of them."""
    for of, wanted in {
        "rotation": [(32, 128), (32, 128)],
        "jigsaw": [(32, 128), (32, 128), (9 * 128, 128)],
    }.items():
        task = parse_task(f"pirl(of='{of}')")
        spec = puzzle_stream.stream_spec([task], 48, 2)
        model = make_model([task], {"image": make_trunk("resnet10(width=4)", 48)}, spec)
        shapes = [tuple(v.shape) for v in model.trainable_variables if v.path.startswith("pirl")]
        assert sorted(shapes) == sorted(wanted)


def test_sides_and_advice(images):
    task = parse_task(f"pirl(of='jigsaw', {PLAIN})")
    puzzle, _, _ = task.puzzles({"image": tf.constant(images[:4])}, SEED)
    plain, cut = task.sides(puzzle)
    assert plain.shape == cut.shape == (4, 32, 32, 3)
    assert {tuple(pixel) for pixel in cut[0].reshape(-1, 3)} <= {tuple(p) for p in images[0].reshape(-1, 3)}
    assert "tiles are 8 px at --size 32" in task.advice(32)[0]
    assert parse_task("pirl").advice(32) == []
    assert len(task.picture(puzzle, np.array([1, -1] * 4), count=3).axes) == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pirl(of='colour')", "expected one of rotation, jigsaw"),
        ("pirl(grid=4)", "expected 2 or 3"),
        ("pirl(temperature=-1.0)", "expected more than 0"),
        ("pirl(layers=9)", "expected 1 to 3"),
    ],
)
def test_wrong_settings(text, says):
    with pytest.raises(UserError, match=says):
        parse_task(text)


def test_chance_is_one_of_the_other_side():
    assert parse_task("pirl").chance_accuracy(64) == 1 / 64


@pytest.mark.slow
@pytest.mark.parametrize("of", ["rotation", "jigsaw"])
def test_it_learns(of):
    text = f"pirl(of='{of}', grid=2)"
    (loss, accuracy), (later_loss, later_accuracy) = learned(text)
    assert later_loss < loss - 0.2
    assert later_accuracy > max(1.3 * accuracy, 2.5 * parse_task(text).chance_accuracy(64))
