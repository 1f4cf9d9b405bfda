"""Colour jitter: brightness, contrast, saturation and hue of each picture, in an order of its own, and grey.

Each of them is an affine map of a picture's colours, clipped to 0..255 behind each: three by three numbers, and for
contrast what is added of the picture's mean grey. So all are one loop over pixels, compiled by XLA, with numbers of
each picture, whatever its order.
"""

import itertools
import math

import numpy as np
import tensorflow as tf

from tfssl.pipelines.ops import packed
from tfssl.pipelines.ops.packed import compiled

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.8, 0.8, 0.8, 0.2
"""Reach at strength 1 (Chen et al. 2020, arXiv 2002.05709, appendix A): factors are 1 - .8 to 1 + .8, hue is turned by
up to a fifth of the circle either way.
"""
LUMA = (0.299, 0.587, 0.114)
"""Grey of red, green and blue, as JPEG has it (ITU-R BT.601)."""
ORDERS = tuple(itertools.permutations(range(4)))
"""In which order 0 brightness, 1 contrast, 2 saturation, 3 hue come."""

_YIQ = np.array([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
_GREY = np.tile(LUMA, (3, 1)).astype(np.float32)
_QUARTER_TURN = (np.linalg.inv(_YIQ) @ [[0, 0, 0], [0, 0, -1], [0, 1, 0]] @ _YIQ).astype(np.float32)
"""What a turn of the hue by a quarter of the circle makes of colours, less their grey."""


@compiled
def draw(
    count: int, seed: tf.Tensor, strength: float, share: float, grey: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw what happens to the colours of pictures.

    Args:
      count: N, how many.
      seed: int32 [2].
      strength: 0 for none, 1 for `BRIGHTNESS` and so on.
      share: probability that a picture is jittered at all.
      grey: probability that it is grey, jittered or not.

    Returns:
      factors float32 [N, 4]: brightness, contrast, saturation (1 for none), hue in turns (0 for none); the number of
      `ORDERS`, int32 [N]; whether it is grey, bool [N].
    """
    # One draw gives seven independent numbers a picture.
    uniform = tf.random.stateless_uniform([count, 7], seed)
    reach = tf.constant([strength * each for each in (BRIGHTNESS, CONTRAST, SATURATION, HUE)], tf.float32)
    change = reach * (2 * uniform[:, :4] - 1) * tf.cast(uniform[:, 4:5] < share, tf.float32)
    factors = tf.concat([tf.maximum(1 + change[:, :3], 0), change[:, 3:]], 1)
    order = tf.minimum(tf.cast(uniform[:, 5] * len(ORDERS), tf.int32), len(ORDERS) - 1)
    return factors, order, uniform[:, 6] < grey


@compiled
def jitter(pixels: tf.Tensor, factors: tf.Tensor, order: tf.Tensor, grey: tf.Tensor) -> tf.Tensor:
    """Change the colours of packed pictures, uint32 [N, H, W], by what `draw` gives.

    Brightness b: b x. Contrast c: c x + (1 - c) m, with m the picture's mean grey. Saturation s: s x + (1 - s) g, with
    g the pixel's grey. Hue: turned about grey in YIQ, luma as it was, as NVIDIA's DALI does; torchvision's goes through
    HSV, and changes luma too.
    """
    maps, is_contrast = _maps(factors, order)
    luma = tf.constant([LUMA])

    def mixed(channels: list[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
        return tf.add_n([channel * weights[:, place, None, None] for place, channel in enumerate(channels)])

    def changed(channels: list[tf.Tensor], step: int, maps: tf.Tensor, lift: tf.Tensor) -> list[tf.Tensor]:
        return [tf.clip_by_value(mixed(channels, maps[:, step, row]) + lift, 0.0, 255.0) for row in range(3)]

    # Of a picture one mean is asked for, of what comes before its contrast: once through, with nothing done from there
    # on, and then all of it. A mean for each of the four steps would take a pass each.
    comes_before = tf.cumsum(is_contrast, 1) == 0
    before = tf.where(comes_before[..., None, None], maps, tf.eye(3))
    channels = packed.levels(pixels)
    for step in range(3):
        channels = changed(channels, step, before, tf.constant(0.0))
    mean = tf.reduce_mean(mixed(channels, luma), [1, 2], keepdims=True)
    channels = packed.levels(pixels)
    lifts = (1 - factors[:, 1:2]) * is_contrast
    for step in range(4):
        channels = changed(channels, step, maps, lifts[:, step, None, None] * mean)
    of_all = mixed(channels, luma)
    return packed.of_levels([tf.where(grey[:, None, None], of_all, channel) for channel in channels])


def _maps(factors: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the maps of the four steps in their order, float32 [N, 4, 3, 3], and which is contrast, [N, 4], 0 or 1."""
    identity, of_grey = tf.eye(3), tf.constant(_GREY)
    brightness, contrast, saturation, hue = (each[:, None, None] for each in tf.unstack(factors, axis=1))
    turn = 2 * math.pi * hue
    maps = [
        brightness * identity,
        contrast * identity,
        saturation * identity + (1 - saturation) * of_grey,
        of_grey + tf.cos(turn) * (identity - of_grey) + tf.sin(turn) * tf.constant(_QUARTER_TURN),
    ]
    steps = tf.gather(tf.constant(ORDERS), order)
    return tf.gather(tf.stack(maps, 1), steps, batch_dims=1), tf.cast(steps == 1, tf.float32)
