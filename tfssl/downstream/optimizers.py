"""Keras's optimizers, with a learning rate for each stage of the trunk."""

from collections.abc import Sequence
from typing import Any

import keras

from tfssl.multitask.optimizers import SGD, AdamW

MOMENTUM = 0.9


class _ByStage(keras.optimizers.Optimizer):
    """An optimizer whose learning rate is multiplied by a number of each variable.

    Keras multiplies gradients or has one optimizer a layer; Adam divides by the size of gradients, so that the former
    does nothing, and the latter has as many steps to count as there are layers.
    """

    scales: Sequence[float] = ()

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable; Keras calls it for each one."""
        scale = self.scales[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * scale)


class StagedSGD(_ByStage, SGD):
    """SGD as of `pretrain`, by stage."""


class StagedAdamW(_ByStage, AdamW):
    """AdamW as of `pretrain`, by stage."""


def make_optimizer(
    name: str, model: keras.Model, scales: Sequence[float], weight_decay: float, ema: float | None
) -> keras.optimizers.Optimizer:
    """Make and build the optimizer of a model.

    Args:
      name: "adamw" or "sgd".
      scales: for each trainable variable what its learning rate is multiplied by.
      weight_decay: of kernels; not of biases, nor of scale and shift of batch norm.
      ema: momentum of the moving average of weights; None for none.
    """
    average = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    optimizer: StagedSGD | StagedAdamW
    if name == "sgd":
        optimizer = StagedSGD(0.0, l2=weight_decay, momentum=MOMENTUM, nesterov=True, **average)
    else:
        optimizer = StagedAdamW(0.0, weight_decay=weight_decay, **average)
    optimizer.scales = scales
    optimizer.build(model.trainable_variables)
    return optimizer
