import numpy as np
import pytest
import tensorflow as tf

from tfssl.pipelines.ops import lab as colour

MATRIX = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])


def reference(rgb):
    """Lab of uint8 [..., 3] in float64, as the standards say it and without the code under test."""
    level = rgb / 255
    linear = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    xyz = linear @ MATRIX.T / [0.95047, 1.0, 1.08883]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.fixture(scope="module")
def images():
    """Noise, all greys, the dark colours where Lab is a straight line, and flat colours."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (16, 16, 3))
    greys = np.arange(256).reshape(16, 16, 1).repeat(3, 2)
    dark = rng.integers(0, 24, (16, 16, 3))
    flat = np.broadcast_to(rng.integers(0, 256, (4, 4, 3)).repeat(4, 0).repeat(4, 1), (16, 16, 3))
    return np.stack([noise, greys, dark, flat]).astype(np.uint8)


@pytest.mark.smoke
def test_agrees_with_scikit_image():
    rgb = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], np.uint8)
    theirs = [[53.2406, 80.0923, 67.2028], [87.7351, -86.1830, 83.1797], [32.2957, 79.1856, -107.8573]]
    theirs += [[100, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(colour.rgb_to_lab(tf.constant(rgb)), theirs, atol=0.01)


def test_lab_is_the_standards(images):
    for function in (colour.rgb_to_lab, tf.function(colour.rgb_to_lab)):
        np.testing.assert_allclose(function(tf.constant(images)), reference(images), atol=1e-3)
    np.testing.assert_allclose(colour.rgb_to_lab(images.astype(np.float32)), reference(images), atol=1e-3)


def test_tensorflow_io_gives_the_same(images):
    """It would do too, but for its speed; and it does not load beside every version of TensorFlow."""
    tfio = pytest.importorskip("tensorflow_io", exc_type=ImportError)
    theirs = tfio.experimental.color.rgb_to_lab(images / 255)
    np.testing.assert_allclose(colour.rgb_to_lab(images), theirs, atol=0.02)


def test_there_and_back_is_the_same_picture(images):
    for function in (colour.lab_to_rgb, tf.function(colour.lab_to_rgb)):
        np.testing.assert_array_equal(function(colour.rgb_to_lab(images)), images)


def test_what_cannot_be_shown_becomes_greyer_and_keeps_lightness_and_hue():
    lab = np.stack(np.meshgrid([5.0, 30, 60, 95], [-100.0, -40, 0, 70], [-110.0, 0, 100], indexing="ij"), -1)
    shown = reference(colour.lab_to_rgb(lab.astype(np.float32)).numpy())
    np.testing.assert_allclose(shown[..., 0], lab[..., 0], atol=0.6)
    before, after = np.hypot(lab[..., 1], lab[..., 2]), np.hypot(shown[..., 1], shown[..., 2])
    assert (after <= before + 1).all()
    assert (after < before - 20).any()
    turned = np.angle((shown[..., 1] + 1j * shown[..., 2]) / (lab[..., 1] + 1j * lab[..., 2] + 1e-9))
    assert np.abs(turned[after > 10]).max() < 0.1


def test_lightness_of_a_batch(images):
    exact = reference(images)[..., 0]
    for function in (colour.lightness, tf.function(colour.lightness)):
        found = function(tf.constant(images)).numpy()
        assert found.dtype == np.uint8
        assert found.shape == (4, 16, 16, 1)
        assert np.abs(found[..., 0] / 2.55 - exact).max() < 0.25
    assert found[1, 0, 0, 0] == 0
    assert found[1, -1, -1, 0] == 255


@pytest.mark.parametrize("size", [16, 13, 14, 15])
def test_colours_at_a_quarter_of_the_size(images, size):
    images = images[:, :size, :size]
    found = colour.quarter_ab(tf.constant(images)).numpy()
    side = -(-size // 4)
    assert found.dtype == np.int8
    assert found.shape == (4, side, side, 2)
    fill = [(0, 0), (0, 4 * side - size), (0, 4 * side - size), (0, 0)]
    mean = np.pad(images, fill, mode="symmetric").reshape(4, side, 4, side, 4, 3).mean((2, 4))
    np.testing.assert_allclose(found, reference(mean)[..., 1:], atol=0.51)


def test_in_a_dataset_it_is_the_same(images):
    batch = tf.data.Dataset.from_tensors(images).map(lambda x: (colour.lightness(x), colour.quarter_ab(x)))
    for found, eager in zip(next(iter(batch)), (colour.lightness(images), colour.quarter_ab(images)), strict=True):
        np.testing.assert_array_equal(found, eager)


def test_bins_are_the_corners_of_cells_that_colours_lie_in():
    bins = colour.gamut_bins()
    assert bins.shape == (313, 2)
    published = {tuple(point) for point in bins.astype(int)}
    # Seen along L, what lies inside the cube of colours lies inside of what its faces cover.
    levels = np.arange(256)
    first, second = (side.reshape(-1) for side in np.meshgrid(levels, levels))
    faces = [np.insert(np.stack([first, second], 1), axis, end, 1) for axis in range(3) for end in (0, 255)]
    ab = reference(np.concatenate(faces))[:, 1:]
    cells = np.unique(np.floor(ab / 10).astype(int), axis=0) * 10
    corners = {(a + right, b + up) for a, b in cells for right in (0, 10) for up in (0, 10)}
    assert len(corners) == 309
    assert published - corners == {(40, 90), (100, -90), (100, -10), (100, 0)}
    assert corners <= published
    distance = np.sqrt(((ab[::7, None] - bins) ** 2).sum(-1).min(1))
    assert distance.max() <= 10 / np.sqrt(2)
