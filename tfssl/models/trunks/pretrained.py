"""Trunks with weights that others have trained: those of `keras.applications`, of KerasHub, or of a file.

What such a network wants done to its pixels is done as Keras does it, by the function that belongs to its weights.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.specs import parse_call
from tfssl.models.trunks import TRUNKS, Trunk, hub, make_pixels, stages_of, weights
from tfssl.models.trunks.applications import Application
from tfssl.models.trunks.networks import Builder, as_body, bare, build, builders, find, preprocessing_of, reason
from tfssl.models.trunks.scaling import is_adapted

IMAGENET = "imagenet"
DEVIATIONS = (0.229, 0.224, 0.225)
"""Of the channels of ImageNet, on a scale of 0 to 1."""


def make_pretrained(text: str, size: int) -> Trunk:
    """Make a trunk with weights.

    Args:
      text: 'mobilenet_v3_small(weights='imagenet')': a trunk of this package or the name of any network of
        `keras.applications`, in any spelling ('efficientnet_v2_b0', 'EfficientNetV2B0'), with its settings. `weights`
        is 'imagenet', which Keras downloads once, or a file of weights, with the classifier or without: '.weights.h5',
        '.h5', '.keras'. Where this package does not say which layers are stages, it is the last one at each resolution
        that everything goes through. Or 'keras_hub(weights='resnet_18_imagenet')', see `hub.make_from_hub`.
      size: pixels of a side.

    Raises:
      UserError: an unknown name or setting; a size too small; weights that cannot be downloaded, or read.
    """
    name, settings = parse_call(text)
    if name == hub.NAME:
        return hub.make_from_hub(settings, size, text)
    given = str(settings.pop("weights"))
    if given != IMAGENET and not Path(given).is_file():
        raise UserError(f"{text}: there is no file {given}; give {IMAGENET!r}, or a file of weights")
    family = TRUNKS.get(name)
    if family is not None and not issubclass(family, Application):
        if given == IMAGENET:
            raise UserError(
                f"{text}: {name} has no such weights; give a file of weights, or a name of keras.applications"
            )
        body = family.from_text(settings).body(size)
        _read(body, given, text)
        return Trunk(make_pixels(), body, stages_of(body))
    ends: tuple[str, ...] | None = None
    if family is not None and issubclass(family, Application):
        known = family.from_text(settings)
        name, settings, ends = known.function, known.arguments(), known.ends
    builder = find(name)
    if builder is None:
        raise UserError(
            f"unknown trunk {name!r}; those with weights are keras_hub(weights='PRESET') and all of"
            f" keras.applications: {', '.join(sorted(builders()))}"
        )
    model = build(builder, size, settings, text)
    if given == IMAGENET:
        side = model.input_shape[1]
        try:
            model = bare(builder, side, IMAGENET, settings)
        except Exception as problem:  # Keras raises a plain Exception where a download fails
            raise UserError(
                f"{text}: these weights cannot be downloaded ({reason(problem)}); download them elsewhere and give the"
                " file: weights='path.weights.h5'"
            ) from problem
    else:
        _read(model, given, text, lambda classes: builder(weights=None, classes=classes, **settings))
        _mend_deviations(model, builder)
    body = as_body(model, preprocessing_of(builder), size, ends)
    return Trunk(make_pixels(), body, stages_of(body))


def _read(model: keras.Model, path: str, text: str, with_top: Callable[[int], keras.Model] | None = None) -> None:
    try:
        weights.read(model, path, with_top)
    except weights.TROUBLES as problem:
        raise UserError(
            f"{text}: {path} cannot be read ({reason(problem)}); expected weights of this network, as"
            " Model.save_weights writes them"
        ) from problem


def _mend_deviations(model: keras.Model, builder: Builder) -> None:
    """Let a file of EfficientNet's weights of ImageNet divide by deviations, as it does where Keras downloads it.

    The file has deviations where variances belong, and Keras makes good for it by one more layer, which is there with
    weights='imagenet' alone (keras.applications.efficientnet, Keras 3.15).
    """
    if not builder.__module__.endswith(".efficientnet"):
        return
    for layer in filter(is_adapted, model.layers):
        if np.allclose(layer.adapt_variance, DEVIATIONS, atol=1e-3):
            layer.adapt_variance.assign(np.square(DEVIATIONS))
            layer.finalize_state()
