"""Pictures as one uint32 a pixel: the form in which boxes are cut out, resized, coloured and blurred at speed.

Red is the lowest byte, then green and blue; the highest is 0. Loops over such pixels, compiled by XLA once for each
shape, run along memory, where those over uint8 [..., 3] step over three bytes: packing 64 pictures of 224 px takes a
tenth of the time of `geometry.pack`, whose int32 is for gathers.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function by XLA, once for each shape of its tensors and for each of its other arguments.

    Called as concrete functions: TensorFlow warns of retracing where a process has pictures of several sizes.
    """
    traced = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*given: Any) -> Any:
        # Numbers are part of what is compiled.
        given = tuple(each if isinstance(each, int | float) else tf.convert_to_tensor(each) for each in given)
        return traced.get_concrete_function(*given)(*(each for each in given if isinstance(each, tf.Tensor)))

    return call


@compiled
def pack(images: tf.Tensor) -> tf.Tensor:
    """Pack uint8 [..., 3] as uint32 [...]."""
    return join([tf.cast(channel, tf.uint32) for channel in tf.unstack(images, axis=-1)])


@compiled
def unpack(pixels: tf.Tensor) -> tf.Tensor:
    """Unpack uint32 [...] to uint8 [..., 3]: invert `pack`."""
    return tf.stack([tf.cast(_byte(pixels, place), tf.uint8) for place in range(3)], -1)


def levels(pixels: tf.Tensor) -> list[tf.Tensor]:
    """Return red, green and blue of packed pixels: float32 [...] each, 0 to 255."""
    # By int32, which XLA turns into floats in one instruction.
    return [tf.cast(tf.bitcast(_byte(pixels, place), tf.int32), tf.float32) for place in range(3)]


def of_levels(channels: list[tf.Tensor]) -> tf.Tensor:
    """Pack red, green and blue, float32 [...] each, 0 to 255, rounded: uint32 [...]."""
    return join([tf.bitcast(tf.cast(tf.round(channel), tf.int32), tf.uint32) for channel in channels])


def join(channels: list[tf.Tensor]) -> tf.Tensor:
    """Pack red, green and blue, uint32 [...] each, 0 to 255."""
    return tf.add_n([channel * tf.constant(1 << 8 * place, tf.uint32) for place, channel in enumerate(channels)])


def _byte(pixels: tf.Tensor, place: int) -> tf.Tensor:
    return tf.bitwise.right_shift(pixels, tf.constant(8 * place, tf.uint32)) & tf.constant(0xFF, tf.uint32)
