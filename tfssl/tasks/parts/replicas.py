"""Rows of all replicas in one loss: what compares pictures of a batch with each other must see all of the batch."""

import tensorflow as tf


def gather(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | int]:
    """Gather rows of all replicas, with their gradients.

    Each replica gets all rows and counts its own part of the loss. Gradients go back to the replica whose rows they
    are, summed over replicas: so the sum of what replicas send is the gradient of the whole loss, as on one replica
    with the joint batch. (`ReplicaContext.all_gather` would do; all_reduce of rows in their places has a gradient
    under every strategy, and embeddings are small.)

    Args:
      rows: float [n, ...], n the same on all replicas.

    Returns:
      float [N, ...], those of the first replica first; and the number of the first row of this replica among them.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:  # none while Keras looks at shapes
        return rows, 0
    replicas, mine = context.num_replicas_in_sync, context.replica_id_in_sync_group
    place = tf.one_hot(mine, replicas, dtype=rows.dtype)
    placed = tf.tensordot(place, rows, 0)  # [replicas, n, ...]
    gathered = context.all_reduce(tf.distribute.ReduceOp.SUM, placed)
    return tf.reshape(gathered, [-1, *rows.shape[1:]]), mine * tf.shape(rows)[0]
