"""Reading clips in the graph: only the frames that a puzzle needs are decoded, and sound is cut by time.

A record is a piece of a recording as `tfssl.ingest` writes it, see `record`: frames as JPEGs with their times, sound as
16 bit mono PCM with the time at which it begins, on the same clock.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.pipelines.clips import record
from tfssl.pipelines.clips.recordings import THUMBNAIL
from tfssl.pipelines.decoding import formats
from tfssl.pipelines.ops import geometry

PARALLEL = 8
LEAST_AREA = 0.5
"""Part of the largest square crop that a random crop takes at least."""


@dataclasses.dataclass(frozen=True)
class Clips:
    """Records of a batch, nothing decoded yet. `clips[number]` is one of them.

    Attributes:
      jpegs: string [sum of T], frames of all of them, one clip after the other.
      times: float32 [sum of T], seconds.
      splits: int32 [B + 1], where the frames of each begin, and the end.
      thumbnails: string [B], see `Clip.thumbnails`.
      sound: string [B], 16 bit little-endian mono PCM; empty where there is none.
      sound_start: float32 [B], seconds, time of the first sample.
      recording: string [B], what each is a piece of.
    """

    jpegs: tf.Tensor
    times: tf.Tensor
    splits: tf.Tensor
    thumbnails: tf.Tensor
    sound: tf.Tensor
    sound_start: tf.Tensor
    recording: tf.Tensor

    def __getitem__(self, number: int | tf.Tensor) -> "Clip":
        return Clip(self, tf.convert_to_tensor(number, tf.int32))


@dataclasses.dataclass(frozen=True)
class Clip:
    """One record of a batch. Only the fields that are asked for are copied: a record may have a megabyte."""

    batch: Clips
    number: tf.Tensor

    @property
    def _first(self) -> tf.Tensor:
        return self.batch.splits[self.number]

    @property
    def count(self) -> tf.Tensor:
        """How many frames it has, int32 []."""
        return self.batch.splits[self.number + 1] - self._first

    @property
    def times(self) -> tf.Tensor:
        """Times of the frames, float32 [T], seconds, rising."""
        return self.batch.times[self._first : self.batch.splits[self.number + 1]]

    @property
    def sound(self) -> tf.Tensor:
        """16 bit little-endian mono PCM, string []."""
        return self.batch.sound[self.number]

    @property
    def samples(self) -> tf.Tensor:
        """Number of samples of the sound, int32 []."""
        return tf.strings.length(self.batch.sound)[self.number] // 2

    @property
    def sound_start(self) -> tf.Tensor:
        """Time of the first sample, float32 [], seconds."""
        return self.batch.sound_start[self.number]

    @property
    def recording(self) -> tf.Tensor:
        """Name of the recording that it is a piece of, string []."""
        return self.batch.recording[self.number]

    def frames(self, places: tf.Tensor) -> tf.Tensor:
        """Return the JPEGs of the frames of these numbers, int32 [...] -> string [...]."""
        return tf.gather(self.batch.jpegs, self._first + places)

    @property
    def thumbnails(self) -> tf.Tensor:
        """Thumbnails of the frames, uint8 [T, 16, 16, 3]: each the whole picture, whatever its shape."""
        numbers = tf.io.decode_raw(self.batch.thumbnails[self.number], tf.uint8)
        return tf.reshape(numbers, [self.count, THUMBNAIL, THUMBNAIL, 3])


def parse(records: tf.Tensor) -> Clips:
    """Parse records, string [B], into their parts; what is missing is empty."""
    each = ("thumbnails", "sound", "sound_start", "recording")
    fields = tf.io.parse_example(records, record.features("frames", "frame_times", *each))
    return Clips(
        jpegs=fields["frames"].values,
        times=fields["frame_times"].values,
        splits=tf.cast(fields["frames"].row_splits, tf.int32),
        **{name: fields[name] for name in each},
    )


def over_rows(count: int | tf.Tensor, seed: tf.Tensor, function: Callable[[tf.Tensor, tf.Tensor], Any]) -> Any:
    """Call function(number int32 [], seed int32 [2]) for 0 to count - 1; stack the tensors that it gives.

    The seed of a row is that of the batch and the row's number. Only the number goes through the loop: what the
    function takes of a batch is captured, as a loop over strings would copy each of them several times.
    """

    def row(number: tf.Tensor) -> Any:
        return function(number, tf.random.fold_in(seed, number))

    traced = tf.function(row, autograph=False).get_concrete_function(tf.TensorSpec([], tf.int32))
    specs = tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), traced.structured_outputs)
    at_once = None if tf.executing_eagerly() else PARALLEL  # which TensorFlow warns of where there is no graph
    return tf.map_fn(traced, tf.range(count), fn_output_signature=specs, parallel_iterations=at_once)


def rows(records: tf.Tensor) -> int | tf.Tensor:
    """Return how many rows there are, as a number where that is known while tracing."""
    return records.shape[0] if records.shape[0] is not None else tf.shape(records)[0]


def decode_frames(frames: tf.Tensor, size: int, seed: tf.Tensor | None) -> tf.Tensor:
    """Decode crops of some frames of one clip: the same square of each, and either all flipped or none.

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
        lambda: tf.cast(tf.image.resize(squares, [size, size], antialias=True) + 0.5, tf.uint8),
        lambda: formats.resize(squares, size),
    )
    made = tf.ensure_shape(resized, [frames.shape[0], size, size, 3])
    return made if seed is None else tf.cond(draws[3] < 0.5, lambda: geometry.mirror(made), lambda: made)


def waveform(
    pcm: tf.Tensor, pcm_start: tf.Tensor, start_seconds: tf.Tensor, samples: int, sample_rate: int
) -> tf.Tensor:
    """Return the sound of a clip from a given time on.

    Args:
      pcm: string [], 16 bit little-endian mono.
      pcm_start: float32 [], seconds, time of its first sample.
      start_seconds: float32 [], on the same clock, that of the frames' times.
      samples: how many.
      sample_rate: hertz, of both.

    Returns:
      float32 [samples], -1..1; zeros before the sound begins and after it ends.
    """
    length = tf.strings.length(pcm) // 2
    first = tf.cast(tf.round((start_seconds - pcm_start) * sample_rate), tf.int32)
    begin, end = tf.clip_by_value(first, 0, length), tf.clip_by_value(first + samples, 0, length)
    cut = tf.strings.substr(pcm, 2 * begin, 2 * (end - begin))
    sound = tf.cast(tf.io.decode_raw(cut, tf.int16), tf.float32) / 32768
    before = tf.clip_by_value(-first, 0, samples)
    padded = tf.pad(sound, [[before, tf.maximum(samples - before - (end - begin), 0)]])
    return tf.ensure_shape(padded[:samples], [samples])
