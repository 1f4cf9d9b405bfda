"""Trunks in files of Keras, and the same network with random weights."""

import dataclasses
from pathlib import Path
from typing import Any

import keras

from tfssl.base.errors import UserError
from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks import Trunk, make_trunk, stages_of
from tfssl.models.trunks.scaling import with_constants


def read_model(path: Any) -> keras.Model:
    """Read a .keras file. Raise UserError where there is none, or something else in it."""
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; expected a .keras file of a trunk")
    try:
        return keras.models.load_model(path, {"BatchNormalization": BatchNormalization}, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise UserError(f"{path} cannot be read ({reason}); expected a .keras file of a trunk") from problem


def side_of(model: keras.Model) -> int | None:
    """Return how many pixels a side has that a model takes; None where it takes any."""
    shape = model.input_shape
    return shape[1] if isinstance(shape, tuple) and len(shape) == 4 else None


def trunk_of(model: keras.Model, size: int) -> Trunk:
    """Return the trunk in a model: in an encoder or a classifier that this package wrote, or the model itself.

    Args:
      model: the former; or float [N, size, size, 3] -> float [N, h, w, C], see `make_trunk`.
      size: pixels of a side.

    Raises:
      UserError: a model of another shape.
    """
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(parts) > 1 and parts[0].name == "rescaling":  # the body has the name of a model of one's own
        return Trunk(parts[0], parts[1], stages_of(parts[1]))
    return make_trunk(with_constants(model), size)


def with_random_weights(trunk: Trunk) -> Trunk:
    """Make the same network with weights of its own, drawn anew."""
    return dataclasses.replace(trunk, body=keras.models.clone_model(trunk.body))
