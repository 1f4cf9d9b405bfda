"""The last layer of heads that predict numbers, not classes."""

import math
from typing import Any

import keras


def numbers(inputs: Any, filters: int, kernel: int, name: str) -> Any:
    """Apply a convolution for a squared error, learning at other heads' rates: [N, H, W, C] -> float32 [.., filters].

    A squared error curves with the squared sum of the inputs: over 128 channels SGD with momentum is unstable from a
    rate of about 0.01 on, where softmax heads and trunk want 0.1. `colorization(diverse=4)` then went beyond 1e30 in
    ten steps. So inputs are divided by the root of their number, and weights begin larger by as much: the network
    begins as it would have, and the curvature no longer grows with the width.
    """
    count = kernel * kernel * inputs.shape[-1]
    x = keras.layers.Rescaling(1 / math.sqrt(count), dtype="float32", name=f"{name}_scaled")(inputs)
    initializer = keras.initializers.VarianceScaling(float(count), "fan_avg", "uniform")  # Glorot's, scaled
    return keras.layers.Conv2D(
        filters, kernel, padding="same", kernel_initializer=initializer, dtype="float32", name=name
    )(x)
