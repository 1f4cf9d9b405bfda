"""Each task's loss against the weights of its rows: what training, the balance of tasks and the log are made of."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts.memory_bank import MemoryBank


def task_losses(
    tasks: Sequence[PretextTask],
    answers: Mapping[str, tf.Tensor],
    predictions: Mapping[str, tf.Tensor],
    weights: Mapping[str, tf.Tensor],
    banks: Mapping[str, MemoryBank],
) -> dict[str, tf.Tensor]:
    """Return task name -> its loss, float32 [], the mean over rows, divided by the count of replicas.

    Keras's own training step gets the same from the losses that `compile_model` gives it, where there is no bank.

    Args:
      answers, predictions, weights: by task name; of these tasks, or of more.
      banks: of the tasks that have one, whose loss it is.
    """
    losses = {task.name: banks[task.name].loss if task.name in banks else task.make_loss() for task in tasks}
    return {name: loss(answers[name], predictions[name], weights[name]) for name, loss in losses.items()}
