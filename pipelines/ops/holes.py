"""Holes in batches of square pictures: masks from blocks, and filling, on the bytes of uint8 pictures as they lie.

A picture [S, S, 3] is handled as S rows of 3 S bytes. A mask is drawn as codes: bit k of a row's code, and of a
column's, says that block k covers it, so a pixel lies in a block where the two have a bit in common. Bitwise ops take
10 us for a picture of 224 px, where `tf.where`, or whatever writes a fourth channel beside three, takes 160. They take
40 on bytes that TensorFlow 2.21 changes in place, and 5 on the same bytes as int64: hence the words.
"""

import math

import tensorflow as tf

MOST_BLOCKS = 8
"""A bit each, of a byte."""

LEAST_SIDE = 8
"""Pixels. What a narrower block hides is seen at its sides."""


def block_counts(size: int) -> tuple[int, ...]:
    """Say how many blocks a picture of `size` pixels may have: 1, 2, 4 or 8, none narrower than LEAST_SIDE."""
    return tuple(n for n in (1, 2, 4, MOST_BLOCKS) if n == 1 or block_sides(size, n)[0] >= LEAST_SIDE)


def block_sides(size: int, count: int) -> tuple[int, int]:
    """Return the narrowest and widest side of a block, pixels: `count` of the widest make a quarter of the area."""
    widest = max(1, int(size / (2 * math.sqrt(count))))
    return (widest + 1) // 2, widest


def random_blocks(batch: int, size: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw blocks at random places, which cover at most a quarter of each picture together.

    The count of a picture is drawn from `block_counts`, height and width of each block from `block_sides`; they may
    overlap. All draws are uniform.

    Args:
      batch: how many pictures.
      size: their side, pixels.
      seed: int32 [2].

    Returns:
      Codes of rows and of columns, uint8 [batch, size] each.
    """
    count_seed, block_seed = tf.unstack(tf.random.split(seed, 2))
    counts = block_counts(size)
    kind = tf.random.stateless_uniform([batch], count_seed, 0, len(counts), tf.int32)
    count = tf.gather(counts, kind)
    sides = tf.gather([block_sides(size, n) for n in counts], kind)
    narrowest, widest = (sides[:, end, None, None] for end in (0, 1))
    draw = tf.random.stateless_uniform([batch, MOST_BLOCKS, 2, 2], block_seed)  # of a block: (side, place) x (y, x)
    side = narrowest + _below(draw[:, :, 0], widest - narrowest + 1)
    start = _below(draw[:, :, 1], size - side + 1)
    place = tf.range(size)
    inside = (place >= start[..., None]) & (place < (start + side)[..., None])  # [batch, block, 2, size]
    exists = tf.range(MOST_BLOCKS) < count[:, None]
    bits = tf.where(exists, 2 ** tf.range(MOST_BLOCKS), 0)[:, :, None, None]
    codes = tf.cast(tf.reduce_sum(tf.where(inside, bits, 0), 1), tf.uint8)
    return codes[:, 0], codes[:, 1]


def mask(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Turn codes uint8 [B, S], [B, C] into uint8 [B, S, C], 1 where a block covers the place, else 0."""
    common = tf.bitwise.bitwise_and(rows[:, :, None], columns[:, None, :])
    return tf.cast(tf.cast(common, tf.bool), tf.uint8)


def channel_wise(columns: tf.Tensor) -> tf.Tensor:
    """Turn codes of columns uint8 [B, S] into codes of the bytes of a row of pixels [B, 3 S]."""
    return tf.repeat(columns, 3, axis=1)


def fill(images: tf.Tensor, byte_mask: tf.Tensor, colour: tuple[int, int, int]) -> tf.Tensor:
    """Fill the holes of pictures with one colour.

    Args:
      images: uint8 [B, S, S, 3].
      byte_mask: uint8 [B or 1, S, 3 S], 1 in the hole.
      colour: one value for each of the same channels, 0 to 255 each.

    Returns:
      uint8 [B, S, S, 3].
    """
    count, size = images.shape[:2]
    lines = _words(tf.reshape(images, [count, size, 3 * size]))
    line = _words(tf.tile(tf.constant(colour, tf.uint8), [size]))
    chosen = _words(byte_mask) * tf.constant(255, lines.dtype)  # 1 becomes 255 in each byte, without a carry
    # a ^ ((a ^ b) & m) is b where m is set and a elsewhere.
    difference = tf.bitwise.bitwise_and(tf.bitwise.bitwise_xor(lines, line), chosen)
    return tf.reshape(tf.bitcast(tf.bitwise.bitwise_xor(lines, difference), tf.uint8), images.shape)


def _words(data: tf.Tensor) -> tf.Tensor:
    """View uint8 [..., n] as the longest integers that n is a multiple of; the memory is the same."""
    length = data.shape[-1]
    kind = next(kind for kind in (tf.int64, tf.int32, tf.uint8) if length % kind.size == 0)
    return data if kind == tf.uint8 else tf.bitcast(tf.reshape(data, [*data.shape[:-1], -1, kind.size]), kind)


def _below(draw: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Scale uniform numbers from 0 to below 1 to int32 from 0 to below `end`."""
    return tf.minimum(tf.cast(draw * tf.cast(end, tf.float32), tf.int32), end - 1)
