"""The one head of all dense targets: a small feature pyramid on the trunk's stages.

As the top-down path of Lin et al. 2017 (arXiv 1612.03144): maps of all stages go through a 1 x 1 convolution each, the
coarsest is enlarged and added to the next finer one, and so on; a map of a quarter of the picture's side or more comes
out, from which a 1 x 1 convolution makes the answer. Where the finest stage is coarser than that, it is enlarged
further, as Xiao et al. 2018 (arXiv 1804.06208) do with their last one. Maps are standardised by what the training
pictures give, so that the same head fits the scales of every encoder and stage.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.downstream.network import EPSILON, INPUT, OUTPUT, body_of
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel

WIDTH = 64
"""Channels of the head."""
Moments = list[tuple[np.ndarray, np.ndarray]]
"""Mean and variance of each channel, float32 [C], of each stage."""


def stages_up_to(trunk: Trunk, stage: str) -> tuple[str, ...]:
    """Return the stages that the head reads: that one and those before it."""
    return trunk.stages[: trunk.stages.index(stage) + 1]


def moments(trunk: Trunk, size: int, stages: Sequence[str], pictures: Iterable[tf.Tensor]) -> Moments:
    """Measure the maps of a trunk's stages over pictures, uint8 [N, size, size, 3] each."""
    body = body_of(trunk.copy(), stages, True, None)
    pixels = trunk.pixels

    def sums(images: tf.Tensor) -> list[tf.Tensor]:
        maps = tf.nest.flatten(body(pixels(images), training=False))
        maps = [tf.cast(each, tf.float32) for each in maps]
        return [tf.stack([tf.reduce_mean(x, [0, 1, 2]), tf.reduce_mean(x * x, [0, 1, 2])]) for x in maps]

    spec = tf.TensorSpec([None, size, size, 3], tf.uint8)
    traced = tf.function(sums, input_signature=[spec]).get_concrete_function()
    found = [[each.numpy().astype(np.float64) for each in traced(images)] for images in pictures]
    means = [np.mean(per_stage, 0) for per_stage in zip(*found, strict=True)]
    return [(mean.astype(np.float32), (square - mean**2).astype(np.float32)) for mean, square in means]


def build(
    trunk: Trunk,
    size: int,
    stages: Sequence[str],
    head_on: Callable[[Sequence[keras.KerasTensor], int], keras.KerasTensor],
    measured: Moments,
    *,
    test_mode: bool,
    freeze: str | None = None,
    frozen: bool = False,
) -> PretextModel:
    """Build the network on a trunk, which it shares.

    Args:
      trunk, size, test_mode, freeze: as of `downstream.network.build`.
      stages: whose maps the head reads, first to last.
      head_on: makes the answer, a map, of these maps standardised and of `size`.
      measured: of `moments`.
      frozen: whether the trunk stays as it is.

    Returns:
      {"pixels": uint8 [N, size, size, 3]} -> {"label": float32 [N, ., ., .]}.
    """
    body = body_of(trunk, stages, test_mode, freeze)
    images = keras.Input((size, size, 3), dtype="uint8", name=INPUT)
    maps = tf.nest.flatten(body(trunk.pixels(images)))
    inputs = [keras.Input(each.shape[1:], dtype=each.dtype) for each in maps]
    scaled = [
        keras.layers.BatchNormalization(
            center=False,
            scale=False,
            epsilon=EPSILON,
            dtype="float32",
            trainable=False,
            name=f"standardise{number + 1}",
        )(each)
        for number, each in enumerate(inputs)
    ]
    head = keras.Model(inputs, head_on(scaled, size), name="head")
    for number, (mean, variance) in enumerate(measured):
        # A channel that says nothing has no variance to divide by.
        head.get_layer(f"standardise{number + 1}").set_weights([mean, np.maximum(variance, EPSILON)])
    body.trainable = not frozen
    answer = head(maps if len(maps) > 1 else maps[0])
    return PretextModel({INPUT: images}, {OUTPUT: answer}, name="dense")


def pyramid(maps: Sequence[keras.KerasTensor], size: int, outputs: int, full_size: bool) -> keras.KerasTensor:
    """Build the head on standardised maps.

    Args:
      maps: of stages, first to last.
      size: pixels of a side of the pictures.
      outputs: channels of the answer.
      full_size: whether the answer is enlarged to the picture's size.
    """
    x: Any = None
    for number in reversed(range(len(maps))):
        side = keras.layers.Conv2D(WIDTH, 1, dtype="float32", name=f"lateral{number + 1}")(maps[number])
        if x is not None:
            side = keras.layers.Add()([side, _enlarged(x, side.shape[1:3])])
        x = _smoothed(side, f"smooth{number + 1}")
    least = -(-size // 4)
    while min(x.shape[1:3]) < least:
        sides = [min(2 * side, least) for side in x.shape[1:3]]
        x = _smoothed(_enlarged(x, sides), f"enlarge{max(sides)}")
    x = keras.layers.Conv2D(
        outputs, 1, dtype="float32", kernel_initializer=keras.initializers.RandomNormal(stddev=0.001), name="answer"
    )(x)
    return _enlarged(x, (size, size)) if full_size else x


def _smoothed(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.Conv2D(WIDTH, 3, padding="same", activation="relu", dtype="float32", name=name)(x)


def _enlarged(x: keras.KerasTensor, sides: Sequence[int]) -> keras.KerasTensor:
    if tuple(x.shape[1:3]) == tuple(sides):
        return x
    return keras.layers.Resizing(*sides, interpolation="bilinear", dtype="float32")(x)
