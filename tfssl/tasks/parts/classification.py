"""Tasks whose answer is one of several choices, and the layers of their heads."""

import abc
import dataclasses
import math
from typing import Any

import keras
import numpy as np

from tfssl.models.batch_norm import BatchNormalization
from tfssl.tasks.base import PretextTask

SCALED = "_scaled_features"
"""What the name of the layer that scales ends in; that of `regression.numbers` has another ending."""
SCALE = 7.0
"""By what features are multiplied, over the root of their number: see `logits`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceTask(PretextTask):
    """A task whose answer is one of `choices`, int32 [N] or [N, questions], and whose head gives `logits` for each."""

    @property
    @abc.abstractmethod
    def choices(self) -> int:
        """How many answers there are, one of which is right. Where it is always the same: `choices = 2`."""

    @property
    def shares(self) -> tuple[float, ...]:
        """How often each of the `choices` is the right one, by design: alike, unless a task says otherwise."""
        return (1 / self.choices,) * self.choices

    @property
    def chance(self) -> float:
        """The accuracy of guessing any of the `choices` alike."""
        return 1 / self.choices

    def chance_accuracy(self, batch_size: int) -> float | None:
        del batch_size
        return self.chance

    def make_loss(self) -> keras.losses.Loss:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def questions(self, puzzle: Any, answer: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the choices that the head makes, one by one, for `audit`.

        Returns:
          uint8 [Q, n, h, w, 3], the n parts that one choice is made from; int [Q], the right ones.
        """
        return (puzzle if puzzle.ndim == 5 else puzzle[:, None]), answer


def hidden(inputs: Any, width: int, name: str) -> Any:
    """Apply a fully connected layer without bias, batch norm over all replicas, ReLU: [..., n] -> [..., width]."""
    x = keras.layers.Dense(width, use_bias=False, name=name)(inputs)
    x = BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def logits(inputs: Any, classes: int, name: str) -> Any:
    """Apply a fully connected layer for a softmax that learns at the trunk's rates: [..., n] -> float32 [..., classes].

    The loss curves with the weights by up to E|x|^2 / 2, between two answers that are equally likely. Behind batch norm
    and ReLU the mean square of a feature is 1/2, so n plain features give n / 4. SGD with Nesterov momentum .9 at a
    rate of .1 is stable up to (2 + 2 * .9) / (1 + 2 * .9) / .1 = 13.6, that is up to 54 features. Trunks have 128 to
    2,048: the first steps overshoot, and the trunk is wrecked before it has learned anything.

    So features are multiplied by `SCALE` / sqrt(n), which makes the curvature SCALE^2 / 4 = 12.25 for every n, and
    weights begin at zero: the first loss is that of guessing, and nothing random is sent into the trunk. Tried at that
    rate without warm-up (rotation and jigsaw, 128 and 512 features, 32 and 64 px, with and without batch norm), the
    largest loss of 40 steps was at most 1.07 times that of guessing with a scale of 5, 1.17 with 10 and 4.3 with 20.
    With 5 jigsaw learns more slowly: after 300 steps its loss is 4.20, where 7 has 3.88.

    Args:
      inputs: features, of any dtype.
      classes: how many answers.
      name: the name of the layer; it begins with the task's name.
    """
    scale = SCALE / math.sqrt(inputs.shape[-1])
    scaled = keras.layers.Rescaling(scale, dtype="float32", name=name + SCALED)(inputs)
    return keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name=name)(scaled)


def unscale(model: keras.Model) -> None:
    """Give layers of `logits` the weights with which they answer to features as they are.

    For weights of runs that were trained before features were scaled: the network is the one that was trained.
    """
    for layer in model.layers:
        if layer.name.endswith(SCALED):
            last = model.get_layer(layer.name.removesuffix(SCALED))
            last.kernel.assign(last.kernel / layer.scale)
