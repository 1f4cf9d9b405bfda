"""The training step of `tfssl.tasks.parts.many_updates`: many updates, one after the other, each of few rows."""

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from tfssl.multitask.model import PretextModel

LAID_OUT = 4
"""Updates of a step on several replicas: each takes seconds to trace."""


def train_step(model: "PretextModel", data: Any) -> dict[str, Any]:
    """Train on the puzzles of a step; the loss that is logged is the mean over right answers, negatives included.

    Each update has the gradient of the sum of its losses, at the optimizer's learning rate. Its rows are from all over
    the step, as neighbours are of one text and have the same words. On one replica updates are a loop within the graph,
    of the rows that count; on several, which cannot agree within a loop, they are laid out one behind the other, each
    of its part of every replica's rows: at most `LAID_OUT`, which are larger then.
    """
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    (update,) = model.plan.updates  # type: ignore[union-attr]
    task: Any = update.tasks[0]
    puzzle, answer, weight = (part[task.name] for part in data)
    variables = update.model.trainable_variables
    size = max(1, task.rows_an_update // replicas)
    if replicas > 1:
        size = max(size, -(-weight.shape[0] // LAID_OUT))

    def learn(rows: tf.Tensor) -> tf.Tensor:
        some, right, counts = tf.nest.map_structure(lambda part: tf.gather(part, rows), (puzzle, answer, weight))
        return task.learn(variables, model.optimizer, some, right, counts)

    if replicas == 1:
        filled = tf.cast(tf.where(tf.reduce_any(weight > 0, tf.range(1, tf.rank(weight))))[:, 0], tf.int32)
        updates = (tf.size(filled) + size - 1) // size
        _, total = tf.while_loop(
            lambda number, total: number < updates,
            lambda number, total: (number + 1, total + learn(filled[number::updates])),
            (tf.constant(0), tf.constant(0.0)),
        )
    else:
        updates = -(-weight.shape[0] // size)
        total = tf.add_n([learn(tf.range(number, weight.shape[0], updates)) for number in range(updates)])
    count = tf.reduce_sum(weight * answer)
    model._loss_tracker.update_state(tf.math.divide_no_nan(total, count), sample_weight=count)
    return {metric.name: metric.result() for metric in model.metrics if metric is model._loss_tracker}
