"""Reading clips in the graph: only the frames that a puzzle needs are decoded, and sound is cut by time.

A record is a piece of a recording as `tfssl.ingest` writes it: frames as JPEGs with their times, sound as 16 bit mono
PCM with the time at which it begins, on the same clock.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

PARALLEL = 8
LEAST_AREA = 0.5
"""Part of the largest square crop that a random crop takes at least."""
SCALE = 8  # of thumbnails: JPEG is decoded at an eighth from the means of its blocks, at a fraction of the time

_FEATURES = {
    "frames": tf.io.RaggedFeature(tf.string),
    "frame_times": tf.io.RaggedFeature(tf.float32),
    "sound": tf.io.FixedLenFeature([], tf.string, ""),
    "sound_start": tf.io.FixedLenFeature([], tf.float32, 0.0),
    "recording": tf.io.FixedLenFeature([], tf.string, ""),
}


class Clip(NamedTuple):
    """A record, nothing decoded yet.

    Attributes:
      frames: string [T], JPEGs.
      times: float32 [T], seconds, rising.
      sound: string [], 16 bit little-endian mono PCM; empty where there is none.
      sound_start: float32 [], seconds, time of the first sample.
      recording: string [], what it is a piece of.
    """

    frames: tf.Tensor
    times: tf.Tensor
    sound: tf.Tensor
    sound_start: tf.Tensor
    recording: tf.Tensor


def parse(record: tf.Tensor) -> Clip:
    """One record, string [] -> its parts; what is missing is empty."""
    found = tf.io.parse_single_example(record, _FEATURES)
    return Clip(found["frames"], found["frame_times"], found["sound"], found["sound_start"], found["recording"])


def over_records(records: tf.Tensor, seed: tf.Tensor, function: Callable[[tf.Tensor, tf.Tensor], Any]) -> Any:
    """Calls function(record string [], seed int32 [2]) for each of records, string [B]; stacks the tensors it gives.

    Rows may have more than a record: records string [B, n] gives string [n] to the function.

    The seed of a row is that of the batch and the row's number.
    """

    def row(given: tuple[tf.Tensor, tf.Tensor]) -> Any:
        number, record = given
        return function(record, tf.random.fold_in(seed, number))

    rows = records.shape[0] if records.shape[0] is not None else tf.shape(records)[0]
    elements = (tf.range(rows), records)
    traced = tf.function(row).get_concrete_function(
        (tf.TensorSpec([], tf.int32), tf.TensorSpec(records.shape[1:], tf.string))
    )
    specs = tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), traced.structured_outputs)
    return tf.map_fn(row, elements, fn_output_signature=specs, parallel_iterations=PARALLEL)


def decode_frames(frames: tf.Tensor, size: int, seed: tf.Tensor | None) -> tf.Tensor:
    """Crops of some frames of one clip: the same square of each, flipped or not alike.

    Args:
      frames: string [K], JPEGs of equal size.
      size: side of the crops, pixels.
      seed: int32 [2]; None for the largest square in the middle, not flipped.

    Returns:
      uint8 [K, size, size, 3].
    """
    height, width = tf.unstack(tf.cast(tf.io.extract_jpeg_shape(frames[0]), tf.int32)[:2])
    short = tf.minimum(height, width)
    if seed is None:
        side = short
        top, left = (height - side) // 2, (width - side) // 2
    else:
        draws = tf.random.stateless_uniform([4], seed)
        share = tf.sqrt(LEAST_AREA + (1 - LEAST_AREA) * draws[0])
        side = tf.clip_by_value(tf.cast(tf.round(share * tf.cast(short, tf.float32)), tf.int32), 1, short)
        top = tf.cast(draws[1] * tf.cast(height - side + 1, tf.float32), tf.int32)
        left = tf.cast(draws[2] * tf.cast(width - side + 1, tf.float32), tf.int32)

    window = tf.stack([top, left, side, side])
    # One op a frame, their count being known: a loop costs three times as much as the decoding.
    each = [tf.io.decode_and_crop_jpeg(frame, window, channels=3) for frame in tf.unstack(frames, frames.shape[0])]
    squares = tf.stack(each)
    # Antialiasing only where it shrinks by half and more, as it costs more than the decoding.
    resized = tf.cond(
        side >= 2 * size,
        lambda: tf.image.resize(squares, [size, size], antialias=True),
        lambda: tf.image.resize(squares, [size, size]),
    )
    if seed is not None:  # while they are floats: turning elements of three bytes round takes ten times as long
        resized = tf.cond(draws[3] < 0.5, lambda: tf.reverse(resized, [2]), lambda: resized)
    return tf.ensure_shape(tf.cast(resized + 0.5, tf.uint8), [frames.shape[0], size, size, 3])


def thumbnails(frames: tf.Tensor) -> tf.Tensor:
    """Frames of one clip, string [T] -> float32 [T, h, w, 3], 0..1, of an eighth of their size."""

    def small(frame: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_jpeg(frame, channels=3, ratio=SCALE, dct_method="INTEGER_FAST")

    found = tf.map_fn(small, frames, fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
    return tf.cast(found, tf.float32) / 255


def motion(pictures: tf.Tensor) -> tf.Tensor:
    """float32 [T, h, w, c] -> float32 [T - 1]: mean absolute difference of neighbours."""
    return tf.reduce_mean(tf.abs(pictures[1:] - pictures[:-1]), [1, 2, 3])


def waveform(clip: Clip, start_seconds: tf.Tensor, samples: int, rate: int) -> tf.Tensor:
    """The sound of a clip from a time on.

    Args:
      start_seconds: float32 [], on the clock of the frames' times.
      samples: how many.
      rate: of the record's sound, hertz.

    Returns:
      float32 [samples], -1..1; zeros before its sound begins and after it ends.
    """
    length = tf.strings.length(clip.sound) // 2
    first = tf.cast(tf.round((start_seconds - clip.sound_start) * rate), tf.int32)
    begin, end = tf.clip_by_value(first, 0, length), tf.clip_by_value(first + samples, 0, length)
    cut = tf.strings.substr(clip.sound, 2 * begin, 2 * (end - begin))
    sound = tf.cast(tf.io.decode_raw(cut, tf.int16), tf.float32) / 32768
    before = tf.clip_by_value(-first, 0, samples)
    padded = tf.pad(sound, [[before, tf.maximum(samples - before - (end - begin), 0)]])
    return tf.ensure_shape(padded[:samples], [samples])
