"""One Keras model: every task's head on the shared encoders, and its training step."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.multitask import many_updates
from tfssl.multitask.losses import task_losses
from tfssl.multitask.optimizers import Adam
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.tasks.parts.adversarial import AdversarialTask
from tfssl.tasks.parts.many_updates import ManyUpdates
from tfssl.tasks.parts.memory_bank import MemoryBank, make_banks


@dataclasses.dataclass(frozen=True)
class Update:
    """One update of a training step: the part of the model that solves some of the tasks."""

    tasks: Sequence[PretextTask]
    model: keras.Model


@dataclasses.dataclass(frozen=True)
class Contest:
    """A task's opponent with its optimizer."""

    task: AdversarialTask
    opponent: keras.Model
    optimizer: keras.optimizers.Optimizer


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a step does beyond one update from the weighted sum of losses. Not tracked by Keras, on purpose: layers of
    opponents must not become layers of the model, and banks are no part of a network that is handed on.
    """

    updates: Sequence[Update]
    contests: Sequence[Contest]
    loss_weights: Mapping[str, float]
    banks: Mapping[str, MemoryBank]

    @property
    def is_many(self) -> bool:
        """Whether a step is many updates: see `many_updates`."""
        return any(isinstance(task, ManyUpdates) for update in self.updates for task in update.tasks)

    @property
    def is_plain(self) -> bool:
        """Whether Keras's own training step does all of it."""
        return len(self.updates) == 1 and not self.contests and not self.banks


class PretextModel(keras.Model):
    """A functional model from {task name: puzzle} to {task name: answer}; works with plain `fit`.

    With mixing "joint", a step is one update from the weighted sum of the tasks' losses. With "alternate", it is one
    update a task, in turn: the last layer is swapped by the kind of puzzle (Doersch and Zisserman 2017, arXiv
    1708.07860). A task with an opponent trains it after its own update, on the same puzzles (Goodfellow et al. 2014).
    One with a memory bank has its loss from there, and writes into it after its own update.
    """

    plan: Plan | None = None

    def train_step(self, data: Any) -> dict[str, Any]:
        if self.plan is not None and self.plan.is_many:
            return many_updates.train_step(self, data)
        if self.plan is None or self.plan.is_plain:
            return super().train_step(data)
        puzzles, answers, weights = data
        predictions: dict[str, tf.Tensor] = {}
        losses: dict[str, tf.Tensor] = {}
        total = tf.constant(0.0)
        for update in self.plan.updates:
            names = [task.name for task in update.tasks]
            with tf.GradientTape() as tape:
                made = update.model({name: puzzles[name] for name in names}, training=True)
                own = task_losses(update.tasks, answers, made, weights, self.plan.banks)
                judged = own | {
                    contest.task.name: _contest_loss(contest, own, puzzles, answers, made)
                    for contest in self.plan.contests
                    if contest.task in update.tasks
                }
                counted = [self.plan.loss_weights[name] * judged[name] for name in names]
                loss = tf.add_n(counted + [self._aggregate_additional_loss(loss) for loss in update.model.losses])
                scaled = self.optimizer.scale_loss(loss)
            variables = update.model.trainable_variables
            self.optimizer.apply(tape.gradient(scaled, variables), variables)
            predictions |= made
            losses |= own
            total += tf.cast(loss, tf.float32)
        for contest, mean in zip(self.plan.contests, self.opponent_losses, strict=True):
            name = contest.task.name
            mean.update_state(_train_opponent(contest, puzzles[name], answers[name], predictions[name]))
        for name, bank in self.plan.banks.items():
            bank.update(answers[name], predictions[name])
        self._log_losses(losses, answers, predictions)
        rows = tf.shape(tf.nest.flatten(puzzles)[0])[0]
        self._loss_tracker.update_state(_of_all_replicas(total), sample_weight=rows)
        return self.compute_metrics(puzzles, answers, predictions, sample_weight=weights)

    def _log_losses(self, losses: Mapping[str, tf.Tensor], answers: Any, predictions: Any) -> None:
        """Update the means of each task's loss, as Keras's own step does; with one task Keras has none."""
        if not self._compile_loss.built:
            self._compile_loss.build(answers, predictions)
        for mean in self._compile_loss.metrics:
            name = mean.name.removesuffix("_loss")
            mean.update_state(_of_all_replicas(losses[name]), sample_weight=predictions[name].shape[0])

    def extra_variables(self) -> list[keras.Variable]:
        """Return opponents, their optimizers, and banks: what a checkpoint needs beyond weights and the optimizer."""
        if self.plan is None:
            return []
        contests, banks = self.plan.contests, self.plan.banks.values()
        found = [v for contest in contests for v in [*contest.opponent.variables, *contest.optimizer.variables]]
        return [*found, *(v for bank in banks for v in bank.variables)]


def _of_all_replicas(loss: tf.Tensor) -> tf.Tensor:
    """Undo Keras's division of a loss by the count of replicas, as is wanted for a mean that is logged."""
    return loss * tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)


def _is_real(logits: tf.Tensor, real: bool) -> tf.Tensor:
    labels = tf.ones_like(logits) if real else tf.zeros_like(logits)
    return keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits)  # divides by the count of replicas


