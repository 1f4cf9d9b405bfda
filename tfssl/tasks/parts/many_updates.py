"""Tasks that learn by many small updates, each of the few rows of large tables that it touches."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfssl.tasks.base import PretextTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManyUpdates(PretextTask):
    """A task whose step is many updates, one after the other, by the sum of losses and plain SGD.

    A mean over a large batch, as networks learn by, would take a table's row through one small change where word2vec
    makes hundreds. Momentum and weight decay would touch every row of a table at every update. So such a task is alone
    in its run and has a learning rate of its own: see `tfssl.multitask.many_updates`.
    """

    @property
    @abc.abstractmethod
    def rows_an_update(self) -> int:
        """How many rows of a puzzle are one update, on all replicas together."""

    @property
    @abc.abstractmethod
    def table_shape(self) -> tuple[int, int]:
        """Words and numbers of each, of the table that is the encoder; of a prepared task."""

    @abc.abstractmethod
    def learn(
        self,
        variables: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        puzzle: Any,
        answer: tf.Tensor,
        weight: tf.Tensor,
    ) -> tf.Tensor:
        """Make one update, by the sum of the losses of some rows, and return this sum as it was before, float32 [].

        Args:
          variables: those of the encoder and of the head, in this order.
        """

    @abc.abstractmethod
    def learning_rate(self, done: float) -> float:
        """Return the learning rate after a part of training, 0..1."""
