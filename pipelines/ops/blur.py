"""Gaussian blur of pictures, each with a width of its own."""

import math

import numpy as np
import tensorflow as tf

from tfssl.pipelines.ops import packed
from tfssl.pipelines.ops.packed import compiled

LEAST, MOST = 0.1, 2.0
"""Smallest and largest deviation in pixels of pictures of 224 (Chen et al. 2020, arXiv 2002.05709, appendix A)."""
OF_SIZE = 224
FINE = 32
"""Pixels of a side up to which pictures are not blurred, as in the paper's appendix on CIFAR-10."""
ONE = 1 << 22
"""Weights of a bell sum up to this; of 8 bits of colour the sum is below 2 ** 31."""


@compiled
def draw(count: int, size: int, seed: tf.Tensor, share: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw which of N pictures of `size` pixels are blurred, and their deviations in pixels.

    Args:
      count: N.
      size: side of the pictures: deviations are those of 224 pixels, in proportion.
      seed: int32 [2].
      share: of the pictures, exactly, but for rounding; each is as likely as the others.

    Returns:
      int32 [n] and float32 [n], n = share * N.
    """
    uniform = tf.random.stateless_uniform([2, count], seed)
    # As many in every batch: XLA would compile the blur anew for each number of them, and it takes as long as half of
    # the rest of a view of 224 px.
    chosen = tf.argsort(uniform[0])[: round(share * count)]
    return chosen, (LEAST + (MOST - LEAST) * tf.gather(uniform[1], chosen)) * (size / OF_SIZE)


def blur(pixels: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """Blur packed square pictures, uint32 [N, S, S], by deviations float32 [N] in pixels; borders are mirrored.

    The bell is cut off at three times the largest deviation that is drawn for their size. Rounded after each direction:
    results are at most a level beside those of floats.
    """
    size = pixels.shape[1]
    reach = min(math.ceil(3 * MOST * size / OF_SIZE), size)
    place = np.arange(-reach, size + reach)
    place = np.minimum(np.where(place < 0, -1 - place, place), 2 * size - 1 - place)
    for _ in range(2):
        # Borders are copied here: XLA would ask of each pixel whether it lies in one, in a loop twice as slow.
        pixels = _blur_down(tf.gather(pixels, place, axis=1), deviation, reach)
    return pixels


@compiled
def _blur_down(pixels: tf.Tensor, deviation: tf.Tensor, reach: int) -> tf.Tensor:
    """Blur columns of uint32 [N, S + 2 reach, S], and turn the rest, so that rows are columns: [N, S, S].

    In integers, which takes half of the time that floats do: pixels as far above as below are added while red and blue
    are still in one number, each with a free byte above it, and weights are rounded to 2 ** -22.
    """
    size = pixels.shape[2]
    away = tf.square(tf.range(-reach, reach + 1, dtype=tf.float32))
    bell = tf.exp(-away / (2 * tf.square(tf.maximum(deviation, 1e-3))[:, None]))  # nothing but itself where it is 0
    bell = tf.cast(tf.round(ONE * bell / tf.reduce_sum(bell, 1, keepdims=True)), tf.uint32)
    outer, green, low = (tf.constant(mask, tf.uint32) for mask in (0x00FF00FF, 0x0000FF00, 0x0000FFFF))
    red_and_blue, green_alone = pixels & outer, pixels & green
    totals = [tf.constant(ONE // 2, tf.uint32)] * 3
    for above in range(reach + 1):
        two, one = (_both(each, above, reach, size) for each in (red_and_blue, green_alone))
        parts = two & low, tf.bitwise.right_shift(one, tf.constant(8, tf.uint32)), _high(two)
        totals = [total + part * bell[:, above, None, None] for total, part in zip(totals, parts, strict=True)]
    shift = tf.constant(ONE.bit_length() - 1, tf.uint32)
    blurred = packed.join([tf.bitwise.right_shift(total, shift) for total in totals])
    return tf.transpose(blurred, [0, 2, 1])


def _both(pixels: tf.Tensor, above: int, reach: int, size: int) -> tf.Tensor:
    """Add what stands as far above each row as below it; of the row itself, once."""
    below = 2 * reach - above
    first = pixels[:, above : above + size]
    return first if above == below else first + pixels[:, below : below + size]


def _high(pixels: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.right_shift(pixels, tf.constant(16, tf.uint32))
