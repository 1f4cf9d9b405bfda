"""What tasks count beside each other: how large each is before training, and what its loss is divided by.

Losses of one size need not pull alike. So there are two measures: the losses before training, and the gradients that
they send into the shared encoders. Gradients say nothing before the first steps, as heads that choose begin at zero,
and little changes later: on Caltech-101 at 64 px (`resnet10(width=16)`) the gradient of colorization on the trunk is
1.8, 1.7, 2.2, 1.8 and 2.0 times that of relative_position after 60, 100, 150, 300 and 600 steps, where its loss is 2.0
to 1.8 times as large. So they are measured once, and not anew while training.

Two ways to renew weights while training were tried there, were not better in 300 steps, and are not here; figures are
in docs/tasks.md. Weights by uncertainty (Kendall et al. 2018, arXiv 1705.07115: the sum of exp(-s) L + s / 2 over
losses of choices, s learnt as weights are, without decay) settle within 60 steps where the derivative by s is 0: a loss
counts 1 / (2 L). So it is divided by its size, as with "initial", and all losses together count .37 in place of 2.3, as
if the learning rate were so much smaller. Weights renewed each 10 steps in the manner of GradNorm (Chen et al. 2018,
arXiv 1711.02257: the task's relative loss to the power of 1.5, over the norm of its gradient on the encoders, both
averaged with momentum .9, without an optimizer for them) are 5 to 1 after 30 steps, and 1.2 to 1.4 to 1 from step 160.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.multitask.losses import task_losses
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.tasks.parts.memory_bank import MemoryBank, make_banks

STEPS = 4
SETTLING = 100
"""Steps before gradients are measured. Heads that choose begin at zero and send nothing into the trunk at first."""


def initial_losses(
    model: keras.Model, tasks: Sequence[PretextTask], dataset: tf.data.Dataset, steps: int = STEPS
) -> dict[str, float]:
    """Measure each task's loss before training, mean of `steps` batches, each normalised by its own statistics.

    The moving statistics of the model's batch norm are changed: give it a model that is used for nothing else.

    Args:
      model: the model of all tasks, not trained.
      dataset: a dataset of (puzzles, answers, weights), each a dict by task name.
    """
    sums, banks = dict.fromkeys([task.name for task in tasks], 0.0), make_banks(tasks)
    for batch in dataset.take(steps):
        for name, loss in _losses(model, tasks, batch, banks).items():
            sums[name] += float(loss) / steps
    return sums


def settle(model: keras.Model, dataset: tf.data.Dataset, peak: float, steps: int = SETTLING) -> None:
    """Train a compiled model for a few steps, the learning rate rising to `peak` in the first half of them."""
    for step, batch in enumerate(dataset.take(steps), 1):
        model.optimizer.learning_rate = peak * min(1.0, 2 * step / steps)
        model.train_on_batch(*batch)


def gradients(
    model: keras.Model,
    encoders: Encoders,
    tasks: Sequence[PretextTask],
    dataset: tf.data.Dataset,
    steps: int = STEPS,
) -> dict[str, float]:
    """Measure the norm of each task's gradient by the weights of all shared encoders, mean of `steps` batches.

    Gradients by a task's own head do not count: other tasks never meet them.
    """
    shared = [variable for encoder in encoders.values() for variable in encoder.body.trainable_variables]
    sums = dict.fromkeys([task.name for task in tasks], 0.0)
    plan = getattr(model, "plan", None)
    banks = make_banks(tasks) if plan is None else plan.banks
    for batch in dataset.take(steps):
        with tf.GradientTape(persistent=True) as tape:
            losses = _losses(model, tasks, batch, banks)
        for name, loss in losses.items():
            gradient = tape.gradient(loss, shared, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            sums[name] += float(tf.linalg.global_norm(gradient)) / steps
    return sums


def _losses(
    model: keras.Model, tasks: Sequence[PretextTask], batch: Any, banks: Mapping[str, MemoryBank]
) -> dict[str, tf.Tensor]:
    puzzles, answers, weights = batch
    predictions = model(puzzles, training=True)
    return task_losses(tasks, answers, predictions, weights, banks)


def of_losses(losses: Mapping[str, float]) -> dict[str, float]:
    """Return divisors with which all losses are of one size and their sum is what it was.

    Args:
      losses: the loss of each task before training. One that is 0 (no row counts) is left as it is.
    """
    mean = sum(losses.values()) / len(losses)
    return {name: loss / mean if loss > 0 else 1.0 for name, loss in losses.items()}


def of_gradients(norms: Mapping[str, float]) -> dict[str, float]:
    """Return divisors with which all gradients on the encoders are of one size, and the mean weight of the losses is 1.

    So are the weights of GradNorm (Chen et al. 2018, arXiv 1711.02257) scaled, which continues to change them while
    training: here they stay.

    Args:
      norms: the norm of each task before training. One that is 0 (no row counts) is left as it is.
    """
    sized = [norm for norm in norms.values() if norm > 0]
    harmonic = len(sized) / sum(1 / norm for norm in sized) if sized else 1.0
    return {name: norm / harmonic if norm > 0 else 1.0 for name, norm in norms.items()}
