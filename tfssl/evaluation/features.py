"""The features of all stages of a frozen trunk, in one pass over the data."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.sources import AnySource

Extractor = Callable[[tf.Tensor], tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]]

LARGEST = float(np.finfo(np.float16).max)


class Features(NamedTuple):
    """What a frozen trunk makes of N pictures. Rows of broken pictures are left out."""

    maps: dict[str, np.ndarray]  # stage -> float16 [N, grid * grid * channels], for the linear probe
    pooled: dict[str, np.ndarray]  # stage -> float16 [N, channels], global average, for k-NN
    rows: np.ndarray  # int64 [N]: which row of the source each is
    broken: int  # how many pictures could not be decoded


def choose_grid(side: int, channels: int, numbers: int = 9216) -> int:
    """The finest grid, at most `side`, on which a map of `channels` channels has at most `numbers` numbers.

    For ResNet-50 at 224 pixels this gives the sizes of Goyal et al. 2019 (arXiv 1905.01235): 12, 6, 4, 3 and 2
    for 64, 256, 512, 1024 and 2048 channels, thus 9216, 9216, 8192, 9216 and 8192 numbers.
    """
    return max(1, min(side, math.isqrt(numbers // channels)))


def pooling_matrix(side: int, grid: int) -> np.ndarray:
    """float32 [grid, side]: row i averages the positions floor(i side / grid) to ceil((i + 1) side / grid) - 1.

    Windows of equal size without overlap where `grid` divides `side`; else neighbours share a position.
    """
    matrix = np.zeros((grid, side), np.float32)
    for row in range(grid):
        first, end = row * side // grid, -(-(row + 1) * side // grid)
        matrix[row, first:end] = 1.0 / (end - first)
    return matrix


def pool_to_grid(features: tf.Tensor, grid: int) -> tf.Tensor:
    """Average a map, float32 [N, H, W, C] with static H, W and C, to float32 [N, grid * grid * C]."""
    height, width, channels = features.shape[1:]
    if (height, width) != (grid, grid):
        if height % grid == 0 and width % grid == 0:
            window = (height // grid, width // grid)
            features = tf.nn.avg_pool2d(features, window, window, "VALID")
        else:
            rows, columns = pooling_matrix(height, grid), pooling_matrix(width, grid)
            features = tf.einsum("gh,nhwc->ngwc", rows, features)
            features = tf.einsum("kw,ngwc->ngkc", columns, features)
    return tf.reshape(features, [-1, grid * grid * channels])


def stage_model(trunk: Any, size: int) -> keras.Model:
    """uint8 [N, size, size, 3] -> {stage: map}, of one trunk (`pixels`, `body` and `stages` of it are read)."""
    body = trunk.body
    stages = keras.Model(body.inputs[0], {name: body.get_layer(name).output for name in trunk.stages})
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    return keras.Model(images, stages(trunk.pixels(images)))


def grids_of(model: keras.Model, numbers: int = 9216, grid: int | None = None) -> dict[str, int]:
    """The grid of each stage of a `stage_model`: `grid`, or what `choose_grid` says. At most the map's side.

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


def make_extractor(model: keras.Model, grids: Mapping[str, int] | None, pooled: bool = True) -> Extractor:
    """What `extract` runs: the `stage_model` in test mode and the pooling, traced once for batches of any size.

    Args:
        model: of `stage_model`.
        grids: the grid of each stage, or None for no maps.
        pooled: whether to give the global averages.

    Returns:
        uint8 [n, S, S, 3] -> (maps, averages), both {stage: float16 [n, D]}. Values beyond the range of float16 are
        cut to it.
    """

    def small(part: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.cast(tf.clip_by_value(value, -LARGEST, LARGEST), tf.float16) for name, value in part.items()}

    def features_of(images: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        maps = {name: tf.cast(value, tf.float32) for name, value in model(images, training=False).items()}
        flat = {name: pool_to_grid(maps[name], grid) for name, grid in (grids or {}).items()}
        mean = {name: tf.reduce_mean(value, [1, 2]) for name, value in maps.items()} if pooled else {}
        return small(flat), small(mean)

    # A concrete function, or TensorFlow warns of retracing after a few small evaluations in one process.
    signature = [tf.TensorSpec(model.input.shape, tf.uint8)]
    return tf.function(features_of, input_signature=signature).get_concrete_function()


def extract_source(extractor: Extractor, source: AnySource, size: int, batch_size: int, frames: int = 1) -> Features:
    """Run an extractor over a source in its order.

    Args:
      extractor: of `make_extractor`.
      source: pictures, or clips.
      size: side of the squares that the extractor takes, pixels.
      batch_size: pictures or clips at once.
      frames: of each clip, spread evenly over it, over which features are averaged; 1 for the one in its middle.

    Raises:
        UserError: a feature is no finite number.
    """
    found = [
        extract(extractor, batches.plain(source, size, batch_size, at=(number + 0.5) / frames), source.count)
        for number in range(frames)
    ]
    if frames == 1:
        return found[0]

    def mean(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {
            name: np.stack([part[name] for part in parts]).mean(0, np.float32).astype(np.float16) for name in parts[0]
        }

    maps, pooled = mean([each.maps for each in found]), mean([each.pooled for each in found])
    return found[0]._replace(maps=maps, pooled=pooled)


def extract(extractor: Extractor, rows_of: Iterable[Mapping[str, tf.Tensor]], count: int) -> Features:
    """Run an extractor over batches of rows, once. No variable of its model changes.

    Args:
        extractor: of `make_extractor`.
        rows_of: dicts of "image" uint8 [b, S, S, 3], "valid" bool [b] and "index" int64 [b].
        count: how many rows there are at most (memory is taken once).

    Raises:
        UserError: a feature is no finite number.
    """
    stores: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    index = np.zeros(count, np.int64)
    done = broken = 0
    for batch in rows_of:
        valid = np.asarray(batch["valid"])
        rows = int(valid.sum())
        broken += len(valid) - rows
        for store, part in zip(stores, extractor(batch["image"]), strict=True):
            for name, value in part.items():
                kept = value.numpy()[valid]
                if not np.isfinite(kept).all():
                    raise UserError(f"the features of {name} hold numbers that are not finite; did training diverge?")
                store.setdefault(name, np.empty((count, kept.shape[1]), np.float16))[done : done + rows] = kept
        index[done : done + rows] = np.asarray(batch["index"])[valid]
        done += rows
    maps, means = ({name: values[:done] for name, values in store.items()} for store in stores)
    return Features(maps, means, index[:done], broken)
