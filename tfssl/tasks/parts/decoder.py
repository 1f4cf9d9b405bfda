"""Decoders: from the trunk's map to one as fine as a head asks for. Layers' names begin with the task's name."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks import Trunk

STRIDE_SIZE = 256
"""Pixels of a side at which the stride of a trunk is measured that takes pictures of any size."""


def stride(trunk: Trunk) -> float:
    """Return the pixels of a place of the trunk's map.

    They do not come from the picture at hand, or the head would change with its size.
    """
    size = trunk.body.inputs[0].shape[1] or STRIDE_SIZE
    return size / trunk.body.compute_output_shape((1, size, size, 3))[1]


def doublings(trunk: Trunk, wanted: int) -> int:
    """Say how often the trunk's map must be doubled until a place of it has about `wanted` pixels (a power of two)."""
    return max(0, round(math.log2(stride(trunk))) - round(math.log2(wanted)))


def double(inputs: Any, filters: int, task: str, level: int) -> Any:
    """Double [N, h, w, C] to [N, 2 h, 2 w, filters]: nearest neighbours, then a 3 x 3 convolution."""
    x = keras.layers.UpSampling2D(name=f"{task}_double{level}")(inputs)
    return activated_convolution(x, filters, 3, f"{task}_{level}")


def activated_convolution(inputs: Any, filters: int, kernel: int, name: str, stride: int = 1) -> Any:
    """Apply `normed_convolution`, then ReLU."""
    x = normed_convolution(inputs, filters, kernel, name, stride)
    return keras.layers.ReLU(name=f"{name}_activation")(x)


def normed_convolution(inputs: Any, filters: int, kernel: int, name: str, stride: int = 1) -> Any:
    """Apply a convolution without bias, then batch norm with statistics over all replicas."""
    x = keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_convolution")(inputs)
    return BatchNormalization(name=f"{name}_norm")(x)


@keras.saving.register_keras_serializable("tfssl")
class ResizedLike(keras.layers.Layer):
    """Maps [N, h, w, C], resized bilinearly to the sides of other maps [N, H, W, c], or to a part of them, rounded up.

    Args:
      shrink: what the sides H and W are divided by.
    """

    def __init__(self, shrink: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.shrink = shrink

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        maps, others = inputs
        sides = others.shape[1:3]
        if None in sides:
            sides = tf.unstack(tf.shape(others)[1:3])
        # Of a map that has this size already nothing is changed.
        return tf.cast(tf.image.resize(maps, [-(-side // self.shrink) for side in sides]), self.compute_dtype)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        maps, others = input_shape
        height, width = (side and -(-side // self.shrink) for side in others[1:3])
        return (maps[0], height, width, maps[3])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"shrink": self.shrink}
