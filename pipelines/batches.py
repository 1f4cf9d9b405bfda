"""Batches: order, seeds, one decode for all tasks, and broken pictures counted.

Example g of a stream is picture `index_shuffle(g mod N)` of epoch g // N: a full shuffle with no buffer, and a stream
that starts at any step at no cost. The seed of a batch is (run seed, step). So a run gives the same batches whatever
the parallelism, and one that was killed resumes with exactly those that it would have seen.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.explicit import explicit
from tfssl.pipelines.decoding import cache
from tfssl.pipelines.sources.source import AnySource, CropReader

SHUFFLE_KEY = 498247692  # what tf.random.experimental.index_shuffle puts before its seed


class BrokenPictures:
    """Which pictures of a source turned out broken while they were decoded; filled from inside the graph."""

    def __init__(self, source: AnySource):
        self._source = source
        with tf.device("CPU"):
            self._marks = tf.Variable(tf.zeros([source.count], tf.bool), trainable=False, name="broken_pictures")

    @explicit
    def mark(self, index: tf.Tensor, valid: tf.Tensor) -> None:
        """Remember the pictures (index int64 [B]) that are not valid (bool [B])."""

        def note() -> tf.Tensor:
            wrong = tf.boolean_mask(index, ~valid)
            self._marks.scatter_nd_update(wrong[:, None], tf.ones_like(wrong, tf.bool))
            return tf.constant(True)

        tf.cond(tf.reduce_all(valid), lambda: tf.constant(False), note)

    def numbers(self) -> list[int]:
        """Return the numbers of these pictures in the source: a resumed run needs to know which ones it saw before."""
        return np.flatnonzero(self._marks.numpy()).tolist()

    def restore(self, numbers: Sequence[int]) -> None:
        """Mark what `numbers` gave before an interruption, for the same source."""
        marks = self._marks.numpy()
        marks[np.asarray(numbers, int)] = True
        self._marks.assign(marks)

    def names(self) -> dict[str, str]:
        """Return name -> what is wrong, including the pictures that were left out when the source was opened."""
        return self._source.broken | {self._source.paths[i]: "cannot be decoded to its end" for i in self.numbers()}


@explicit
def order(count: int, batch_size: int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Choose the pictures of a step, int64 [batch_size], out of `count`, by a run's seed."""
    number = tf.cast(step, tf.int64) * batch_size + tf.range(batch_size, dtype=tf.int64)
    epoch = tf.cast(number // count, tf.int32)
    seeds = tf.stack([tf.fill([batch_size], SHUFFLE_KEY), tf.fill([batch_size], seed), epoch], 1)
    largest = tf.fill([batch_size], tf.constant(count - 1, tf.int64))
    # The op behind tf.random.experimental.index_shuffle, whose Python part refuses a seed a row (TensorFlow 2.21).
    return tf.raw_ops.RandomIndexShuffle(index=number % count, seed=seeds, max_index=largest, rounds=4)


def in_turn(count: int, batch_size: int, step: tf.Tensor) -> tf.Tensor:
    """Choose the items of a step, int64 [batch_size], one after the other, and at the end from the beginning."""
    return (tf.cast(step, tf.int64) * batch_size + tf.range(batch_size, dtype=tf.int64)) % count


def batch_too_large(batch_size: int, source: AnySource) -> UserError:
    """Make the error for a batch that the source cannot fill."""
    return UserError(
        f"--batch-size {batch_size} is given, but {source.name} has {source.count} {source.items};"
        " give from 1 to that many"
    )


def training(
    source: AnySource,
    size: int,
    batch_size: int,
    seed: int,
    start: int = 0,
    make: Callable[[dict[str, tf.Tensor], tf.Tensor], Any] = lambda batch, seed: _without_index(batch),
    broken: BrokenPictures | None = None,
    cache_memory: int = cache.MEMORY,
    reflect: bool = True,
    verbose: int = 1,
    crop: bool = True,
) -> tf.data.Dataset:
    """Make an endless stream of batches of randomly cropped pictures, from step `start` on.

    A source of clips gives a random frame of each as its picture, and its record: see
    `tfssl.pipelines.clips.clip_records`. A text gives passages, one after the other, in place of pictures.

    Args:
      size: side of the crops, pixels.
      seed: the run's; 32 bit.
      make: what is made of a batch {"image": uint8 [B, S, S, 3]}, of clips with "clip": string [B] too, and its seed
        int32 [2], in the graph. What it does not read of a batch is not computed. With "index" int64 [B]: the numbers
        of the pictures that are in it, which what is made of it where nothing is given lacks.
      broken: where pictures that cannot be decoded are noted. Their rows are filled with other pictures of the batch.
      cache_memory: bytes that decoded pictures may take: see `tfssl.pipelines.decoding.cache`.
        0 to decode anew each time.
      reflect: whether small pictures get a reflected border: see `tfssl.pipelines.decoding.random_crops`.
      verbose: 0 to say nothing while pictures are decoded into memory: see `cache.training_crops`.
      crop: whether crops are random; else it is the centred square, decoded anew each time.

    Raises:
      UserError: a batch larger than the source.
    """
    if not 1 <= batch_size <= source.count:
        raise batch_too_large(batch_size, source)
    read = source.crop_reader(size, cache_memory, reflect, verbose) if crop else _squares(source, size)
    read = explicit(read)

    def batch(step: tf.Tensor) -> Any:
        step_seed = tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32)])
        crop_seed, task_seed = tf.unstack(tf.random.split(step_seed, 2))
        index = (
            order(source.count, batch_size, seed, step) if source.shuffled else in_turn(source.count, batch_size, step)
        )
        parts, valid = read(index, crop_seed)
        if broken is not None and source.may_break:
            broken.mark(index, valid)
        shown = _rows_shown(valid)
        if "image" in parts:
            images = parts["image"]
            parts["image"] = tf.cond(tf.reduce_all(valid), lambda: images, lambda: tf.gather(images, shown))
        if "box" in parts:  # where each crop was cut: see `sources.regions`
            parts["box"] = tf.gather(parts["box"], shown)
        parts["index"] = tf.gather(index, shown)
        return make({k: tf.ensure_shape(v, [batch_size, *v.shape[1:]]) for k, v in parts.items()}, task_seed)

    steps = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
    return steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _without_index(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: part for name, part in batch.items() if name != "index"}


