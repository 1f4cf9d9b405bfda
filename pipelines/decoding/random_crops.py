"""The recipe of random crops: what a batch of them is, drawn from its seed. They are not flipped, as tasks flip.

Pictures whose short side is at least 1.25 x `size` give a `random_box`, resized. Smaller ones (CIFAR) give their
centred square at `size`, with a reflected border of size // 8 pixels, from which a random square is cut. A mirrored
edge tells a patch its place, so without `reflect` they give the square itself.

Whether pictures are decoded for each crop (`picture_crops`) or once (`cache`), their crops are drawn here, so both give
the same. Boxes are int32 [..., 4]: top, left, height, width in pixels, upright.
"""

import tensorflow as tf

from tfssl.pipelines.decoding.headers import Header
from tfssl.pipelines.decoding.orientation import upright_size
from tfssl.pipelines.ops import geometry

AREA = (0.35, 1.0)
"""Smallest and largest part of the picture's area that a random box has."""
ASPECT = (3 / 4, 4 / 3)
"""Its smallest and largest width / height."""


def is_large(header: Header, size: int) -> tf.Tensor:
    """Say which pictures give a random box, not a shifted square, when crops have `size` pixels: bool [N]."""
    return 4 * tf.minimum(header.height, header.width) >= 5 * size


def draw_boxes(header: Header, seed: tf.Tensor, size: int) -> tf.Tensor:
    """Draw the part of each picture that is decoded and resized to `size`: int32 [N, 4].

    `seed`, int32 [2], is that of the batch.
    """
    height, width = upright_size(header)
    large = is_large(header, size)[:, None]
    return tf.where(large, random_box(height, width, _seeds(seed)[0]), centre_box(height, width))


def shift_small(images: tf.Tensor, header: Header, seed: tf.Tensor, reflect: bool) -> tf.Tensor:
    """Shift the pictures that are not large; at the edge comes in what the edge reflects.

    Args:
      images: uint8 [N, S, S, 3], resized boxes.
      header: the header of these pictures.
      seed: int32 [2], of the batch.
      reflect: whether they are moved at all.

    Returns:
      uint8 [N, S, S, 3].
    """
    small = ~is_large(header, images.shape[1])

    def shifted() -> tf.Tensor:
        rows = tf.where(small)
        places = draw_places(tf.shape(rows)[0], images.shape[1], seed, reflect)
        moved = geometry.gather(tf.gather(images, rows[:, 0]), places)
        return tf.tensor_scatter_nd_update(images, rows, moved)

    moved = tf.cond(tf.reduce_any(small), shifted, lambda: images)
    return tf.ensure_shape(moved, images.shape)


def draw_places(count: tf.Tensor, size: int, seed: tf.Tensor, reflect: bool) -> tf.Tensor:
    """Draw which pixel of its square, row by row, comes to each place of each small picture: int32 [count, size, size].

    Args:
      count: number of the small pictures of a batch.
      seed: int32 [2], of the batch.
    """
    border = size // 8 if reflect else 0
    offset = tf.random.stateless_uniform([2, count, 1], _seeds(seed)[1], -border, border + 1, tf.int32)
    place = tf.abs(tf.range(size) + offset)
    row, column = tf.unstack(size - 1 - tf.abs(size - 1 - place))
    return row[:, :, None] * size + column[:, None, :]


def _seeds(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the seeds of a batch's boxes, and of its shifts."""
    box_seed, shift_seed = tf.unstack(tf.random.split(seed, 2))
    return box_seed, shift_seed


def centre_box(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Return the largest centred square: int32 [..., 4]."""
    side = tf.minimum(height, width)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side], axis=-1)


def random_box(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor, area: tuple[float, float] = AREA) -> tf.Tensor:
    """Draw a random box inside each picture, as in Inception (Szegedy et al. 2015, arXiv 1409.4842).

    The area is uniform; the logarithm of the aspect is uniform among those with which a box of that area fits. Nothing
    is drawn twice: where no aspect fits (a very long picture), the box is as large as fits.

    Args:
      height, width: int32 [...], pixels.
      seed: int32 [2].
      area: smallest and largest part of the picture's area.

    Returns:
      int32 [..., 4].
    """
    tall, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    # One draw gives four independent numbers a picture.
    draw = tf.random.stateless_uniform(tf.concat([tf.shape(height), [4]], 0), seed)
    pixels = (area[0] + (area[1] - area[0]) * draw[..., 0]) * tall * wide
    narrowest = tf.clip_by_value(pixels / (tall * tall), ASPECT[0], ASPECT[1])
    widest = tf.maximum(tf.minimum(ASPECT[1], wide * wide / pixels), narrowest)
    ratio = tf.exp(tf.math.log(narrowest) + draw[..., 1] * tf.math.log(widest / narrowest))
    whole = tf.stack([tall, wide], axis=-1)
    sides = tf.round(tf.sqrt(tf.stack([pixels / ratio, pixels * ratio], axis=-1)))
    sides = tf.minimum(tf.maximum(sides, 1.0), whole)
    corner = tf.minimum(tf.floor(draw[..., 2:] * (whole - sides + 1)), whole - sides)
    return tf.cast(tf.concat([corner, sides], axis=-1), tf.int32)


def shortest_side(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Return the pixels that no side of a `random_box` of such pictures is shorter than: int32 [...]."""
    pixels = AREA[0] * tf.cast(height, tf.float32) * tf.cast(width, tf.float32)
    side = tf.cast(tf.sqrt(pixels * min(ASPECT[0], 1 / ASPECT[1])), tf.int32) - 1  # a pixel for rounding
    return tf.minimum(tf.minimum(height, width), side)
