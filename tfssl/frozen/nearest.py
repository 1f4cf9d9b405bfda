"""A vote of nearest neighbours, by cosine similarity."""

import numpy as np
import tensorflow as tf


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.float32),
    ],
    autograph=False,
)
def _votes(
    train: tf.Tensor,
    labels: tf.Tensor,
    test: tf.Tensor,
    classes: tf.Tensor,
    neighbours: tf.Tensor,
    temperature: tf.Tensor,
) -> tf.Tensor:
    similarity, nearest = tf.math.top_k(tf.matmul(test, train, transpose_b=True), neighbours, sorted=False)
    weights = tf.exp((similarity - 1.0) / temperature)
    votes = tf.one_hot(tf.gather(labels, nearest), classes) * weights[..., tf.newaxis]
    votes = tf.reduce_sum(votes, 1)
    return votes / tf.reduce_sum(votes, 1, keepdims=True)


def _unit(features: np.ndarray) -> tf.Tensor:
    return tf.math.l2_normalize(tf.cast(features, tf.float32), 1)


def nearest_neighbours(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    classes: int,
    neighbours: int = 20,
    temperature: float = 0.07,
    chunk: int = 512,
) -> np.ndarray:
    """Take a weighted vote of the nearest neighbours in cosine similarity s, each with the weight exp(s / temperature).

    As Wu et al. 2018 (arXiv 1805.01978).

    Args:
        train: float16 or float32 [N, D].
        labels: int32 [N], 0 .. classes - 1.
        test: float16 or float32 [M, D].
        classes: how many classes.
        neighbours: k; all of `train` where that has fewer rows.

    Returns:
        float32 [M, classes]: each class's share of the vote, rows sum to 1.
    """
    bank, answers = _unit(train), tf.convert_to_tensor(labels, tf.int32)
    k = tf.constant(min(neighbours, len(train)))
    shares = [
        _votes(bank, answers, _unit(test[start : start + chunk]), tf.constant(classes), k, tf.constant(temperature))
        for start in range(0, len(test), chunk)
    ]
    return np.concatenate([share.numpy() for share in shares])