def _squares(source: AnySource, size: int) -> CropReader:
    read = source.picture_reader(size, 0.5)

    def squares(index: tf.Tensor, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        del seed
        images, valid = read(index)
        return {"image": images}, valid

    return squares


@explicit
def _rows_shown(valid: tf.Tensor) -> tf.Tensor:
    """Return the row that stands in each place, int32 [B]: for one that is not valid a valid one, spread evenly.

    A black picture would teach nonsense.
    """
    good = tf.cast(tf.where(valid)[:, 0], tf.int32)
    count = tf.maximum(tf.size(good), 1)
    good = tf.cond(tf.size(good) > 0, lambda: good, lambda: tf.constant([0]))
    place = tf.range(tf.size(valid))
    return tf.where(valid, place, tf.gather(good, place % count))


def sample(source: AnySource, count: int, seed: int) -> AnySource:
    """Draw at most `count` pictures or clips of the source by the seed: listings are in order of the classes."""
    numbers = np.random.default_rng(seed).permutation(source.count)[:count]
    return source.subset(numbers, f"a sample of {source.name}")


def plain(source: AnySource, size: int, batch_size: int, start: int = 0, at: float = 0.5) -> tf.data.Dataset:
    """Make one ordered pass over whole pictures, as evaluation and serving see them; of a clip, one frame.

    Args:
      source: what to read.
      size: side of the squares, pixels.
      batch_size: pictures or clips at once.
      start: the one to begin with.
      at: which frame of a clip, from 0 (the first) to below 1; the one in the middle.

    Returns:
      {"image": uint8 [b, S, S, 3], "valid": bool [b], "index": int64 [b]}; the last batch may be short; rows that are
      not valid are black.
    """

    def batch(index: tf.Tensor) -> dict[str, tf.Tensor]:
        images, valid = read(index)
        return {"image": images, "valid": valid, "index": index}

    read = source.picture_reader(size, at)
    return _in_order(start, source.count, batch_size, batch)


def plain_sound(source: AnySource, samples: int, batch_size: int, start: int = 0) -> tf.data.Dataset:
    """Make one ordered pass over the clips that have sound, from number `start` on: the window in the middle.

    Returns:
      {"sound": float32 [b, samples], -1..1, "index": int64 [b]}; the last batch may be short.

    Raises:
      UserError: no clip has sound.
    """
    read = source.sound_reader(samples)
    heard = tf.constant(np.flatnonzero(source.has_sound), tf.int64)

    def batch(place: tf.Tensor) -> dict[str, tf.Tensor]:
        index = tf.gather(heard, place)
        return {"sound": read(index), "index": index}

    return _in_order(start, int(heard.shape[0]), batch_size, batch)


def _in_order(start: int, count: int, batch_size: int, batch: Callable[[tf.Tensor], Any]) -> tf.data.Dataset:
    numbers = tf.data.Dataset.range(start, count).batch(batch_size)
    return numbers.map(explicit(batch), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(
        tf.data.AUTOTUNE
    )
