"""How pictures are meant to be seen: sizes, boxes and pixels between the picture as stored and upright (EXIF)."""

import tensorflow as tf

from tfssl.pipelines.decoding.headers import Header
from tfssl.pipelines.ops import geometry


def upright_size(header: Header) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width in pixels, int32 of the header's shape, as the picture is meant to be seen."""
    lying = header.orientation >= 5
    return tf.where(lying, header.width, header.height), tf.where(lying, header.height, header.width)


def stored_box(header: Header, box: tf.Tensor) -> tf.Tensor:
    """Convert upright boxes [N, 4] to the coordinates of the pictures as stored: undo `turn_upright`."""
    height, width = upright_size(header)
    down, right = _is_mirrored(header.orientation)
    top, left, tall, wide = tf.unstack(box, axis=1)
    top = tf.where(down, height - top - tall, top)
    left = tf.where(right, width - left - wide, left)
    lying = (header.orientation >= 5)[:, None]
    return tf.where(lying, tf.stack([left, top, wide, tall], 1), tf.stack([top, left, tall, wide], 1))


def turn_upright(images: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn pictures uint8 [N, S, S, 3] as stored upright: first transpose them (EXIF 5 to 8), then mirror them."""

    def turned() -> tf.Tensor:
        down, right = (flag[:, None, None] for flag in _is_mirrored(orientation))
        packed = geometry.pack(images)
        packed = tf.where((orientation >= 5)[:, None, None], tf.transpose(packed, [0, 2, 1]), packed)
        packed = tf.where(down, packed[:, ::-1], packed)
        return geometry.unpack(tf.where(right, packed[:, :, ::-1], packed))

    return tf.cond(tf.reduce_all(orientation == 1), lambda: images, turned)


def _is_mirrored(orientation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Say whether rows, and whether columns, come in reverse order: bool [N] each."""
    down = tf.reduce_any(orientation[:, None] == [3, 4, 7, 8], axis=1)
    return down, tf.reduce_any(orientation[:, None] == [2, 3, 6, 7], axis=1)
