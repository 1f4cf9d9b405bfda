"""Is a task's loss above that of guessing, once the learning rate is at its peak?"""

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfssl.base.words import counted
from tfssl.multitask import metric_sums
from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.training.callbacks import Logs, Steps

STEPS = 20  # that a loss is averaged over: the batches of a step or two are too few
MARGIN = 1.1  # a network that has learned nothing is at chance, and no more than some per cent above it


def chance_loss(task: ChoiceTask) -> float:
    """Return the cross-entropy, nats, of an answer that knows each choice's share, and nothing of the puzzle."""
    return -sum(share * math.log(share) for share in task.shares if share)


class AboveGuessing(keras.callbacks.Callback):
    """Says in a line which tasks' loss is above that of guessing, and what to do, `STEPS` steps after the warm-up.

    A learning rate that is too high for a head wrecks the trunk in the first steps; later the loss comes back to that
    of guessing and shows nothing. A run that is resumed after its warm-up is looked at after as many steps.

    Only tasks whose answer is one of some choices have a loss of guessing. Rows of weight 0 make a mean loss smaller:
    where there are many of them less is said, never too much.

    Args:
      tasks: all of the model's, prepared.
      steps: counts the run's steps; its callback comes before this one.
      warm_up: steps of the warm-up.
      say: is given the line.
    """

    def __init__(self, tasks: Sequence[PretextTask], steps: Steps, warm_up: int, say: Callable[[str], None]):
        super().__init__()
        self._tasks, self._steps, self._say = tasks, steps, say
        self._first = max(warm_up, steps.done)
        self._last = self._first + STEPS
        self._start, self._sums = np.zeros(0), np.zeros(0)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._first < self._steps.done < self._last:
            self._start = metric_sums.read(self.model)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._steps.done == self._first:
            self._start = metric_sums.read(self.model)
            self._sums = np.zeros_like(self._start)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._steps.done == self._last:
            self._add()
            self._look()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._first < self._steps.done < self._last:
            self._add()  # before Keras begins from zero

    def _add(self) -> None:
        self._sums += metric_sums.read(self.model) - self._start

    def _look(self) -> None:
        if len(self._tasks) == 1 and self.model.losses:
            return  # the layers of a trunk of one's own add to the total, which is all that Keras knows with one task
        means = metric_sums.values(self.model, self._sums)
        for task in self._tasks:
            if not isinstance(task, ChoiceTask) or not task.weight:
                continue
            loss, chance = self._loss(task, means), chance_loss(task)
            if loss > MARGIN * chance:
                self._say(
                    f"{task.name}: the loss is {loss:.3g} after {counted(self._last, 'step')}, above {chance:.3g}, that"
                    " of guessing: the learning rate is too high; give a lower --learning-rate, or --init from a run"
                    " that learned"
                )

    def _loss(self, task: PretextTask, means: dict[str, float]) -> float:
        """Return a task's own mean loss; with one task Keras knows the total alone, which its weight is part of."""
        return means[f"{task.name}_loss"] if len(self._tasks) > 1 else means["loss"] / task.weight
