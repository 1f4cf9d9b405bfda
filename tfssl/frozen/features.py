"""The features of all stages of a frozen trunk, in one pass over the data."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks.pooling import embedded
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource

Extractor = Callable[[tf.Tensor], dict[str, dict[int, tf.Tensor]]]

LARGEST = float(np.finfo(np.float16).max)


class Features(NamedTuple):
    """What a frozen trunk makes of N pictures. Rows of broken pictures are left out."""

    stages: Mapping[str, dict[int, Any]]  # stage -> places a side -> float16 [N, places * places * channels]
    rows: np.ndarray  # int64 [N]: which row of the source each is
    broken: int  # how many pictures could not be decoded


def choose_grid(side: int, channels: int, numbers: int = 9216) -> int:
    """Return the finest grid, at most `side`, on which a map of `channels` channels has at most `numbers` numbers.

    For ResNet-50 at 224 pixels this gives the sizes of Goyal et al. 2019 (arXiv 1905.01235): 12, 6, 4, 3 and 2
    for 64, 256, 512, 1024 and 2048 channels, thus 9216, 9216, 8192, 9216 and 8192 numbers.
    """
    return max(1, min(side, math.isqrt(numbers // channels)))


def stage_model(trunk: Any, size: int, more: Callable[[keras.Model, Any], keras.Model] | None = None) -> keras.Model:
    """Make a model, uint8 [N, size, size, 3] -> {stage: map}, of a trunk (its `pixels`, `body`, `stages` are read).

    Args:
      more: adds to the model of stages what it makes of the body's output.
    """
    body = trunk.body
    stages = keras.Model(body.inputs[0], {name: body.get_layer(name).output for name in trunk.stages})
    if more is not None:
        stages = more(stages, body.output)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    return keras.Model(images, stages(trunk.pixels(images)))


def grids_of(model: keras.Model, numbers: int = 9216, grid: int | None = None) -> dict[str, int]:
    """Return the grid of each stage of a `stage_model`: `grid`, or what `choose_grid` says. At most the map's side.

    Raises:
        UserError: `numbers` or `grid` is below 1.
    """
    for name, value in (("numbers", numbers), ("grid", grid)):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; a stage must keep something: give 1 or more")
    sides = {name: (min(output.shape[1:3]), output.shape[3]) for name, output in model.output.items()}
    return {
        name: min(grid, side) if grid is not None else choose_grid(side, channels, numbers)
        for name, (side, channels) in sides.items()
    }


def make_extractor(model: keras.Model, places: Mapping[str, Iterable[int]]) -> Extractor:
    """Make what `extract` runs: the `stage_model` in test mode and the pooling, traced once for batches of any size.

    A stage averaged to some places is what `trunks.make_encoder` gives of it, by the same layers.

    Args:
        model: of `stage_model`.
        places: stage -> how many places a side its map is averaged to, once for each: see `trunks.pooling.embedded`.

    Returns:
        uint8 [n, S, S, 3] -> {stage: {places: float16 [n, places * places * channels]}}. Values beyond the range of
        float16 are cut to it.
    """
    outputs = {name: {side: embedded(model.output[name], side) for side in sides} for name, sides in places.items()}
    pooling = keras.Model(model.inputs, outputs)

    def features_of(images: tf.Tensor) -> dict[str, dict[int, tf.Tensor]]:
        return tf.nest.map_structure(
            lambda value: tf.cast(tf.clip_by_value(value, -LARGEST, LARGEST), tf.float16),
            pooling(images, training=False),
        )

    # A concrete function, or TensorFlow warns of retracing after a few small evaluations in one process.
    signature = [tf.TensorSpec(model.input.shape, tf.uint8)]
    return tf.function(features_of, input_signature=signature).get_concrete_function()


class Reading:
    """A source in its order, as squares of one size. What reads it is traced once, however often it is read.

    Args:
      source: pictures, or clips.
      size: side of the squares, pixels.
      batch_size: pictures or clips at once.
      frames: of each clip, spread evenly over it; 1 for the one in its middle.
    """

    def __init__(self, source: AnySource, size: int, batch_size: int, frames: int = 1):
        self.source = source
        self.passes = [batches.plain(source, size, batch_size, at=(n + 0.5) / frames) for n in range(frames)]

    def features(self, extractor: Extractor) -> Features:
        """Run an extractor of `make_extractor` over the source; features are averaged over frames.

        Raises:
            UserError: a feature is no finite number.
        """
        each = [extract(extractor, rows, self.source.count) for rows in self.passes]
        if len(each) == 1:
            return each[0]
        stages = {
            name: {
                side: np.stack([one.stages[name][side] for one in each]).mean(0, np.float32).astype(np.float16)
                for side in sides
            }
            for name, sides in each[0].stages.items()
        }
        return each[0]._replace(stages=stages)


def extract(extractor: Extractor, rows_of: Iterable[Mapping[str, tf.Tensor]], count: int) -> Features:
    """Run an extractor over batches of rows, once. No variable of its model changes.

    Args:
        extractor: of `make_extractor`.
        rows_of: dicts of "image" uint8 [b, S, S, 3], "valid" bool [b] and "index" int64 [b].
        count: how many rows there are at most (memory is taken once).

    Raises:
        UserError: a feature is no finite number.
    """
    stores: dict[str, dict[int, np.ndarray]] = {}
    index = np.zeros(count, np.int64)
    done = broken = 0
    for batch in rows_of:
        valid = np.asarray(batch["valid"])
        rows = int(valid.sum())
        broken += len(valid) - rows
        for name, sides in extractor(batch["image"]).items():
            store = stores.setdefault(name, {})
            for side, value in sides.items():
                kept = value.numpy()[valid]
                if not np.isfinite(kept).all():
                    raise UserError(f"the features of {name} hold numbers that are not finite; did training diverge?")
                store.setdefault(side, np.empty((count, kept.shape[1]), np.float16))[done : done + rows] = kept
        index[done : done + rows] = np.asarray(batch["index"])[valid]
        done += rows
    stages = {name: {side: kept[:done] for side, kept in store.items()} for name, store in stores.items()}
    return Features(stages, index[:done], broken)


def check_broken(source: AnySource, undecodable: int, max_broken: float) -> None:
    """Raise UserError where more than the share `max_broken` of a source's pictures, or all, cannot be decoded."""
    if undecodable > max_broken * source.count or undecodable == source.count:
        raise UserError(
            f"{undecodable} of {source.count} pictures in {source.name} cannot be decoded to their end, more than "
            f"--max-broken {max_broken:g} allows; mend or remove them, or allow more"
        )
