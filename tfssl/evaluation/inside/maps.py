"""What a stage says of the places of some pictures, as colours, and as few numbers to compare places by."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError

LARGEST = 32
"""Places a side: finer maps are averaged to so many, as their page would grow by megabytes."""
KEPT = 32
"""Numbers that a place keeps."""
TAILS = 2
"""Percent of the places at either end of a direction that get its extreme colours: a few must not take them all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """A stage of N pictures.

    Attributes:
      stage: its name.
      height, width, channels: of its map, before it is averaged.
      colours: uint8 [N, h, w, 3], the three directions in which all places vary most, as red, green and blue.
      explained: share of the variance that these have, 0..1.
      kept: int8 [N, h, w, K], rows whose cosines are about those of the places themselves.
      error: the largest difference of a cosine among some thousand pairs of places.
    """

    stage: str
    height: int
    width: int
    channels: int
    colours: np.ndarray
    explained: float
    kept: np.ndarray
    error: float


def places_of(stage: str, maps: np.ndarray, seed: int) -> Places:
    """Make what is shown of a stage.

    Args:
      maps: float [N, h, w, C].
      seed: of the pairs that `error` is measured on.

    Raises:
      UserError: numbers that are not finite, or the same at all places.
    """
    if not np.isfinite(maps).all():
        raise UserError(f"the features of {stage} hold numbers that are not finite; did training diverge?")
    height, width, channels = maps.shape[1:]
    if max(height, width) > LARGEST:
        size = (min(height, LARGEST), min(width, LARGEST))
        maps = tf.image.resize(maps, size, method="area").numpy()
    rows = maps.reshape(-1, channels).astype(np.float64)
    if np.ptp(rows, axis=0).max() < 1e-6:
        raise UserError(
            f"the features of {stage} are the same at all places of all pictures, so that nothing lights up; choose"
            " another --stage, or another network"
        )
    colours, explained = principal_colours(rows)
    kept, error = reduced(rows, seed)
    shape = maps.shape[:3]
    return Places(
        stage=stage,
        height=height,
        width=width,
        channels=channels,
        colours=colours.reshape(*shape, 3),
        explained=explained,
        kept=kept.reshape(*shape, -1),
        error=error,
    )


def principal_colours(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Give each row the colour of its first three principal components, over all rows together.

    Returns:
      uint8 [N, 3], 0..255 from the second to the 98th percentile of each; and their share of the variance.
    """
    centred = rows - rows.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    parts = np.zeros((len(rows), 3))
    first = directions[:, ::-1][:, :3]
    first *= np.sign(first[np.abs(first).argmax(0), np.arange(first.shape[1])])  # else they may come out either way
    parts[:, : first.shape[1]] = centred @ first
    low, high = np.percentile(parts, (TAILS, 100 - TAILS), axis=0)
    shares = np.clip((parts - low) / np.maximum(high - low, 1e-12), 0, 1)
    total = max(float(variances.sum()), 1e-300)
    return np.round(255 * shares).astype(np.uint8), float(variances[::-1][:3].sum() / total)


def reduced(rows: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Return few small whole numbers of each row, by which cosines between rows are about what they were.

    Of rows of length 1, along the directions that hold most of their products.

    Returns:
      int8 [N, K], and the largest difference of a cosine among 2,000 pairs that the seed draws.
    """
    units = _unit(rows)
    _, directions = np.linalg.eigh(units.T @ units)
    parts = units @ directions[:, ::-1][:, :KEPT]
    kept = np.round(127 * parts / max(float(np.abs(parts).max()), 1e-12)).astype(np.int8)
    one, other = np.random.default_rng(seed).integers(len(rows), size=(2, 2000))
    small = _unit(kept.astype(np.float64))
    error = np.abs((units[one] * units[other]).sum(1) - (small[one] * small[other]).sum(1)).max()
    return kept, float(error)


def filters_of(layers: Sequence[object]) -> np.ndarray | None:
    """Return the filters of the first convolution of colours among layers, float [n, h, w, 3]; None where none is."""
    for layer in layers:
        inner = filters_of(layer.layers) if hasattr(layer, "layers") else None
        if inner is not None:
            return inner
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4 and kernel.shape[2] == 3 and kernel.shape[0] > 1:
            return np.moveaxis(np.asarray(kernel, np.float32), -1, 0)
    return None


def drawn_filters(filters: np.ndarray) -> np.ndarray:
    """Return filters as pictures, uint8 [n, h, w, 3]: grey is 0, and the largest weight of each is black or white."""
    largest = np.maximum(np.abs(filters).max((1, 2, 3), keepdims=True), 1e-12)
    return np.round(127.5 + 127.5 * filters / largest).astype(np.uint8)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
