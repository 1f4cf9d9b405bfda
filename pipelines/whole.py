"""Whole pictures at their own size, one at a time: for commands that hand pictures back, not for training."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.pipelines import decoding, headers

_NEVER_SHRUNK = 2**29


def decode(data: bytes) -> np.ndarray:
    """One encoded picture (JPEG, PNG, GIF, BMP, WebP; the first frame of a film) as it is meant to be seen.

    Turned upright by its EXIF orientation, colours over white where it is transparent: the pixels that `pixels` crops.

    Args:
      data: the bytes of a file.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: no picture, a broken or an enormous one. The message goes on from the file's name: "is no picture".
    """
    kind, height, width, orientation, problem = _header_reader()(data).numpy()
    if problem:
        raise ValueError(headers.PROBLEMS[problem])
    try:
        stored = _decoder()(data, kind, [0, 0, height, width]).numpy()
    except tf.errors.OpError as error:
        raise ValueError("cannot be decoded to its end") from error
    return upright(stored, int(orientation))


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """A picture [h, w, ...] as stored -> as its EXIF orientation, 1 to 8, says that it is meant to be seen."""
    turned = stored.swapaxes(0, 1) if orientation >= 5 else stored
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return np.ascontiguousarray(turned)


@functools.cache
def _header_reader() -> Callable[..., tf.Tensor]:
    def read(data: tf.Tensor) -> tf.Tensor:
        return tf.stack(headers.read_header(data))

    return tf.function(read, input_signature=[tf.TensorSpec([], tf.string)])


@functools.cache
def _decoder() -> Callable[..., tf.Tensor]:
    def read(data: tf.Tensor, kind: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        # The accurate transform, as in `decoding`: the pixels that Pillow gives too.
        return tf.cond(
            kind == headers.JPEG,
            lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
            lambda: decoding._decode_other(data, kind, window, _NEVER_SHRUNK),
        )

    specs = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32), tf.TensorSpec([4], tf.int32)]
    return tf.function(read, input_signature=specs)
