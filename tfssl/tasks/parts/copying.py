"""Copying by similarity: each place of a picture takes what stands at the places of others that look like it."""

from typing import Any

import keras
import tensorflow as tf

LEAST_SHARE = 1e-6
"""Probability that is added to that of each colour before the logarithm: the loss of a place is bounded."""


def copied(
    target: tf.Tensor,
    references: tf.Tensor,
    values: tf.Tensor,
    *,
    temperature: float = 1.0,
    most: int = 0,
    allowed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return what places of a target take from those of references: a mean, weighted by the softmax of similarities.

    The similarity of two places is the scalar product of their embeddings, divided by the root of its length, as in
    attention.

    Args:
      target: float32 [B, n, D], embeddings of n places.
      references: float32 [B, m, D], embeddings of m places, of all references together.
      values: float32 [B, m, C], what stands there.
      temperature: that of the softmax; towards 0 each place takes from the most similar only.
      most: how many of the most similar places count; 0 for all.
      allowed: bool [n, m], which places a place may take from, at least one each; all where None.

    Returns:
      float32 [B, n, C].
    """
    scale = temperature * float(target.shape[-1]) ** 0.5
    similarity = tf.matmul(target, references, transpose_b=True) / scale
    if allowed is not None:
        similarity = tf.where(allowed[None], similarity, similarity.dtype.min)
    if not most:
        return tf.matmul(tf.nn.softmax(similarity), values)
    best, places = tf.math.top_k(similarity, tf.minimum(most, tf.shape(similarity)[-1]))
    taken = tf.gather(values, places, batch_dims=1)
    return tf.reduce_sum(tf.nn.softmax(best)[..., None] * taken, 2)


@keras.saving.register_keras_serializable("tfssl")
class CopiedColours(keras.layers.Layer):
    """Embeddings [B, R + 1, h, w, D], the target's last, and the colours of the others, int [B, R, h, w].

    Gives the logarithms of probabilities of the target's colours, [B, h, w, K].

    Args:
      colours: K.
    """

    def __init__(self, colours: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.colours = colours

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        embedded, colours = inputs
        frames, height, width, length = embedded.shape[1:]
        places = height * width
        known = tf.one_hot(tf.reshape(colours, [-1, (frames - 1) * places]), self.colours, dtype=embedded.dtype)
        references = tf.reshape(embedded[:, :-1], [-1, (frames - 1) * places, length])
        target = tf.reshape(embedded[:, -1], [-1, places, length])
        shares = copied(target, references, known)
        return tf.reshape(tf.math.log(shares + LEAST_SHARE), [-1, height, width, self.colours])

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        embedded, _ = input_shape
        return (embedded[0], *embedded[2:4], self.colours)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"colours": self.colours}


class CopyError(keras.losses.Loss):
    """Cross entropy of each place's colour: answer int [B, h, w, 2], the first of both; logarithms [B, h, w, K]."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        wanted = tf.cast(y_true[..., 0], tf.int32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, tf.cast(y_pred, tf.float32))


class PlaceAccuracy(keras.metrics.Mean):
    """Share of places whose colour is right.

    Args:
      moved: only of places whose colour is another than in the newest reference.
      stays: measure taking what stood there in the newest reference, in place of what the network says.
    """

    def __init__(self, moved: bool = False, stays: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._moved, self._stays = moved, stays

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        wanted, before = tf.unstack(tf.cast(y_true, tf.int32), axis=-1)
        given = before if self._stays else tf.argmax(y_pred, -1, tf.int32)
        counts = tf.ones_like(wanted, tf.float32) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        if self._moved:
            counts *= tf.cast(wanted != before, tf.float32)
        super().update_state(tf.cast(given == wanted, tf.float32), tf.broadcast_to(counts, tf.shape(wanted)))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"moved": self._moved, "stays": self._stays}
