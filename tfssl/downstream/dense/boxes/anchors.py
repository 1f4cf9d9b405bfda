"""RetinaNet on a trunk's stages (Lin et al. 2017, arXiv 1708.02002), of KerasHub's parts.

Levels are named as there, from P3 on: places of P3 are 8 pixels apart on a picture that is enlarged or shrunk so far.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Self

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras_hub.src.models.retinanet.feature_pyramid import FeaturePyramid
from keras_hub.src.models.retinanet.retinanet_label_encoder import RetinaNetLabelEncoder

from tfssl.base.errors import UserError
from tfssl.downstream.dense.network import WIDTH
from tfssl.pipelines.ops.annotations import BOX

FIRST = 3
"""The finest level."""
FINEST, COARSEST = 32, 4
"""The finest level has fewer places on a side, the coarsest at most so many."""
SIZE = 2.5
"""Side of the smaller anchor, over the distance of places."""
SCALES, RATIOS = 2, (0.5, 1.0, 2.0)
"""Anchors of a place: of Lin et al.'s table 1 (b), as good as three scales."""
LAYERS = 2
"""Convolutions of each head before the last."""
LARGEST = 4.0
"""Limit of the logarithm of how much larger a box is than its anchor: of a number that is not learned yet."""


@dataclasses.dataclass(frozen=True)
class Levels:
    """Levels of the pyramid, the finest first.

    Attributes:
      stages: of the trunk, one a level; further levels are made by strides.
      sides: places on a side of each level.
    """

    stages: tuple[str, ...]
    sides: tuple[int, ...]

    @classmethod
    def of(cls, maps: Sequence[tuple[str, int]]) -> Self:
        """Choose levels among stages, (name, places on a side), first to last.

        The last stage is a level. Each finer level has twice the places on a side, and is the last of the stages that
        has about as many or more; up to fewer than 32. Each coarser one has half of them, down to 4 or fewer.

        Raises:
          UserError: the last stage has 32 or more, or no stage has 4 or more.
        """
        last, side = maps[-1]
        if side >= FINEST:
            raise UserError(
                f"--stage {last} has {side} x {side} places, too fine for boxes; expected fewer than {FINEST} on a"
                " side: give a later stage"
            )
        stages: list[str] = []
        sides: list[int] = []
        while side < FINEST:
            near = [name for name, own in maps if own >= side * 0.71]
            if not near:
                break
            stages.insert(0, near[-1])
            sides.insert(0, side)
            side *= 2
        if sides[0] < COARSEST:
            raise UserError(
                f"the stages up to {last} have {sides[0]} x {sides[0]} places at most, too few to find boxes; give"
                " larger pictures with --size, or a trunk with finer stages"
            )
        while sides[-1] > COARSEST:
            sides.append(-(-sides[-1] // 2))
        return cls(tuple(stages), tuple(sides))

    @property
    def picture(self) -> int:
        """Pixels of a side of the picture that anchors are laid on."""
        return 2**FIRST * self.sides[0]

    @property
    def last(self) -> int:
        """The coarsest level."""
        return FIRST + len(self.sides) - 1


class CentredAnchors(keras_hub.layers.AnchorGenerator):
    """KerasHub's anchors, around the middle of each place: its own (0.32) are around its upper left corner."""

    def call(self, inputs: Any) -> dict[str, Any]:
        side, corner = inputs.shape[1], super().call(inputs)
        between = {level: side // -(-side // 2 ** int(level[1:])) for level in corner}
        return {level: boxes + between[level] / 2 for level, boxes in corner.items()}


@functools.lru_cache(maxsize=8)
def label_encoder(levels: Levels) -> RetinaNetLabelEncoder:
    """Make what matches anchors with boxes: from 0.5 of intersection over union on, and the best of each box."""
    generator = CentredAnchors("xyxy", FIRST, levels.last, SCALES, list(RATIOS), SIZE)
    return RetinaNetLabelEncoder(
        generator, "xyxy", encoding_format="center_xywh", box_matcher_force_match_for_each_col=True
    )


@functools.lru_cache(maxsize=8)
def anchors_of(levels: Levels) -> np.ndarray:
    """Return left, top, right and bottom of all anchors as shares of the picture's sides, float32 [A, 4]."""
    with tf.init_scope():
        laid = label_encoder(levels).anchor_generator(tf.zeros([1, levels.picture, levels.picture, 1]))
        return np.concatenate([each.numpy() for each in laid.values()]) / levels.picture


def head(maps: Sequence[keras.KerasTensor], levels: Levels, classes: int) -> keras.KerasTensor:
    """Build the pyramid and its two heads on standardised maps of `levels.stages`.

    Returns:
      float32 [N, A, 1, 4 + classes]: offsets from each anchor, and logits of classes.
    """
    inputs = {}
    for level, (each, side) in enumerate(zip(maps, levels.sides, strict=False), FIRST):
        if each.shape[1] != side:  # of trunks that do not halve
            each = keras.layers.Resizing(side, side, interpolation="bilinear", dtype="float32")(each)
        inputs[f"P{level}"] = each
    pyramid = FeaturePyramid(FIRST, levels.last, False, num_filters=WIDTH, dtype="float32", name="pyramid")(inputs)
    places = SCALES * len(RATIOS)
    # Lin et al., 4.1: in the beginning all say that there is hardly anything, or the many empty places drown the rest.
    heads = ((4, _head("boxes", 4 * places, 0.0)), (classes, _head("classes", classes * places, -math.log(99))))
    of_levels = []
    for level in range(FIRST, levels.last + 1):
        x = pyramid[f"P{level}"]
        parts = [
            keras.layers.Reshape((-1, 1, count), dtype="float32")(functools.reduce(lambda y, layer: layer(y), made, x))
            for count, made in heads
        ]
        of_levels.append(keras.layers.Concatenate(dtype="float32")(parts))
    return of_levels[0] if len(of_levels) == 1 else keras.layers.Concatenate(1, dtype="float32")(of_levels)


def _head(name: str, outputs: int, bias: float) -> list[keras.layers.Layer]:
    """Make the layers that all levels share. KerasHub's PredictionHead (0.32) cannot be read again from a file."""
    how = {"kernel_size": 3, "padding": "same", "dtype": "float32"}
    layers = [
        keras.layers.Conv2D(WIDTH, activation="relu", kernel_initializer="he_normal", name=f"{name}{number + 1}", **how)
        for number in range(LAYERS)
    ]
    first = {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01),
        "bias_initializer": keras.initializers.Constant(bias),
    }
    return [*layers, keras.layers.Conv2D(outputs, name=name, **first, **how)]


def decoded(outputs: Any, levels: Levels) -> Any:
    """Make boxes of what the network says, by Keras's own layers.

    Returns:
      float32 [N, A, 1, 4 + classes]: x and y of the middle, width and height as shares of the picture's sides;
      probabilities of classes.
    """
    left, top, right, bottom = anchors_of(levels).T
    sides = np.stack([right - left, bottom - top], 1)
    middle = np.stack([left + right, top + bottom], 1) / 2
    # The one layer of Keras that multiplies each number by a weight of its own.
    place = keras.layers.EinsumDense(
        "nauc,ac->nauc", (len(sides), 1, 4), bias_axes="ac", trainable=False, dtype="float32", name="anchors"
    )
    place.build((None, len(sides), 1, 4))
    bias = np.concatenate([middle, np.zeros_like(middle)], 1)
    place.set_weights([np.concatenate([sides, sides], 1), bias[:, None]])
    limited = keras.layers.ReLU(max_value=2 * LARGEST, dtype="float32")(outputs[..., 2:4] + LARGEST) - LARGEST
    larger = keras.layers.Activation("exponential", dtype="float32")(limited)
    boxes = place(keras.layers.Concatenate(dtype="float32")([outputs[..., :2], larger]))
    shares = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(outputs[..., 4:])
    return keras.layers.Concatenate(dtype="float32", name="found")([boxes, shares])


def matched(answers: tf.Tensor, levels: Levels) -> tuple[tf.Tensor, tf.Tensor]:
    """Match anchors with the boxes of pictures.

    Args:
      answers: float32 [B, K, 6], of `pipelines.ops.annotations.cut_boxes`; the last row of each picture is of kind 0,
        which KerasHub's matcher needs.

    Returns:
      Offsets float32 [B, A, 4], and classes float32 [B, A]: -1 where there is nothing, -2 where that is left open:
      between the thresholds, and where the middle of the anchor lies in a box that is left out, or in a crowd.
    """
    encoder, side = label_encoder(levels), levels.picture
    blank = tf.zeros([1, side, side, 1])
    corners = anchors_of(levels)
    x, y = (corners[:, 0] + corners[:, 2]) / 2, (corners[:, 1] + corners[:, 3]) / 2

    def match(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        is_thing, is_open = rows[:, 5] == BOX, rows[:, 5] > BOX
        boxes = tf.where(is_thing[:, None], rows[:, :4] * side, tf.constant([-2.0, -2.0, -1.0, -1.0]))
        numbers = tf.where(is_thing, rows[:, 4], -1.0)
        offsets, classes = encoder(blank, boxes[None], numbers[None])
        left, top, right, bottom = tf.unstack(rows[:, :4], axis=1)
        inside = (x[:, None] > left) & (x[:, None] < right) & (y[:, None] > top) & (y[:, None] < bottom)
        in_open = tf.reduce_any(inside & is_open, 1)
        return offsets[0], tf.where(in_open & (classes[0] < 0), -2.0, classes[0])

    # One picture at a time: the pairs of all anchors and boxes of a batch would take gigabytes.
    spec = (tf.TensorSpec([len(corners), 4], tf.float32), tf.TensorSpec([len(corners)], tf.float32))
    return tf.map_fn(match, answers, fn_output_signature=spec)
