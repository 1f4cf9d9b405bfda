"""Trunks from backbones of KerasHub: a preset, or the folder of one, with the scaling that belongs to its weights."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from tfssl.base.errors import UserError
from tfssl.models.trunks import DEVIATION, MEAN, Trunk, make_pixels, stages_of
from tfssl.models.trunks.networks import as_body, ends_of, reason

NAME = "keras_hub"


def make_from_hub(settings: Mapping[str, Any], size: int, text: str) -> Trunk:
    """Make a trunk of a backbone of KerasHub with its weights.

    Stages are the levels of its feature pyramid where it has one, else the last layer at each resolution that all paths
    go through. Its converter of pictures says how pixels are scaled; where the preset has none they are standardised as
    for the trunks of this package.

    Args:
      settings: `weights`, a preset as 'resnet_18_imagenet' or the folder that `save_to_preset` wrote.
      size: pixels of a side.
      text: what the user gave.

    Raises:
      UserError: KerasHub is not installed; nothing like this, or nothing that can be downloaded; what is no network of
        pictures, or of layers that Keras alone cannot open.
    """
    preset = str(settings["weights"])
    if others := set(settings) - {"weights"}:
        raise UserError(f"{text}: {NAME} takes weights= alone, and {', '.join(sorted(others))} is given")
    if Path(preset).exists() and not (Path(preset) / "config.json").is_file():
        raise UserError(f"{text}: {preset} holds no config.json; give a folder that save_to_preset wrote, or a preset")
    keras_hub = _keras_hub(text)
    with _plain(text, preset):
        model = keras_hub.models.Backbone.from_preset(preset)
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3 or len(model.output_shape) != 4:
        raise UserError(
            f"{text}: {type(model).__name__} is no network from pictures to maps; give a backbone of pictures that is"
            " made of convolutions, as resnet_18_imagenet"
        )
    foreign = {type(layer).__name__ for layer in model._flatten_layers(include_self=False) if _is_foreign(layer)}
    if foreign:
        raise UserError(
            f"{text}: {type(model).__name__} has layers of KerasHub's own ({', '.join(sorted(foreign))}), which no"
            " encoder could be opened without; give a backbone of Keras's layers, as ResNetBackbone"
        )
    if shape[1] not in (None, size):
        raise UserError(f"{text}: this preset takes pictures of {shape[1]} pixels alone; give --size {shape[1]}")
    levels = getattr(model, "pyramid_outputs", {})
    ends = tuple(levels[level]._keras_history.operation.name for level in sorted(levels, key=_level))
    body = as_body(model, _scaling(keras_hub, preset), size, ends or ends_of(model, size))
    return Trunk(make_pixels(), body, stages_of(body))


def _keras_hub(text: str) -> Any:
    try:
        import keras_hub
    except ImportError as problem:
        raise UserError(f"{text}: KerasHub is not installed; pip install 'tfssl[hub]'") from problem
    return keras_hub


@contextlib.contextmanager
def _plain(text: str, preset: str) -> Iterator[None]:
    """Say in a line why a preset cannot be had. What is raised depends on the library that downloads it."""
    try:
        yield
    except ImportError:
        raise
    except Exception as problem:
        why = reason(problem).split(". ")[0]
        raise UserError(
            f"{text}: {preset} cannot be had ({why}); give a preset of KerasHub, or download it elsewhere and give its"
            " folder: weights='path/to/folder'"
        ) from problem


def _is_foreign(layer: keras.layers.Layer) -> bool:
    return not type(layer).__module__.startswith("keras.")


def _level(name: str) -> int:
    """Return the number of a level of a pyramid, of 'P3'."""
    return int(name.removeprefix("P"))


def _scaling(keras_hub: Any, preset: str) -> keras.layers.Rescaling:
    """Return what is done to grey levels of 0 to 255."""
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception:  # the preset has none, and each way of fetching files says so in its own way
        scale, offset = 1 / (255 * DEVIATION), -MEAN / DEVIATION
    else:
        scale = 1.0 if converter.scale is None else converter.scale
        offset = 0.0 if converter.offset is None else converter.offset
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="scaling")
