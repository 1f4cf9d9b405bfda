"""Two rows of a picture, side by side, that must agree: contrasted with all other rows of the batch."""

from typing import Any

import keras
import tensorflow as tf

from tfssl.tasks.parts import replicas

LEAST_LENGTH = 1e-12


def precise() -> str:
    """Return the dtype of what must not be rounded: float32 whatever the network computes in, or float64 as it does."""
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def partners(counts: tf.Tensor) -> tf.Tensor:
    """Return the answer of pictures with two rows each, int32 [2B]: how many rows from here the partner stands.

    Args:
      counts: bool [B]; both rows of those that do not count get 0.
    """
    away = tf.tile(tf.constant([1, -1], tf.int32), [counts.shape[0]])
    return away * tf.repeat(tf.cast(counts, tf.int32), 2)


def first_of_each(index: tf.Tensor) -> tf.Tensor:
    """Say which places of numbers int64 [B] are the first with their number: bool [B].

    A picture that stands in for a broken one, or comes again where an epoch ends, is in a batch twice. It would be
    pushed away from itself.
    """
    place = tf.range(tf.size(index))
    earlier = (index[:, None] == index[None, :]) & (place[None, :] < place[:, None])
    return ~tf.reduce_any(earlier, 1)


class Similarities:
    """Cosines of rows with the rows of all replicas, and which of these are whose partner.

    Attributes:
      cosines: [n, N].
      partner: int32 [n], the column of each row's partner, its own where it has none.
      compared: bool [n, N], the columns that count: all but a row itself, and those that have no partner; with `across`
        those of the other side alone.
      counts: whether a row counts, [n], 0 or 1.
    """

    def __init__(self, y_true: tf.Tensor, y_pred: tf.Tensor, across: bool):
        answer = tf.convert_to_tensor(y_true)
        # Of a task with a memory bank an answer has more columns: see `memory_bank.MemoryBank`.
        away = tf.cast(answer if answer.shape.rank == 1 else answer[:, 0], y_pred.dtype)
        rows = tf.math.l2_normalize(y_pred, -1, LEAST_LENGTH)
        columns, first = replicas.gather(rows)
        away_of_all, _ = replicas.gather(away)
        own = first + tf.range(tf.shape(rows)[0])
        self.counts = tf.abs(away)
        self.cosines = tf.matmul(rows, columns, transpose_b=True)
        self.partner = own + tf.cast(away, tf.int32)
        is_own = own[:, None] == tf.range(tf.shape(columns)[0])[None, :]
        opposite = away[:, None] * away_of_all[None, :] < 0
        self.compared = opposite if across else (away_of_all != 0)[None, :] & ~is_own

    def of_partner(self, values: tf.Tensor) -> tf.Tensor:
        """Take the partner's of values [n, N]: [n]."""
        return tf.gather(values, self.partner, axis=1, batch_dims=1)


class NTXent(keras.losses.Loss):
    """Normalised cross-entropy of the partner among all rows of the batch, on all replicas (Chen et al. 2020).

    Answer: int [n] of `partners`. Prediction: float [n, D]. Cosines, over the temperature, and their softmax are
    float32 or wider. A row whose answer is 0 is nobody's negative, and its own loss is 0.

    Args:
      temperature: above 0.
      across: whether rows are compared with those of the other side alone: of two heads, what one gives is more alike
        than what both give, whatever they were given.
    """

    def __init__(self, temperature: float, across: bool = False, **kwargs: Any):
        super().__init__(**{"dtype": precise()} | kwargs)
        self.temperature, self.across = temperature, across

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        similar = Similarities(y_true, y_pred, self.across)
        logits = similar.cosines / self.temperature
        # Finite, or the gradient of a row without any column would be none.
        among = tf.where(similar.compared, logits, logits.dtype.min)
        return similar.counts * (tf.reduce_logsumexp(among, 1) - similar.of_partner(logits))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"temperature": self.temperature, "across": self.across}


class PartnerAccuracy(keras.metrics.Mean):
    """Share of rows whose partner is the nearest row of the batch, on all replicas, by cosine.

    Of N rows that count chance is 1 / (N - 1), or 2 / N where rows are compared with those of the other side alone. Of
    several that are as near, none is the nearest: where all embeddings are the same nothing is right.

    Args:
      across: as of `NTXent`.
    """

    def __init__(self, across: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._across = across

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        del sample_weight  # rows that do not count say so in their answer
        similar = Similarities(y_true, tf.cast(y_pred, precise()), self._across)
        wanted = similar.of_partner(similar.cosines)
        others = similar.compared & (tf.range(tf.shape(similar.cosines)[1])[None, :] != similar.partner[:, None])
        nearest = tf.reduce_max(tf.where(others, similar.cosines, -2.0), 1)
        super().update_state(tf.cast(wanted > nearest, tf.float32), similar.counts)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"across": self._across}
