"""The head of colorization: from lightness through the trunk to a map at a quarter of the size."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfssl.pipelines import colour
from tfssl.trunks import Trunk

CHANNELS = 128
STRIDE_SIZE = 256


def seen(lightness: Any) -> Any:
    """Lightness uint8 [N, H, W, 1] -> what the trunk's body gets: float32 [N, H, W, 3], about standardised."""
    # Lightness of photos has a mean of about 50 and a deviation of 25, of 100.
    standardised = keras.layers.Rescaling(4 / 255, -2.0, dtype="float32", name="colorization_standardised")(lightness)
    return keras.layers.Concatenate(dtype="float32", name="colorization_channels")([standardised] * 3)


def upsampled(features: Any, lightness: Any, trunk: Trunk) -> Any:
    """The trunk's map -> at most 128 channels at a quarter of the size of the picture: [N, H / 4, W / 4, C].

    Doubled (nearest neighbours, then a convolution) as often as the trunk's stride asks for, then resized where the
    trunk's padding leaves it a little larger or smaller.
    """
    channels = min(CHANNELS, features.shape[-1])
    x = activated_convolution(features, channels, "colorization_first")
    for level in range(1, max(0, round(math.log2(_stride(trunk) / colour.SHRINK))) + 1):
        x = keras.layers.UpSampling2D(name=f"colorization_double{level}")(x)
        x = activated_convolution(x, channels, f"colorization_{level}")
    return QuarterSize(name="colorization_quarter")([x, lightness])


def activated_convolution(inputs: Any, filters: int, name: str, stride: int = 1) -> Any:
    """3 x 3, batch norm with statistics over all replicas, ReLU."""
    x = keras.layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=f"{name}_convolution")(inputs)
    x = keras.layers.BatchNormalization(synchronized=True, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_activation")(x)


def _stride(trunk: Trunk) -> float:
    """Pixels of a place of the trunk's map. Not from the picture at hand, or the head would change with its size."""
    size = trunk.body.inputs[0].shape[1] or STRIDE_SIZE
    return size / trunk.body.compute_output_shape((1, size, size, 3))[1]


@keras.saving.register_keras_serializable("tfssl")
class QuarterSize(keras.layers.Layer):
    """Maps [N, h, w, C], resized bilinearly to a quarter, rounded up, of the sides of pictures [N, H, W, c]."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        maps, pictures = inputs
        height, width = pictures.shape[1:3]
        if height is None or width is None:
            height, width = tf.unstack(tf.shape(pictures)[1:3])
        # Of a map that has this size already nothing is changed.
        resized = tf.image.resize(maps, (colour.quarter(height), colour.quarter(width)))
        return tf.cast(resized, self.compute_dtype)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        maps, pictures = input_shape
        height, width = (side and colour.quarter(side) for side in pictures[1:3])
        return (maps[0], height, width, maps[3])
