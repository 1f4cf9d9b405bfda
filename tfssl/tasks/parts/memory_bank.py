"""A memory of what the network said of every picture: the negatives of a loss, far more than a batch has."""

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts import replicas
from tfssl.tasks.parts.agreement import LEAST_LENGTH, precise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remembering(PretextTask):
    """A task that may have a memory bank. As of opponents, the model of a run holds it, and not the head.

    So a solver, an export and a run that begins with these weights are the network alone; a checkpoint has the bank.
    """

    @abc.abstractmethod
    def make_bank(self) -> "MemoryBank | None":
        """Make a new bank, under the current strategy; None where the settings ask for none."""


def make_banks(tasks: Iterable[PretextTask]) -> dict[str, "MemoryBank"]:
    """Make the banks of prepared tasks, by task name; of those that have one."""
    made = {task.name: task.make_bank() for task in tasks if isinstance(task, Remembering)}
    return {name: bank for name, bank in made.items() if bank is not None}


class MemoryBank(keras.layers.Layer):
    """Unit vectors of all pictures of a source, each a moving average (Wu et al. 2018, arXiv 1805.01978; "PIRL").

    It takes the place of a loss: `loss` compares both rows of a picture with its own entry, and with entries of others
    that are drawn anew for each step; then `update` moves the entry towards what the network said now. So does VISSL's
    `nce_loss_with_memory` (`loss_type: cross_entropy`), but for what is drawn: here for all rows of a step together,
    one multiplication of matrices in place of N vectors a row.

    As there, an entry is random before its picture came first, so the first epoch pulls each picture to a direction of
    its own, and half of it remains in the second. To put the picture's own row in its place until then was tried, and
    is not better: what a new network says of all pictures is much the same, and so were all entries. After 120 steps
    of 64 out of 640 toy pictures, two seeds, the partner was found for 2.2 and 4.4 % so, and for 4.6 and 4.4 % with
    random entries.

    Answer: int32 [2B, 4]: how many rows from here the partner stands (`agreement.partners`), the number of the picture
      in the source (-1 where that is not known, as of a batch without "index": such rows do not count), and the two
      numbers of the seed, the same in all rows. Prediction: float [2B, D], the picture itself in even rows.

    All is float32, or float64 where the network is, whatever its precision. A bank is the same on all replicas: each
    writes the rows of all.

    Args:
      pictures: of the source, above 0.
      numbers: D.
      negatives: how many entries are drawn, with replacement, for a step; with as many as there are pictures, or more,
        all are taken, each once.
      temperature: what cosines are divided by.
      momentum: part of an entry that stays, 0 to below 1.
    """

    def __init__(self, pictures: int, numbers: int, negatives: int, temperature: float, momentum: float, **kwargs: Any):
        super().__init__(**{"dtype": precise()} | kwargs)
        self.negatives, self.temperature, self.momentum = min(negatives, pictures), temperature, momentum
        # Every replica makes the same update.
        settings = {"trainable": False, "aggregation": "only_first_replica"}
        self.vectors = self.add_weight((pictures, numbers), UnitVectors(), name="vectors", **settings)
        self.built = True

    def loss(self, answer: tf.Tensor, prediction: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """Return the cross-entropy of own entries among others, mean over rows, divided by the count of replicas.

        Both rows of a picture count alike, as with the paper's weight of 0.5. Own entries are nobody's own negative.

        Args:
          answer, prediction: as of the class.
          weight: [2B].
        """
        rows = self._rows(prediction)
        number = answer[:, 1]
        entry = tf.gather(self.vectors.value, tf.maximum(number, 0))
        drawn = self._draw(answer[0, 2:4])
        logits = tf.matmul(rows, tf.gather(self.vectors.value, drawn), transpose_b=True) / self.temperature
        others = tf.where(number[:, None] == drawn[None, :], logits.dtype.min, logits)
        own = tf.reduce_sum(rows * entry, 1) / self.temperature
        each = tf.reduce_logsumexp(tf.concat([own[:, None], others], 1), 1) - own
        total = tf.reduce_mean(each * tf.cast(weight, each.dtype) * tf.cast(number >= 0, each.dtype))
        return total / tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, total.dtype)

    def update(self, answer: tf.Tensor, prediction: tf.Tensor) -> None:
        """Move the entries of the step's pictures, on all replicas together, to what the network says of them now.

        Of a picture that is in the batch twice the first counts. One whose row is not finite stays as it was: half
        precision skips such a step.
        """
        rows, _ = replicas.gather(tf.stop_gradient(self._rows(prediction)[::2]))
        # Numbers of pictures are exact in float64, and not in what a float32 sum over replicas makes of them.
        of_all, _ = replicas.gather(tf.cast(answer[::2, :2], tf.float64))
        away, number = tf.unstack(tf.cast(of_all, tf.int32), axis=1)
        place = tf.maximum(number, 0)
        before = tf.gather(self.vectors.value, place)
        now = tf.math.l2_normalize(self.momentum * before + (1 - self.momentum) * rows, -1, LEAST_LENGTH)
        counts = (away != 0) & (number >= 0) & tf.reduce_all(tf.math.is_finite(now), 1)
        # Adding nothing where a row does not count: each entry gets one row at most, whatever the order.
        difference = tf.where(counts[:, None], now - before, 0)
        self.vectors.value.scatter_add(tf.IndexedSlices(difference, place, tf.constant(tuple(self.vectors.shape))))

    def _rows(self, prediction: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(tf.cast(prediction, self.compute_dtype), -1, LEAST_LENGTH)

    def _draw(self, seed: tf.Tensor) -> tf.Tensor:
        """Return the numbers of the entries that a step compares with, int32 [negatives]."""
        pictures = self.vectors.shape[0]
        if self.negatives == pictures:
            return tf.range(pictures)
        return tf.random.stateless_uniform([self.negatives], seed, 0, pictures, tf.int32)


class UnitVectors(keras.initializers.RandomNormal):
    """Rows of length 1, of all directions alike, as a normal distribution has them."""

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.math.l2_normalize(super().__call__(shape, dtype), -1, LEAST_LENGTH)


def with_number(answer: tf.Tensor, batch: Mapping[str, tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    """Make the answer that a bank reads, int32 [2B, 4], of that of two views, int32 [2B], and the seed int32 [2]."""
    count = batch["image"].shape[0]
    number = tf.cast(batch["index"], tf.int32) if "index" in batch else tf.fill([count], -1)
    number = tf.ensure_shape(number, [count])
    return tf.concat([tf.stack([answer, tf.repeat(number, 2)], 1), tf.tile(seed[None], [2 * count, 1])], 1)
