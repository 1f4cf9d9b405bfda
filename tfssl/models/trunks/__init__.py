"""Trunks: the networks that are trained, one file a family. `make_trunk` makes one from its name."""

import dataclasses
import re

import keras
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.specs import parse_call, unknown
from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks.alexnet import AlexNet
from tfssl.models.trunks.applications import MobileNetV3Small, ResNet50
from tfssl.models.trunks.family import Family
from tfssl.models.trunks.nin import NetworkInNetwork
from tfssl.models.trunks.pooling import check_pool, embedded
from tfssl.models.trunks.resnet import ResNet10, ResNet18, ResNet34

MEAN, DEVIATION = 0.47, 0.25
"""Mean and deviation of natural photos, about, over all channels, on a scale of 0 to 1."""


TRUNKS: dict[str, type[Family]] = {
    family.name: family
    for family in (AlexNet, MobileNetV3Small, NetworkInNetwork, ResNet10, ResNet18, ResNet34, ResNet50)
}


@dataclasses.dataclass(frozen=True)
class Trunk:
    """The shared part of all tasks of a run, as two functional models.

    Attributes:
      pixels: uint8 [N, H, W, 3] -> float32 [N, H, W, 3], about standardised.
      body: that -> the last stage's feature map, of the dtype that the Keras dtype policy computes in.
      stages: names of layers of `body`, first to last.
    """

    pixels: keras.Model
    body: keras.Model
    stages: tuple[str, ...]

    def copy(self) -> "Trunk":
        """Make a trunk with weights of its own, of the same values; its batch norm is that of `models.batch_norm`."""

        def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
            is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
            return (BatchNormalization if is_batch_norm else type(layer)).from_config(layer.get_config())

        body = keras.models.clone_model(self.body, clone_function=clone, recursive=True)
        body.set_weights(self.body.get_weights())
        return dataclasses.replace(self, body=body)

    def __call__(self, images: tf.Tensor | keras.KerasTensor) -> tf.Tensor | keras.KerasTensor:
        """Map images uint8 [N, H, W, 3] to the last stage's feature map [N, h, w, C]."""
        return self.body(self.pixels(images))


def make_trunk(trunk: str | keras.Model, size: int) -> Trunk:
    """Make a trunk with new weights, under the Keras dtype policy of the moment.

    Args:
      trunk: a name of `TRUNKS`, with or without settings ('resnet18(width=32)'), or a model of one's own: float
        [N, size, size, 3] -> float [N, h, w, C], whose layers named stage1, stage2 and on become its stages. It is not
        copied.
      size: pixels of a side of the pictures of the run.

    Raises:
      UserError: an unknown name or setting, a size too small for the trunk, a model of another shape.
    """
    if size < 1:
        raise UserError(f"size {size} is given; expected the pixels of a side, 32 or 224, say")
    body = _make_body(trunk, size) if isinstance(trunk, str) else _own_body(trunk, size)
    return Trunk(make_pixels(), body, stages_of(body))


def make_pixels() -> keras.Model:
    """Make the model from uint8 [N, H, W, 3] to float32 of the same shape, (x / 255 - 0.47) / 0.25.

    The output is from -1.88 to 2.12.
    """
    images = keras.Input((None, None, 3), dtype="uint8")
    rescaling = keras.layers.Rescaling(1 / (255 * DEVIATION), -MEAN / DEVIATION, dtype="float32")
    return keras.Model(images, rescaling(images), name="rescaling")


def make_encoder(trunk: Trunk, size: int, stage: str | None = None, pooled: bool = True, pool: int = 1) -> keras.Model:
    """Make one plain model of a trunk, which shares the trunk's weights and is saved as Keras's own layers only.

    Args:
      trunk: what to cut.
      size: pixels of a side.
      stage: its name, or that of any other layer of the body; the end of the body where None.
      pooled: whether the feature map is averaged.
      pool: places a side that it is averaged to, where pooled: see `pooling.embedded`.

    Returns:
      A model, uint8 [N, size, size, 3] (the input 'pixels') -> float32 [N, pool * pool * C], or [N, h, w, C] where not
      pooled.

    Raises:
      UserError: an unknown stage, more places than its map has.
    """
    body = trunk.body
    if stage is not None:
        if stage not in {each.name for each in body.layers}:
            raise UserError(f"the trunk has no stage {stage!r}; its stages are: {', '.join(trunk.stages)}")
        body = keras.Model(body.inputs[0], body.get_layer(stage).output, name="body")
    images = keras.Input((size, size, 3), dtype="uint8", name="pixels")
    features = body(trunk.pixels(images))
    if pooled:
        check_pool(pool, features, stage or trunk.stages[-1])
        outputs = embedded(features, pool, "embedding")
    else:
        outputs = keras.layers.Identity(dtype="float32", name="features")(features)
    return keras.Model(images, outputs, name="encoder")


def stages_of(body: keras.Model) -> tuple[str, ...]:
    """Return the layers named stage1, stage2 and on, in this order, or else the layer that the body ends with."""
    names = [layer.name for layer in body.layers if re.fullmatch(r"stage\d+", layer.name)]
    if names:
        return tuple(sorted(names, key=lambda name: int(name.removeprefix("stage"))))
    return (body.outputs[0]._keras_history.operation.name,)


def _make_body(text: str, size: int) -> keras.Model:
    name, settings = parse_call(text)
    if name not in TRUNKS:
        raise unknown("trunk", name, TRUNKS)
    family = TRUNKS[name].from_text(settings)
    if size < family.least_size:
        raise UserError(f"size {size} is too small for {name}; give {family.least_size} pixels or more")
    return family.body(size)


def _own_body(model: keras.Model, size: int) -> keras.Model:
    wanted = f"expected a built Keras model, float [N, {size}, {size}, 3] -> float [N, h, w, C]"
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        raise UserError(f"the trunk {type(model).__name__} has no inputs and outputs; {wanted}")
    given = ", ".join(f"{x.dtype} {list(x.shape)}" for x in inputs)
    made = ", ".join(f"{x.dtype} {list(x.shape)}" for x in outputs)
    fits = len(inputs) == len(outputs) == 1 and len(inputs[0].shape) == len(outputs[0].shape) == 4
    fits = fits and inputs[0].shape[3] == 3 and all(side in (None, size) for side in inputs[0].shape[1:3])
    if not fits or "float" not in inputs[0].dtype or "float" not in outputs[0].dtype:
        raise UserError(f"the trunk takes {given} and gives {made}; {wanted}")
    return model