def _contest_loss(contest: Contest, losses: Any, puzzles: Any, answers: Any, predictions: Any) -> tf.Tensor:
    """Return the loss of a task and the cost of not deceiving its opponent; all by task name."""
    task, name = contest.task, contest.task.name
    _, made = task.contest(puzzles[name], answers[name], predictions[name])
    deceived = _is_real(contest.opponent(made, training=True), real=True)
    return (1 - task.opponent_weight) * losses[name] + task.opponent_weight * deceived


def _train_opponent(contest: Contest, puzzle: Any, answer: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    real, made = contest.task.contest(puzzle, answer, tf.stop_gradient(prediction))
    with tf.GradientTape() as tape:
        # One pass each, as usual: batch norm must not tell the two halves of a joint batch apart by their mixture.
        loss = _is_real(contest.opponent(real, training=True), real=True)
        loss = (loss + _is_real(contest.opponent(made, training=True), real=False)) / 2
        scaled = contest.optimizer.scale_loss(loss)
    variables = contest.opponent.trainable_variables
    contest.optimizer.apply(tape.gradient(scaled, variables), variables)
    return _of_all_replicas(loss)


def make_model(tasks: Sequence[PretextTask], encoders: Encoders, element_spec: Any) -> PretextModel:
    """Make the model that solves the puzzles of all tasks.

    Args:
      tasks: prepared tasks.
      encoders: "image" -> Trunk.
      element_spec: that of a dataset of `tfssl.puzzles`.
    """
    inputs = {task.name: make_inputs(task.name, element_spec[0][task.name]) for task in tasks}
    outputs = {task.name: task.head(encoders, inputs[task.name]) for task in tasks}
    return PretextModel(inputs, outputs, name="pretext")


def make_inputs(name: str, puzzle: Any) -> Any:
    """Make Keras inputs for the puzzles of a task.

    There is one called NAME, or where the puzzle is a dict, NAME_KEY for each key.
    """
    if isinstance(puzzle, dict):
        return {key: make_inputs(f"{name}_{key}", part) for key, part in puzzle.items()}
    return keras.Input(puzzle.shape[1:], dtype=puzzle.dtype, name=name)


def compile_model(
    model: PretextModel,
    tasks: Sequence[PretextTask],
    encoders: Encoders,
    optimizer: keras.optimizers.Optimizer,
    jit_compile: bool = False,
    mixing: str = "joint",
    scales: Mapping[str, float] | None = None,
) -> None:
    """Compile with losses, weights and metrics by task name; metrics are TASK_METRIC, with one task as with several.

    Args:
      mixing: "joint" or "alternate".
      scales: what each task's loss is divided by, see `tfssl.multitask.loss_balance`; 1 where not given.
    """
    loss_weights = {task.name: task.weight / (scales or {}).get(task.name, 1.0) for task in tasks}
    metrics = {task.name: _make_metrics(task, prefix=len(tasks) == 1) for task in tasks}
    model.compile(
        optimizer,
        loss={task.name: task.make_loss() for task in tasks},
        loss_weights=loss_weights,
        weighted_metrics=metrics if any(metrics.values()) else None,
        jit_compile=jit_compile,
    )
    model.optimizer.build(model.trainable_variables)  # all of them: an update of a part could not add the rest
    contests = []
    for task in tasks:
        if isinstance(task, AdversarialTask) and (opponent := task.opponent(encoders)) is not None:
            # Radford et al. 2016, arXiv 1511.06434. Both learn as often.
            adam = Adam(2e-4, beta_1=0.5, gradient_accumulation_steps=optimizer.gradient_accumulation_steps)
            contests.append(Contest(task, opponent, _as_precise(adam)))
            contests[-1].optimizer.build(opponent.trainable_variables)
    together = [Update(tasks, model)]
    in_turn = [
        Update([task], keras.Model({task.name: model.input[task.name]}, {task.name: model.output[task.name]}))
        for task in tasks
    ]
    updates = in_turn if mixing == "alternate" and len(tasks) > 1 else together
    model.plan = Plan(updates, contests, loss_weights, make_banks(tasks))
    model.opponent_losses = [keras.metrics.Mean(f"{contest.task.name}_opponent_loss") for contest in contests]


def _as_precise(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Add loss scaling where the policy computes in float16, as `compile` does for the model's own optimizer."""
    if keras.config.dtype_policy().name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def build_metrics(model: keras.Model, element_spec: Any) -> None:
    """Make the variables of the metrics now; Keras 3.15 makes them at the first batch, too late to restore them.

    Not under a `tf.distribute` strategy, where Keras does it before the first epoch begins.
    """
    _, answers, weights = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), element_spec)
    predictions = {name: tf.zeros([len(weights[name]), *y.shape[1:]], y.dtype) for name, y in model.output.items()}
    model.compute_metrics(None, answers, predictions, weights)
    model.compute_loss(None, answers, predictions, weights)  # the means of each task's loss
    model.reset_metrics()


def _make_metrics(task: PretextTask, prefix: bool) -> list[keras.metrics.Metric]:
    # Keras puts the output's name before a metric's only where there are several outputs.
    if not prefix:
        return task.metrics()
    return [
        type(metric).from_config(metric.get_config() | {"name": f"{task.name}_{metric.name}"})
        for metric in task.metrics()
    ]
