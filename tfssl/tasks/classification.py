"""The last layer of heads that choose one of several answers."""

import math
from typing import Any

import keras

SCALE = 10.0
"""By what features are multiplied, over the root of their number: see `logits`."""


def logits(inputs: Any, classes: int, name: str) -> Any:
    """A fully connected layer for a softmax that learns at the trunk's rates: [..., n] -> float32 [..., classes].

    The curvature of a softmax loss by the layer's weights is at most E|x|^2 / 2, and E|x|^2 grows with the number n of
    features.
    """
    scaled = keras.layers.Rescaling(SCALE / math.sqrt(inputs.shape[-1]), dtype="float32", name=f"{name}_scaled")(inputs)
    return keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name=name)(scaled)
