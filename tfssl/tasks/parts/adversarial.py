"""Tasks with an opponent: a discriminator that is trained against the head, with an optimizer of its own."""

import abc
import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tfssl.tasks.base import Encoders, PretextTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialTask(PretextTask):
    """A task whose head is judged by a network too, as in Goodfellow et al. 2014 (arXiv 1406.2661)."""

    @abc.abstractmethod
    def opponent(self, encoders: Encoders) -> keras.Model | None:
        """Make the discriminator: [N, h, w, c] of `contest` -> logit that it is real [N, 1].

        Its layers' names begin with the task's name. None where these settings have none.
        """

    @abc.abstractmethod
    def contest(self, puzzle: Any, answer: tf.Tensor, prediction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what the opponent sees: (real, made), [N, h, w, c] each.

        What is real comes from the answer, what is made from the head's prediction.
        """

    @property
    @abc.abstractmethod
    def opponent_weight(self) -> float:
        """The weight of deceiving the opponent; the loss has one minus that."""
