"""Each task's loss against the weights of its rows: what training, the balance of tasks and the log are made of."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfssl.tasks.base import PretextTask


def task_losses(
    tasks: Sequence[PretextTask],
    answers: Mapping[str, tf.Tensor],
    predictions: Mapping[str, tf.Tensor],
    weights: Mapping[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Return task name -> its loss, float32 [], the mean over rows, divided by the count of replicas.

    Keras's own training step gets the same from the losses that `compile_model` gives it.

    Args:
      answers, predictions, weights: by task name; of these tasks, or of more.
    """
    return {
        task.name: task.make_loss()(answers[task.name], predictions[task.name], weights[task.name]) for task in tasks
    }
