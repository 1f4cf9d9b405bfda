"""Which frames of a clip a puzzle takes: windows are drawn by how much moves in them, in the graph."""

from typing import NamedTuple

import tensorflow as tf

from tfssl.pipelines.clips.clip_records import Clip

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
    """Draw a window of `count` frames, likely where much moves (Misra et al. 2016: only high motion teaches order).

    Args:
      clip: with one frame or more.
      count: frames of the window.
      gap: seconds between neighbours; less where the clip is too short for it.
      seed: int32 [2].
    """
    total, times, small = clip.count, clip.times, tf.cast(clip.thumbnails, tf.float32) / 255
    length = times[-1] - times[0]
    each = tf.math.divide_no_nan(tf.cast(total - 1, tf.float32), length)  # frames a second
    step = tf.clip_by_value(tf.cast(tf.round(gap * each), tf.int32), 1, tf.maximum((total - 1) // (count - 1), 1))
    span = step * (count - 1)
    starts = tf.maximum(total - span, 1)
    moved = tf.concat([[0.0], tf.cumsum(motion(small) + STILL)], 0)
    sums = tf.cond(total > span, lambda: moved[span:] - moved[: total - span], lambda: tf.ones([1]))
    first = tf.random.stateless_categorical(tf.math.log(sums)[None], 1, seed, tf.int32)[0, 0]
    places = tf.minimum(tf.minimum(first, starts - 1) + step * tf.range(count), total - 1)
    places = tf.ensure_shape(places, [count])
    return Window(places, tf.gather(small, places), total >= count)


def motion(pictures: tf.Tensor) -> tf.Tensor:
    """Return the mean absolute difference of neighbours: float32 [T, h, w, c] -> float32 [T - 1]."""
    return difference(pictures[1:], pictures[:-1])


def difference(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Return the mean absolute difference of two thumbnails: [..., h, w, 3] -> float32 [...]."""
    return tf.reduce_mean(tf.abs(one - other), [-3, -2, -1])
