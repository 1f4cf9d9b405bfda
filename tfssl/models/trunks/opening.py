"""What `--trunk` names: a network with new weights, one with weights that exist, a file, a model of one's own."""

import os
from pathlib import Path
from typing import Any

import keras

from tfssl.base.errors import UserError
from tfssl.base.specs import parse_call, unknown
from tfssl.models.trunks import TRUNKS, Trunk, hub, make_pixels, make_trunk, stages_of, weights
from tfssl.models.trunks.files import read_model, trunk_of
from tfssl.models.trunks.networks import as_body, build, find, preprocessing_of
from tfssl.models.trunks.pretrained import make_pretrained


def open_trunk(trunk: Any, size: int) -> Trunk:
    """Make a trunk, under the Keras dtype policy of the moment.

    Args:
      trunk: with new weights 'resnet18(width=32)', a name of `TRUNKS` or of `keras.applications`; with weights as
        `make_pretrained` takes it; a .keras file of an encoder of this package or of a trunk, which is trained on
        from its weights in the precision that it was saved in; or a Keras model, see `make_trunk`.
      size: pixels of a side of the pictures.

    Raises:
      UserError: nothing of this; a size that it does not take.
    """
    if isinstance(trunk, keras.Model):
        return make_trunk(trunk, size)
    text = os.fspath(trunk) if isinstance(trunk, os.PathLike) else str(trunk)
    if is_file(text):
        return _of_file(text, size)
    if (Path(text) / "run.json").is_file():
        raise UserError(
            f"the trunk {text} is a run; give it as --init, or its trunk alone: {Path(text) / 'encoder.keras'}"
        )
    name, settings = parse_call(text)
    if "weights" in settings:
        return make_pretrained(text, size)
    builder = None if name in TRUNKS else find(name)
    if builder is None:
        if name == hub.NAME:
            raise UserError(f"{text} is given without weights; give {hub.NAME}(weights='PRESET'), or a folder of one")
        if name not in TRUNKS:
            raise unknown("trunk", name, TRUNKS)
        return make_trunk(text, size)
    body = as_body(build(builder, size, settings, text), preprocessing_of(builder), size)
    return Trunk(make_pixels(), body, stages_of(body))


def is_file(trunk: Any) -> bool:
    """Say whether a trunk is given as a .keras file."""
    return not isinstance(trunk, keras.Model) and str(trunk).endswith(".keras")


def start_of(trunk: Any, made: Trunk) -> dict[str, str] | None:
    """Return what a run writes down of weights that it begins with; None where they are new.

    Returns:
      "weights": the name or file, in words; "sha256": of the file, or of the weights where they are no file. Of a Keras
      model, which may have any, the first alone.
    """
    if isinstance(trunk, keras.Model):
        return {"weights": f"{trunk.name} (a Keras model)"}
    if is_file(trunk):
        return {"weights": str(trunk), "sha256": weights.of_file(str(trunk))}
    given = parse_call(str(trunk))[1].get("weights")
    if given is None:
        return None
    if not Path(given).is_file():  # what was downloaded, or a folder
        return {"weights": str(given), "sha256": weights.of_model(made.body)}
    return {"weights": str(given), "sha256": weights.of_file(str(given))}


def _of_file(path: str, size: int) -> Trunk:
    trunk = trunk_of(read_model(path), size)
    for layer in trunk.body._flatten_layers():
        layer.trainable = True  # those who kept it frozen under a classifier saved it so
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return trunk
