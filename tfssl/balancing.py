"""What tasks count beside each other: how large each is before training, and what its loss is divided by.

Losses of one size need not pull alike: on CIFAR-10 the gradients of two tasks on the trunk differ by 18 where their
losses differ by 1.4. So there are two measures: the losses, and the gradients that they send into the shared encoders.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.task import Encoders, PretextTask

BALANCES = ("initial", "gradient", "none")
STEPS = 4


def scales(
    balance: str, model: keras.Model, encoders: Encoders, tasks: Sequence[PretextTask], dataset: Iterable[Any]
) -> dict[str, float]:
    """What the loss of each task is divided by, from a few batches before training.

    The moving statistics of the model's batch norm are changed: give it a model that is used for nothing else.

    Args:
      balance: "initial" or "gradient", see `tfssl.pretrain`.
      model: of all tasks, not trained.
      encoders: that it shares.
      dataset: of (puzzles, answers, weights), each a dict by task name.
    """
    if balance == "initial":
        return of_losses(initial_losses(model, tasks, dataset, STEPS))
    return of_gradients(initial_gradients(model, encoders, tasks, dataset, STEPS))


def initial_losses(
    model: keras.Model, tasks: Sequence[PretextTask], dataset: Iterable[Any], steps: int
) -> dict[str, float]:
    """What each task's loss is before training, mean of `steps` batches, each normalised by its own statistics."""
    sums = dict.fromkeys([task.name for task in tasks], 0.0)
    for batch in tf.data.Dataset.take(dataset, steps):
        for name, loss in _losses(model, tasks, batch).items():
            sums[name] += float(loss) / steps
    return sums


def initial_gradients(
    model: keras.Model, encoders: Encoders, tasks: Sequence[PretextTask], dataset: Iterable[Any], steps: int
) -> dict[str, float]:
    """The norm of each task's gradient by the weights of all shared encoders before training, mean of `steps` batches.

    Gradients by a task's own head do not count: other tasks never meet them.
    """
    shared = [variable for encoder in encoders.values() for variable in encoder.body.trainable_variables]
    sums = dict.fromkeys([task.name for task in tasks], 0.0)
    for batch in tf.data.Dataset.take(dataset, steps):
        with tf.GradientTape(persistent=True) as tape:
            losses = _losses(model, tasks, batch)
        for name, loss in losses.items():
            gradients = tape.gradient(loss, shared, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            sums[name] += float(tf.linalg.global_norm(gradients)) / steps
    return sums


def _losses(model: keras.Model, tasks: Sequence[PretextTask], batch: Any) -> dict[str, tf.Tensor]:
    puzzles, answers, weights = batch
    predictions = model(puzzles, training=True)
    return {
        task.name: task.make_loss()(answers[task.name], predictions[task.name], weights[task.name]) for task in tasks
    }


def of_losses(losses: Mapping[str, float]) -> dict[str, float]:
    """Divisors with which all losses are of one size and their sum is what it was.

    Args:
      losses: of each task before training. One that is 0 (no row counts) is left as it is.
    """
    mean = sum(losses.values()) / len(losses)
    return {name: loss / mean if loss > 0 else 1.0 for name, loss in losses.items()}


def of_gradients(norms: Mapping[str, float]) -> dict[str, float]:
    """Divisors with which all gradients on the encoders are of one size, and the mean of what losses count is 1.

    So are the weights of GradNorm (Chen et al. 2018, arXiv 1711.02257) scaled, which goes on to change them while
    training: here they stay.

    Args:
      norms: of each task before training. One that is 0 (no row counts) is left as it is.
    """
    sized = [norm for norm in norms.values() if norm > 0]
    harmonic = len(sized) / sum(1 / norm for norm in sized) if sized else 1.0
    return {name: norm / harmonic if norm > 0 else 1.0 for name, norm in norms.items()}
