"""A run's colorization of whole pictures of any size, in the graph: the command and the signature do the same."""

import math
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfssl.pipelines.ops import lab
from tfssl.tasks.parts import colour_losses
from tfssl.tasks.parts.served import Trained

STEP = 32
"""Pixels. Sides of what the network sees are multiples of it, so that every trunk's map fits exactly."""

LARGEST = 16
"""How many times the area of the run's own crops the network sees at most: pictures of 1 : 16 and longer shrink."""

BAND = 2**20
"""Pixels that are turned to Lab and back at once."""


class Colouring(Protocol):
    """What a `Colourer` asks of `tfssl.tasks.colorization.Colorization`."""

    @property
    def bins(self) -> bool:
        """Whether the head tells bins of colours apart; else it gives a and b themselves."""

    @property
    def temperature(self) -> float:
        """Temperature of the annealed mean over bins."""

    def draws(self, puzzle: Any, seed: int) -> Any:
        """Make a puzzle of lightness uint8 [B, H, W, 1] that asks for a colouring by a code drawn by a seed."""


class Colourer:
    """The network of a run on pictures of any size.

    Args:
      run: with colorization among its tasks.
      task: that one, with another temperature perhaps.
    """

    def __init__(self, run: Trained, task: Colouring):
        self._task = task
        self._size = run.settings.size
        side = run.random_trunk().body.inputs[0].shape[1]  # of a model of one's own that has a size
        self._is_fixed = side is not None
        spec = task.draws(tf.zeros([1, self._size, self._size, 1], tf.uint8), 0)
        if isinstance(spec, dict):
            inputs: Any = {key: self._input(key, part) for key, part in spec.items()}
        else:
            inputs = self._input("colorization", spec)
        self.solver = run.solver("colorization", inputs)
        self._painted = tf.function(self.painted, autograph=False, reduce_retracing=True)

    def _input(self, name: str, tensor: tf.Tensor) -> keras.KerasTensor:
        shape = tuple(tensor.shape[1:])
        if len(shape) == 3 and not self._is_fixed:
            shape = (None, None, shape[2])
        return keras.Input(shape, dtype=tensor.dtype.name, name=name)

    def __call__(self, image: np.ndarray, draw: int = 0) -> np.ndarray:
        """Do `painted` for arrays."""
        return self._painted(tf.constant(image), draw).numpy()

    def painted(self, image: tf.Tensor, draw: int = 0) -> tf.Tensor:
        """Colour uint8 [H, W, 3]; the lightness of each pixel stays as far as 8 bits can tell it.

        Args:
          draw: other numbers give other colourings, of a run of colorization(diverse=K).
        """
        height, width = tf.unstack(tf.shape(image)[:2])
        lightness = _by_bands(lambda rows, _: lab.rgb_to_lab(rows)[..., :1], image, tf.float32, 1)
        sides = [self._size] * 2 if self._is_fixed else seen_sides(height, width, self._size)
        seen = tf.image.resize(lightness, sides, antialias=True)
        seen = tf.cast(tf.clip_by_value(seen * 2.55, 0, 255) + 0.5, tf.uint8)[None]
        prediction = self.solver(self._task.draws(seen, draw), training=False)
        ab = colour_losses.predicted_ab(prediction, self._task.bins, self._task.temperature)[0]
        wide = tf.image.resize(ab, [tf.shape(ab)[0], width])

        def band(rows: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
            return lab.lab_to_rgb(tf.concat([rows, _stretch(wide, height, places)], -1))

        return _by_bands(band, lightness, tf.uint8, 3)


def seen_sides(height: tf.Tensor, width: tf.Tensor, size: int) -> tf.Tensor:
    """Return height and width, int32 [2], at which a network of crops of `size` sees a picture.

    Both are multiples of 32 pixels.
    """
    sides = tf.cast(tf.stack([height, width]), tf.float32)
    scale = tf.minimum(size / tf.reduce_min(sides), math.sqrt(LARGEST) * size / tf.sqrt(tf.reduce_prod(sides)))
    return tf.maximum(STEP, STEP * tf.cast(tf.round(sides * scale / STEP), tf.int32))


def _by_bands(function: Any, pixels: tf.Tensor, dtype: tf.DType, channels: int) -> tf.Tensor:
    """Apply a function of pixels to one band of rows after another: ten numbers or more a pixel would fill the memory.

    Args:
      function: (rows [h, W, c], their numbers int32 [h]) -> [h, W, channels].
      pixels: [H, W, c].
    """
    height, width = tf.unstack(tf.shape(pixels)[:2])
    count = (height * width - 1) // BAND + 1
    rows = (height - 1) // count + 1
    padded = tf.pad(pixels, [[0, count * rows - height], [0, 0], [0, 0]])
    bands = (tf.reshape(padded, [count, rows, width, pixels.shape[2]]), tf.reshape(tf.range(count * rows), [count, -1]))
    spec = tf.TensorSpec([None, None, channels], dtype)
    done = tf.map_fn(lambda band: function(*band), bands, parallel_iterations=1, fn_output_signature=spec)
    return tf.reshape(done, [count * rows, width, channels])[:height]


def _stretch(values: tf.Tensor, height: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Stretch float32 [h, W, c] bilinearly to `height` rows; return those of them at `places`, int32 [n]."""
    source = tf.shape(values)[0]
    at = (tf.cast(places, tf.float32) + 0.5) * tf.cast(source, tf.float32) / tf.cast(height, tf.float32) - 0.5
    at = tf.clip_by_value(at, 0.0, tf.cast(source - 1, tf.float32))
    low = tf.cast(at, tf.int32)
    share = (at - tf.cast(low, tf.float32))[:, None, None]
    return tf.gather(values, low) * (1 - share) + tf.gather(values, tf.minimum(low + 1, source - 1)) * share
