"""The network of a classifier: a trunk cut at a stage, its mean over all places, standardised, and one dense layer."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.downstream.probe import Probe
from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks import Trunk
from tfssl.models.trunks.pooling import embedded
from tfssl.multitask.model import PretextModel

INPUT, OUTPUT = "pixels", "label"
STANDARDISE, HEAD = "standardise", "logits"
EPSILON = 1e-9  # the variance of a probe has a floor of its own


def check_stage(trunk: Trunk, stage: str | None, option: str) -> str:
    """Return a stage of a trunk, the last one where None. Raise UserError where it has no such stage."""
    if stage is not None and stage not in trunk.stages:
        raise UserError(f"{option} {stage} is given; the trunk's stages are: {', '.join(trunk.stages)}")
    return stage or trunk.stages[-1]


def body_of(trunk: Trunk, stages: Sequence[str], test_mode: bool, freeze: str | None) -> keras.Model:
    """Cut a trunk's body, whose weights it shares: pixels as floats -> the map of a stage, or a list of several.

    Args:
      trunk, test_mode, freeze: as of `build`.
      stages: whose maps it gives.
    """
    maps = [trunk.body.get_layer(stage).output for stage in stages]
    body = keras.Model(trunk.body.inputs[0], maps if len(maps) > 1 else maps[0], name="body")
    if freeze is not None:
        for layer in keras.Model(body.inputs[0], body.get_layer(freeze).output).layers:
            layer.trainable = False
    for layer in body._flatten_layers():
        if isinstance(layer, BatchNormalization):
            layer.test_mode = test_mode
    return body


def forward_of(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Trace a network in test mode: uint8 [N, S, S, 3] -> what it answers."""
    spec = tf.TensorSpec(model.input[INPUT].shape, tf.uint8)
    call = tf.function(lambda images: model({INPUT: images}, training=False)[OUTPUT], input_signature=[spec])
    return call.get_concrete_function()


def build(
    trunk: Trunk, size: int, stage: str, classes: int, test_mode: bool = True, freeze: str | None = None
) -> PretextModel:
    """Build the network on a trunk, which it shares.

    Args:
      trunk: its weights are learned on; of `Trunk.copy`, whose batch norm has a test mode.
      size: pixels of a side.
      stage: where the trunk is cut.
      classes: how many.
      test_mode: whether batch norm keeps its statistics, while its scale and shift learn.
      freeze: stages up to this one stay as they are.

    Returns:
      {"pixels": uint8 [N, size, size, 3]} -> {"label": logits float32 [N, classes]}.
    """
    body = body_of(trunk, [stage], test_mode, freeze)
    images = keras.Input((size, size, 3), dtype="uint8", name=INPUT)
    maps = body(trunk.pixels(images))
    standardise = keras.layers.BatchNormalization(
        center=False, scale=False, epsilon=EPSILON, dtype="float32", trainable=False, name=STANDARDISE
    )
    scaled = standardise(embedded(maps, name="embedding"))
    logits = keras.layers.Dense(classes, dtype="float32", kernel_initializer="zeros", name=HEAD)(scaled)
    return PretextModel({INPUT: images}, {OUTPUT: logits}, name="classifier")


def set_head(model: keras.Model, probe: Probe) -> None:
    """Give the network's head the weights of a probe of the same features."""
    model.get_layer(STANDARDISE).set_weights([probe.mean, probe.variance])
    model.get_layer(HEAD).set_weights([probe.kernel, probe.bias])


def scales(model: keras.Model, stages: Sequence[str], decay: float) -> list[float]:
    """Return what the learning rate of each trainable variable is multiplied by, in their order.

    It is 1 of the head and of the last stage, `decay` of the stage before it, its square of the one before that.
    """
    body = model.get_layer("body")
    stages = [stage for stage in stages if stage in {layer.name for layer in body.layers}]
    of: dict[int, float] = {}
    for number, stage in enumerate(reversed(stages)):
        for layer in keras.Model(body.inputs[0], body.get_layer(stage).output).layers:
            of |= {id(variable): decay**number for variable in layer.trainable_variables}
    return [of.get(id(variable), 1.0) for variable in model.trainable_variables]


def with_probabilities(model: keras.Model, temperature: float, several: bool) -> keras.Model:
    """Make the classifier that is handed on: uint8 [N, S, S, 3] -> probabilities float32 [N, classes].

    It shares the network's weights and has Keras's own layers only.

    Args:
      temperature: what logits are divided by.
      several: a sigmoid of each class; else a softmax.
    """
    logits = keras.layers.Rescaling(1.0 / temperature, dtype="float32", name="calibration")(model.output[OUTPUT])
    activation = "sigmoid" if several else "softmax"
    shares = keras.layers.Activation(activation, dtype="float32", name="probabilities")(logits)
    return keras.Model(model.input[INPUT], shares, name="classifier")


def weights_of(model: keras.Model) -> list[np.ndarray]:
    """Return copies of all weights."""
    return [np.array(weight) for weight in model.get_weights()]
