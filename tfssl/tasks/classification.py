"""The last layer of heads that choose one of several answers."""

import math
from typing import Any

import keras

SCALED = "_scaled"
SCALE = 7.0
"""By what features are multiplied, over the root of their number: see `logits`."""


def logits(inputs: Any, classes: int, name: str) -> Any:
    """A fully connected layer for a softmax that learns at the trunk's rates: [..., n] -> float32 [..., classes].

    The curvature of a softmax loss by the layer's weights is at most E|x|^2 / 2, and E|x|^2 grows with the number n of
    features.
    """
    scale = SCALE / math.sqrt(inputs.shape[-1])
    scaled = keras.layers.Rescaling(scale, dtype="float32", name=name + SCALED)(inputs)
    return keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name=name)(scaled)


def unscale(model: keras.Model) -> None:
    """Gives layers of `logits` the weights with which they answer to features as they are.

    For weights of runs that were trained before features were scaled: the network is the one that was trained.
    """
    for layer in model.layers:
        if layer.name.endswith(SCALED):
            last = model.get_layer(layer.name.removesuffix(SCALED))
            last.kernel.assign(last.kernel / layer.scale)
