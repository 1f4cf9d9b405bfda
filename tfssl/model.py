"""One Keras model: every task's head on the shared trunk."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.task import Encoders, PretextTask


def make_model(tasks: Sequence[PretextTask], encoders: Encoders, element_spec: Any) -> keras.Model:
    """The model that solves the puzzles of all tasks.

    Args:
      tasks: prepared tasks.
      encoders: "image" -> Trunk.
      element_spec: of a dataset of `tfssl.puzzles`.

    Returns:
      A functional model from {task name: puzzle} to {task name: answer}; works with plain `fit`.
    """
    inputs = {task.name: make_inputs(task.name, element_spec[0][task.name]) for task in tasks}
    return keras.Model(inputs, {task.name: task.head(encoders, inputs[task.name]) for task in tasks}, name="pretext")


def make_inputs(name: str, puzzle: Any) -> Any:
    """Keras inputs for the puzzles of a task: one called NAME, or where the puzzle is a dict, NAME_KEY for each."""
    if isinstance(puzzle, dict):
        return {key: make_inputs(f"{name}_{key}", part) for key, part in puzzle.items()}
    return keras.Input(puzzle.shape[1:], dtype=puzzle.dtype, name=name)


def compile_model(
    model: keras.Model, tasks: Sequence[PretextTask], optimizer: keras.optimizers.Optimizer, jit_compile: bool
) -> None:
    """Losses, weights and metrics by task name; metrics are called TASK_METRIC, with one task as with several."""
    model.compile(
        optimizer,
        loss={task.name: task.loss() for task in tasks},
        loss_weights={task.name: task.weight for task in tasks},
        weighted_metrics={task.name: _named(task, prefix=len(tasks) == 1) for task in tasks},
        jit_compile=jit_compile,
    )


def build_metrics(model: keras.Model, element_spec: Any) -> None:
    """Makes the variables of the metrics now; Keras 3.15 makes them at the first batch, too late to restore them.

    Not under a `tf.distribute` strategy, where Keras does it before the first epoch begins.
    """
    _, answers, weights = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), element_spec)
    predictions = {name: tf.zeros([len(weights[name]), *y.shape[1:]], y.dtype) for name, y in model.output.items()}
    model.compute_metrics(None, answers, predictions, weights)
    model.reset_metrics()


def _named(task: PretextTask, prefix: bool) -> list[keras.metrics.Metric]:
    # Keras puts the output's name before a metric's only where there are several outputs.
    if not prefix:
        return task.metrics()
    return [
        type(metric).from_config(metric.get_config() | {"name": f"{task.name}_{metric.name}"})
        for metric in task.metrics()
    ]


def make_optimizer(model: keras.Model, momentum: float, weight_decay: float) -> keras.optimizers.SGD:
    """SGD with Nesterov momentum; weight decay on kernels only, not on batch norm and biases. Not built yet."""
    optimizer = keras.optimizers.SGD(
        learning_rate=0.0, momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay or None
    )
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
