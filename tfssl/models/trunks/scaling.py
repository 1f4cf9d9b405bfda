"""What a network of others does to its pictures first: means and deviations become settings of its layers.

Keras's `Normalization` keeps what it was adapted to as weights, but computes with a copy that only Keras's own loading
renews (Keras 3.15): `set_weights`, `clone_model` and a checkpoint of TensorFlow leave another scaling, without a word.
"""

from typing import Any

import keras
import numpy as np


def is_adapted(layer: keras.layers.Layer) -> bool:
    """Say whether a layer is a `Normalization` whose mean and variance are weights."""
    return isinstance(layer, keras.layers.Normalization) and layer.input_mean is None


def settings_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return the settings of a layer, for a copy; mean and variance of a `Normalization` among them."""
    settings = layer.get_config()
    if is_adapted(layer):
        settings |= {
            "mean": np.asarray(layer.adapt_mean).tolist(),
            "variance": np.asarray(layer.adapt_variance).tolist(),
        }
    return settings


def copy_weights(model: keras.Model, copy: keras.Model) -> None:
    """Give a copy of a model, made of `settings_of` its layers, the model's weights."""
    with_weights = [layer for layer in model.layers if layer.weights and not is_adapted(layer)]
    for layer, other in zip(with_weights, [layer for layer in copy.layers if layer.weights], strict=True):
        other.set_weights(layer.get_weights())


def with_constants(model: keras.Model) -> keras.Model:
    """Return a functional model whose own layers hold no adapted scaling: the model itself where they do not."""
    if not any(map(is_adapted, model.layers)):
        return model
    copy = keras.models.clone_model(model, clone_function=lambda layer: type(layer).from_config(settings_of(layer)))
    copy_weights(model, copy)
    return copy
