import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.models.trunks import Trunk, make_pixels
from tfssl.tasks import TASKS
from tfssl.tasks.parts import decoder


def half_pixel(old, new):
    """[new, old]: linear interpolation with half-pixel centres, as weights of old places."""
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old)))


def trunk_of(stride, side=None):
    pixels = keras.Input((side, side, 3))
    return Trunk(make_pixels(), keras.Model(pixels, keras.layers.Conv2D(2, 3, stride, "same")(pixels)), ("stage1",))


@pytest.mark.parametrize(("shrink", "sides"), [(1, (9, 7)), (2, (5, 4)), (4, (3, 2))])
def test_maps_get_the_sides_of_others_or_a_part_of_them_rounded_up(shrink, sides):
    maps = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).astype("float32")
    others = tf.zeros([2, 9, 7, 3], tf.uint8)
    layer = decoder.ResizedLike(shrink=shrink)
    found = layer([maps, others])
    rows, columns = (half_pixel(old, new) for old, new in zip((3, 2), sides, strict=True))
    np.testing.assert_allclose(found, np.einsum("ih,jw,nhwc->nijc", rows, columns, maps), atol=1e-5)
    assert layer.compute_output_shape([maps.shape, others.shape]) == (2, *sides, 4)
    assert layer.compute_output_shape([(None, 3, 2, 4), (None, None, 7, 3)]) == (None, None, sides[1], 4)
    any_size = tf.function(lambda maps, others: layer([maps, others])).get_concrete_function(
        tf.TensorSpec([None, None, None, 4]), tf.TensorSpec([None, None, None, 3], tf.uint8)
    )
    np.testing.assert_array_equal(any_size(tf.constant(maps), others), found)


def test_layers_of_one_registered_name_are_one_class():
    """Old heads of inpainting knew no `shrink`."""
    assert decoder.ResizedLike.from_config({"name": "inpainting_picture", "dtype": "float32"}).shrink == 1
    names = {}
    for layer in {found for found in every_layer(keras.layers.Layer) if found.__module__.startswith("tfssl.")}:
        names.setdefault(keras.saving.get_registered_name(layer), []).append(layer)
    assert {len(layers) for layers in names.values()} == {1}, names
    assert len(TASKS) > 1  # all of their layers are imported
    assert keras.saving.get_registered_object("tfssl>ResizedLike") is decoder.ResizedLike


def every_layer(above):
    return {above}.union(*(every_layer(below) for below in above.__subclasses__()))


@pytest.mark.parametrize(
    ("stride", "side", "wanted", "times"),
    [(8, None, 4, 1), (8, 24, 2, 2), (32, None, 4, 3), (2, None, 4, 0), (1, None, 2, 0), (8, 20, 4, 1)],
)
def test_a_map_is_doubled_until_its_places_are_as_small_as_wanted(stride, side, wanted, times):
    assert decoder.doublings(trunk_of(stride, side), wanted) == times


def test_a_decoders_layers():
    maps = keras.Input((3, 5, 6))
    model = keras.Model(maps, decoder.double(decoder.activated_convolution(maps, 4, 1, "task_0"), 2, "task", 1))
    assert model.output_shape == (None, 6, 10, 2)
    assert [layer.name for layer in model.layers[1:]] == [
        *("task_0_convolution", "task_0_norm", "task_0_activation"),
        *("task_double1", "task_1_convolution", "task_1_norm", "task_1_activation"),
    ]
    assert [weights.shape for weights in model.get_weights()] == [(1, 1, 6, 4), *[(4,)] * 4, (3, 3, 4, 2), *[(2,)] * 4]
