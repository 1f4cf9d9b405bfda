import numpy as np
import pytest
import tensorflow as tf

from tfssl.pipelines.ops import geometry


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)


def test_pack_and_unpack(images):
    packed = geometry.pack(tf.constant(images))
    assert (packed.shape, packed.dtype) == ((3, 6, 6), tf.int32)
    np.testing.assert_array_equal(geometry.unpack(packed), images)


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("turns", [(0, 1, 2, 3), (0, 2), (3, 1), (2,)])
def test_quarter_turns_turn_as_numpy_does(images, mode, turns):
    function = geometry.quarter_turns if mode == "eager" else tf.function(geometry.quarter_turns)
    turned = function(tf.constant(images), turns)
    assert turned.shape == (3, len(turns), 6, 6, 3)
    for row, image in enumerate(images):
        for place, turn in enumerate(turns):
            np.testing.assert_array_equal(turned[row, place], np.rot90(image, turn))


def test_one_channel_stands_in_for_all(images):
    shown = geometry.one_channel(tf.constant(images), tf.constant([2, 0, 1])).numpy()
    for picture, image, channel in zip(shown, images, (2, 0, 1), strict=True):
        np.testing.assert_array_equal(picture, image[..., [channel] * 3])


def test_mirrored_all_and_some(images):
    oblong = images[:, :4]
    np.testing.assert_array_equal(geometry.mirror(tf.constant(oblong)), oblong[:, :, ::-1])
    found = geometry.mirror_where(tf.constant([True, False, True]), tf.constant(oblong))
    np.testing.assert_array_equal(found, [oblong[0, :, ::-1], oblong[1], oblong[2, :, ::-1]])


def test_gather_follows_a_map_of_each_picture(images):
    place = np.arange(36).reshape(6, 6)
    maps = np.stack([np.rot90(place), place[::-1], place.T])
    found = geometry.gather(tf.constant(images), maps)
    np.testing.assert_array_equal(found[0], np.rot90(images[0]))
    np.testing.assert_array_equal(found[1], images[1, ::-1])
    np.testing.assert_array_equal(found[2], images[2].transpose(1, 0, 2))


def test_maps_compose(images):
    place = np.arange(36).reshape(6, 6)
    twice = place[:, ::-1].ravel()[np.rot90(place)]
    found = geometry.gather(tf.constant(images[:1]), twice[None])
    np.testing.assert_array_equal(found[0], np.rot90(images[0][:, ::-1]))


def test_flip_some_mirrors_about_half():
    images = np.random.default_rng(1).integers(0, 256, (400, 4, 4, 3), dtype=np.uint8)
    flipped = geometry.flip_some(tf.constant(images), tf.constant([3, 4])).numpy()
    same = (flipped == images).all((1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250  # 5 standard deviations of a fair coin
