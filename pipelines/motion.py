"""Which frames of a clip a puzzle takes: windows are drawn by how much moves in them, in the graph."""

from typing import NamedTuple

import tensorflow as tf

from tfssl.pipelines import clips
from tfssl.pipelines.clips import Clip

LOOK = 24
"""Frames that are looked at for motion, spread over the clip; what moves between them counts for all in between."""
STILL = 1e-4
"""What is added to the motion of a frame, 0..1, so that a clip without any has windows too."""


class Window(NamedTuple):
    """Frames at equal distances.

    Attributes:
      places: int32 [n], numbers of the frames, rising.
      pictures: float32 [n, h, w, 3], their thumbnails, 0..1.
      valid: bool [], whether the clip has so many frames; where not, places repeat.
    """

    places: tf.Tensor
    pictures: tf.Tensor
    valid: tf.Tensor


def window(clip: Clip, count: int, gap: float, seed: tf.Tensor) -> Window:
    """Draws a window of `count` frames, likely where much moves (Misra et al. 2016: only high motion teaches order).

    Args:
      clip: with one frame or more.
      count: frames of the window.
      gap: seconds between neighbours; less where the clip is too short for it.
      seed: int32 [2].
    """
    total = tf.size(clip.frames)
    length = clip.times[-1] - clip.times[0]
    each = tf.math.divide_no_nan(tf.cast(total - 1, tf.float32), length)  # frames a second
    step = tf.clip_by_value(tf.cast(tf.round(gap * each), tf.int32), 1, tf.maximum((total - 1) // (count - 1), 1))
    span = step * (count - 1)
    starts = tf.maximum(total - span, 1)
    moved = _moved(clip, total)
    sums = tf.cond(total > span, lambda: moved[span:] - moved[: total - span], lambda: tf.ones([1]))
    first = tf.random.stateless_categorical(tf.math.log(sums)[None], 1, seed, tf.int32)[0, 0]
    places = tf.minimum(tf.minimum(first, starts - 1) + step * tf.range(count), total - 1)
    places = tf.ensure_shape(places, [count])
    return Window(places, clips.thumbnails(tf.gather(clip.frames, places)), total >= count)


def _moved(clip: Clip, total: tf.Tensor) -> tf.Tensor:
    """float32 [T], rising: how much has moved up to each frame."""
    number = tf.minimum(total, LOOK)
    spread = tf.cast(tf.maximum(total - 1, 1), tf.float32) / tf.cast(tf.maximum(number - 1, 1), tf.float32)
    looked = tf.cast(tf.round(tf.cast(tf.range(number), tf.float32) * spread), tf.int32)
    small = clips.thumbnails(tf.gather(clip.frames, looked))
    sums = tf.concat([[0.0], tf.cumsum(clips.motion(small) + STILL)], 0)
    place = tf.cast(tf.range(total), tf.float32) / spread
    below = tf.minimum(tf.cast(place, tf.int32), number - 1)
    above = tf.minimum(below + 1, number - 1)
    part = place - tf.cast(below, tf.float32)
    return (1 - part) * tf.gather(sums, below) + part * tf.gather(sums, above)


def changed(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of two thumbnails [..., h, w, 3] -> float32 [...]."""
    return tf.reduce_mean(tf.abs(one - other), [-3, -2, -1])
