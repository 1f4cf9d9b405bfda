"""The optimizers of `pretrain`: Keras's own, with the weight decay that papers mean, and LARS, which Keras lacks."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.multitask.updating import Updating

TRUST = 0.001
"""How far LARS moves a kernel in a step, in parts of its size: at a learning rate of 1 and without momentum."""


class SGD(Updating, keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient, as in Caffe and PyTorch: g + decay * w, then momentum.

    Keras's own `weight_decay` (3.15) is decoupled, w -= rate * decay * w, and momentum does not carry it: at momentum
    0.9 it is ten times weaker than that of the papers whose 5e-4 is quoted here. In 500 steps without any other
    gradient, at a rate of 0.1, weights keep .975 of their size there, and .78 here as in RotNet's code.

    Args:
      l2: decay of weights; kernels only, not biases, and neither scale nor shift of batch norm.
    """

    def __init__(self, learning_rate: Any = 0.01, l2: float = 0.0, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.l2 = l2

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable; Keras calls it for each one, with the sum of all replicas' gradients."""
        if is_kernel(variable):
            gradient = self.direction(gradient, variable)
        super().update_step(gradient, variable, learning_rate)

    def direction(self, gradient: Any, variable: Any) -> Any:
        """Return what a kernel moves against: its gradient, with its decay."""
        if not self.l2:
            return gradient
        return gradient + self.l2 * keras.ops.cast(variable, gradient.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the settings, as Keras wants them."""
        return super().get_config() | {"l2": self.l2}


class LARS(SGD):
    """Layer-wise adaptive rates: a kernel moves in proportion to its own size, however large its gradient is.

    You et al. 2017 (arXiv 1708.03888), as SimCLR and Barlow Twins have it: d = g + decay * w, times 0.001 |w| / |d|,
    then momentum, not Nesterov's. Biases, and scale and shift of batch norm, neither adapt nor decay. A kernel that
    begins at zero, as those of heads that choose do, takes plain steps: in proportion to next to nothing it would stay
    where it is. (SimCLR leaves the head that classifies out, too.)

    The weight decay is part of what is normalised: it turns the step, and does not lengthen it. As in SimCLR's code the
    learning rate goes into the momentum, where Barlow Twins multiplies by it afterwards.
    """

    def build(self, variables: Any) -> None:
        """Make variables for those of a model, as it is before training."""
        if self.built:
            return
        super().build(variables)
        self._plain = frozenset(self._var_key(variable) for variable in variables if not np.any(variable.numpy()))

    def direction(self, gradient: Any, variable: Any) -> Any:
        """Return what a kernel moves against, of 0.001 of the kernel's length."""
        gradient = super().direction(gradient, variable)
        if self._var_key(variable) in self._plain:
            return gradient
        size, length = tf.norm(tf.cast(variable, gradient.dtype)), tf.norm(gradient)
        known = tf.logical_and(size > 0, length > 0)
        return gradient * tf.where(known, tf.math.divide_no_nan(TRUST * size, length), tf.ones_like(size))


class AdamW(Updating, keras.optimizers.AdamW):
    """Keras's AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), which decays kernels only.

    Its decay is decoupled, w -= rate * decay * w: never part of the gradient, by whose size Adam divides.
    """

    def _use_weight_decay(self, variable: Any) -> bool:
        return is_kernel(variable)


class Adam(Updating, keras.optimizers.Adam):
    """Keras's Adam, of opponents."""


def is_kernel(variable: Any) -> bool:
    """Tell kernels from biases and from what batch norm learns, which are vectors."""
    return len(variable.shape) > 1


def make_optimizer(
    momentum: float,
    weight_decay: float,
    name: str = "sgd",
    clip_norm: float | None = None,
    accumulate: int = 1,
    ema: float | None = None,
) -> SGD | AdamW:
    """Make an optimizer that is not built yet, with the learning rate 0.

    Args:
      momentum: Nesterov's of "sgd", plain of "lars", beta_1 of "adamw".
      weight_decay: of kernels, as each class says.
      name: "sgd", "adamw" or "lars".
      clip_norm: the largest norm that the gradient of all weights together may have; None for any.
      accumulate: steps whose mean gradient makes an update.
      ema: momentum of the moving average of weights, at each update; None for none.
    """
    more: dict[str, Any] = {"global_clipnorm": clip_norm}
    if accumulate > 1:
        more["gradient_accumulation_steps"] = accumulate
    if ema is not None:
        more |= {"use_ema": True, "ema_momentum": ema}
    if name == "adamw":
        return AdamW(0.0, beta_1=momentum, weight_decay=weight_decay, **more)
    if name == "lars":
        return LARS(0.0, l2=weight_decay, momentum=momentum, **more)
    return SGD(0.0, l2=weight_decay, momentum=momentum, nesterov=momentum > 0, **more)
