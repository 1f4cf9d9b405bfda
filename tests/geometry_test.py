import numpy as np
import pytest
import tensorflow as tf

from tfssl.pipelines import geometry


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)


def test_pack_and_unpack(images):
    packed = geometry.pack(tf.constant(images))
    assert (packed.shape, packed.dtype) == ((3, 6, 6), tf.int32)
    np.testing.assert_array_equal(geometry.unpack(packed), images)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_quarter_turns_turn_as_numpy_does(images, mode):
    turns = (0, 1, 2, 3)
    gather = geometry.gather if mode == "eager" else tf.function(geometry.gather)
    turned = gather(tf.constant(images), geometry.quarter_turns(6, turns))
    for row, image in enumerate(images):
        for place, turn in enumerate(turns):
            np.testing.assert_array_equal(turned[row, place], np.rot90(image, turn))


def test_maps_compose(images):
    twice = geometry.identity_map(6)[:, ::-1].ravel()[geometry.quarter_turns(6, (1,))[0]]
    expected = np.rot90(images[0][:, ::-1])
    np.testing.assert_array_equal(geometry.gather(tf.constant(images), twice)[0], expected)


def test_flip_some_mirrors_about_half():
    images = np.random.default_rng(1).integers(0, 256, (400, 4, 4, 3), dtype=np.uint8)
    flipped = geometry.flip_some(tf.constant(images), tf.constant([3, 4])).numpy()
    same = (flipped == images).all((1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250  # 5 standard deviations of a fair coin
