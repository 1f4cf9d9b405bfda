"""Batches: order, seeds, one decode for all tasks, and broken pictures counted.

Example g of a stream is picture `index_shuffle(g mod N)` of epoch g // N: a full shuffle with no buffer, and a stream
that starts at any step at no cost. The seed of a batch is (run seed, step). So a run gives the same batches whatever
the parallelism, and one that was killed goes on with exactly those that it would have seen.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.pipelines import cache, pixels
from tfssl.pipelines.sources import Source

SHUFFLE_KEY = 498247692  # what tf.random.experimental.index_shuffle puts before its seed


class BrokenPictures:
    """Which pictures of a source turned out broken while they were decoded; filled from inside the graph."""

    def __init__(self, source: Source):
        self._source = source
        with tf.device("CPU"):
            self._marks = tf.Variable(tf.zeros([source.count], tf.bool), trainable=False, name="broken_pictures")

    def mark(self, index: tf.Tensor, valid: tf.Tensor) -> None:
        """Remembers the pictures (index int64 [B]) that are not valid (bool [B])."""

        def note() -> tf.Tensor:
            wrong = tf.boolean_mask(index, ~valid)
            self._marks.scatter_nd_update(wrong[:, None], tf.ones_like(wrong, tf.bool))
            return tf.constant(True)

        tf.cond(tf.reduce_all(valid), lambda: tf.constant(False), note)

    def names(self) -> dict[str, str]:
        """Name -> what is wrong, those that were left out when the source was opened included."""
        found = np.flatnonzero(self._marks.numpy())
        return self._source.broken | {self._source.paths[i]: "cannot be decoded to its end" for i in found}


def order(count: int, batch_size: int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """int64 [batch_size]: the pictures of a step out of `count`, for a run's seed."""
    number = tf.cast(step, tf.int64) * batch_size + tf.range(batch_size, dtype=tf.int64)
    epoch = tf.cast(number // count, tf.int32)
    seeds = tf.stack([tf.fill([batch_size], SHUFFLE_KEY), tf.fill([batch_size], seed), epoch], 1)
    largest = tf.fill([batch_size], tf.constant(count - 1, tf.int64))
    # The op behind tf.random.experimental.index_shuffle, whose Python part refuses a seed a row (TensorFlow 2.21).
    return tf.raw_ops.RandomIndexShuffle(index=number % count, seed=seeds, max_index=largest, rounds=4)


def batch_too_large(batch_size: int, source: Source) -> UserError:
    """The error of a batch that the source cannot fill."""
    return UserError(
        f"--batch-size {batch_size} is given, but {source.name} has {source.count} pictures; give from 1 to that many"
    )


def training(
    source: Source,
    size: int,
    batch_size: int,
    seed: int,
    start: int = 0,
    make: Callable[[dict[str, tf.Tensor], tf.Tensor], Any] = lambda batch, seed: batch,
    broken: BrokenPictures | None = None,
    cache_memory: int = cache.MEMORY,
    reflect: bool = True,
) -> tf.data.Dataset:
    """An endless stream of batches of randomly cropped pictures, from step `start` on.

    Args:
      size: side of the crops, pixels.
      seed: the run's; 32 bit.
      make: what is made of a batch {"image": uint8 [B, S, S, 3]} and its seed int32 [2], in the graph.
      broken: where pictures that cannot be decoded are noted. Their rows are filled with other pictures of the batch.
      cache_memory: bytes that decoded pictures may take: see `tfssl.pipelines.cache`. 0 to decode anew each time.
      reflect: whether small pictures get a reflected border: see `pixels.training_crops`.

    Raises:
      UserError: a batch larger than the source.
    """
    if not 1 <= batch_size <= source.count:
        raise batch_too_large(batch_size, source)
    crops = cache.training_crops(source, size, cache_memory)

    def batch(step: tf.Tensor) -> Any:
        step_seed = tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32)])
        crop_seed, task_seed = tf.unstack(tf.random.split(step_seed, 2))
        index = order(source.count, batch_size, seed, step)
        images, valid = crops(index, crop_seed, reflect)
        if broken is not None:
            broken.mark(index, valid)
        return make({"image": tf.ensure_shape(_filled(images, valid), [batch_size, size, size, 3])}, task_seed)

    steps = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
    return steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _filled(images: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Rows that are not valid become copies of valid ones, spread evenly: a black picture would teach nonsense."""

    def fill() -> tf.Tensor:
        good = tf.cast(tf.where(valid)[:, 0], tf.int32)
        count = tf.maximum(tf.size(good), 1)
        good = tf.cond(tf.size(good) > 0, lambda: good, lambda: tf.constant([0]))
        place = tf.range(tf.size(valid))
        return tf.gather(images, tf.where(valid, place, tf.gather(good, place % count)))

    return tf.cond(tf.reduce_all(valid), lambda: images, fill)


def sample(source: Source, count: int, seed: int) -> Source:
    """At most `count` pictures of the source, drawn by the seed, as a source: listings are in order of the classes."""
    numbers = np.random.default_rng(seed).permutation(source.count)[:count]
    return source.subset(numbers, f"a sample of {source.name}")


def plain(source: Source, size: int, batch_size: int) -> tf.data.Dataset:
    """One ordered pass over whole pictures, as evaluation and serving see them.

    Returns:
      {"image": uint8 [b, S, S, 3], "valid": bool [b], "index": int64 [b]}; the last batch may be short; rows that are
      not valid are black.
    """
    reader = source.reader()

    def batch(index: tf.Tensor) -> dict[str, tf.Tensor]:
        rows, header = reader.rows(index)
        images, valid = pixels.centre_crops(reader.read, rows, header, size)
        return {"image": images, "valid": valid, "index": index}

    numbers = tf.data.Dataset.range(source.count).batch(batch_size)
    return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
