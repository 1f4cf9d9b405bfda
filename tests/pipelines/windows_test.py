import numpy as np
import pytest
import tensorflow as tf

from tfssl.pipelines.ops import windows
from tfssl.pipelines.ops.windows import Box


def mask(shape, *boxes):
    hidden = np.zeros(shape, bool)
    for top, left, height, width in boxes:
        hidden[top : top + height, left : left + width] = True
    return hidden


def test_bounds():
    assert windows.bounds(mask((20, 30), (3, 5, 1, 1), (10, 2, 4, 6))) == Box(3, 2, 11, 6)
    with pytest.raises(ValueError, match="nothing is hidden"):
        windows.bounds(np.zeros((3, 3), bool))


def test_one_box_around_a_compact_hole_and_several_around_scattered_ones():
    assert list(windows.divide_hidden(mask((400, 300), (50, 60, 200, 150)), 16)) == [Box(50, 60, 200, 150)]
    scattered = mask((400, 300), (3, 5, 10, 12), (380, 280, 7, 9))
    assert list(windows.divide_hidden(scattered, 16)) == [Box(3, 5, 10, 12), Box(380, 280, 7, 9)]
    assert list(windows.divide_hidden(np.eye(10, dtype=bool), 16)) == [Box(0, 0, 10, 10)]  # small enough
    diagonal = np.eye(200, dtype=bool)
    boxes = list(windows.divide_hidden(diagonal, 16))
    assert 200 / 16 <= len(boxes) <= 32
    assert max(max(box[2:]) for box in boxes) <= 16


def test_boxes_hold_each_hidden_pixel_once():
    hidden = np.random.default_rng(0).random((90, 130)) < 0.01
    count = np.zeros(hidden.shape, int)
    for box in windows.divide_hidden(hidden, 8):
        box.of(count)[:] += box.of(hidden)
    np.testing.assert_array_equal(count, hidden)


@pytest.mark.parametrize(
    ("box", "centred", "expected"),
    [
        (Box(40, 50, 10, 20), False, (25, 40)),
        (Box(0, 95, 10, 5), False, (0, 60)),  # moved inside
        (Box(0, 95, 10, 5), True, (-15, 77)),  # past the border on purpose
    ],
)
def test_windows_around(box, centred, expected):
    assert windows.around(box, (100, 100), 40, centred) == Box(*expected, 40, 40)


def test_a_window_larger_than_the_picture_lies_about_its_middle():
    assert windows.around(Box(0, 0, 5, 5), (20, 30), 40, centred=False) == Box(-10, -5, 40, 40)


def test_seen_at_the_same_size_is_the_picture_and_its_mirror_image():
    image = np.random.default_rng(0).integers(0, 256, [12, 9, 3], dtype=np.uint8)
    hidden = mask((12, 9), (2, 3, 2, 2))
    colours, hole = windows.cut_window(image, hidden, Box(-5, -6, 21, 21), 21)
    around = ((5, 4), (6, 6))
    np.testing.assert_array_equal(hole, np.pad(hidden, around, mode="reflect"))
    np.testing.assert_array_equal(colours[~hole], np.pad(image, (*around, (0, 0)), mode="reflect")[~hole])


@pytest.mark.parametrize(("side", "size"), [(40, 16), (24, 32), (1200, 16)])
def test_seen_at_another_size_tells_nothing_of_what_is_hidden(side, size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, [side, side, 3], dtype=np.uint8)
    hidden = mask((side, side), (side // 3, side // 4, side // 3, side // 3))
    window = Box(0, 0, side, side)
    colours, hole = windows.cut_window(image, hidden, window, size)
    other, _ = windows.cut_window(np.where(hidden[..., None], 255 - image, image), hidden, window, size)
    np.testing.assert_array_equal(colours, other)
    # Where nothing near is hidden it is the picture, resized.
    whole = np.round(tf.image.resize(image, [size, size], antialias=True))
    far = tf.image.resize(hidden[..., None].astype(np.float32), [size, size], antialias=True)[..., 0].numpy() == 0
    assert far.mean() > 0.5
    np.testing.assert_allclose(colours[far], whole[far], atol=1)
    np.testing.assert_allclose(hole.mean(), hidden.mean(), atol=2 / size)
    # What is seen of a flat picture is flat up to the hole's very edge.
    flat = np.where(hidden[..., None], image, 77).astype(np.uint8)
    assert (windows.cut_window(flat, hidden, window, size)[0][~hole] == 77).all()


@pytest.mark.parametrize("side", [7, 16, 29, 64])
def test_a_part_of_what_is_resized(side):
    image = np.random.default_rng(0).random([16, 16, 3], np.float32)
    part = Box(side // 4, side // 5, side // 2, side - side // 5)
    whole = tf.image.resize(image, [side, side], antialias=True).numpy()
    np.testing.assert_allclose(windows.resized_part(image, side, part), part.of(whole), atol=1e-5)


def test_a_compact_hole_stays_whole_beside_a_scratch():
    y, x = np.mgrid[:375, :500]
    disc = np.hypot((y - 240) / 56, (x - 360) / 62) < 1
    scratch = np.abs(y - (340 - 0.85 * (x - 50))) < 5
    boxes = list(windows.divide_hidden(disc | (scratch & (x > 50) & (x < 400)), 32))
    around_disc = windows.bounds(disc)
    largest = max(boxes, key=lambda box: box.height * box.width)
    assert windows.bounds(largest.of(disc))[2:] == around_disc[2:]
    assert all(max(box[2:]) <= 32 for box in boxes if box != largest)
