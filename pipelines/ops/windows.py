"""Windows on a whole picture around what is hidden in it, for a network that sees squares of one size."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

LEAST_SHARE = 0.01
BAND = 512


class Box(NamedTuple):
    """Pixels of a picture."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """Cut that part of an array [H, W, ...], not copied."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def bounds(hidden: np.ndarray) -> Box:
    """Return the smallest box around all that is hidden, bool [H, W]. Raise ValueError where nothing is."""
    rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
    if not len(rows):
        raise ValueError("nothing is hidden")
    return Box(int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)


def divide_hidden(hidden: np.ndarray, side: int) -> Iterator[Box]:
    """Divide hidden pixels (bool [H, W]) among boxes: one around a compact hole, several for a long scratch.

    A box longer than `side` of which less than half is hidden is divided, where that cuts through the fewest hidden
    pixels: one window around scattered holes would show the network everything small.
    """

    def divide(box: Box) -> Iterator[Box]:
        inside = box.of(hidden)
        if not inside.any():
            return
        tight = bounds(inside)
        box = Box(box.top + tight.top, box.left + tight.left, tight.height, tight.width)
        if max(box.height, box.width) <= side or box.of(hidden).mean() >= 0.5:
            yield box
            return
        (row_cost, height), (column_cost, width) = _cheapest_cut(box.of(hidden)), _cheapest_cut(box.of(hidden).T)
        if row_cost <= column_cost:
            yield from divide(box._replace(height=height))
            yield from divide(box._replace(top=box.top + height, height=box.height - height))
        else:
            yield from divide(box._replace(width=width))
            yield from divide(box._replace(left=box.left + width, width=box.width - width))

    yield from divide(Box(0, 0, *hidden.shape))


def _cheapest_cut(hidden: np.ndarray) -> tuple[float, int]:
    """Return the costs, and the count of rows before it, of the cut between rows that parts fewest hidden neighbours.

    Not near an end, if the rows are many, and among equals in the middle: small boxes come of a few cuts.
    """
    length = len(hidden)
    if length < 2:
        return np.inf, 0
    place = np.arange(max(length // 8, 1), length - max(length // 8, 1) + 1)
    cut = (hidden[place - 1] & hidden[place]).sum(1) + np.abs(place / length - 0.5)
    best = int(np.argmin(cut))
    # A cut along the longer side would leave boxes as long as before.
    return float(cut[best]) + hidden.shape[1] / length, int(place[best])


def around(box: Box, shape: tuple[int, int], side: int, centred: bool) -> Box:
    """Return a square window of `side` pixels around a box, inside of the picture of this (height, width) where it can.

    Args:
      centred: keep the box in the middle, even where the window then reaches past the picture.
    """
    starts = []
    for start, length, whole in ((box.top, box.height, shape[0]), (box.left, box.width, shape[1])):
        place = start + length // 2 - side // 2
        if not centred:
            place = min(max(place, 0), whole - side) if side <= whole else (whole - side) // 2
        starts.append(place)
    return Box(starts[0], starts[1], side, side)


def cut_window(image: np.ndarray, hidden: np.ndarray, window: Box, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window at the size that the network takes; past the picture's border lies what the border reflects.

    Args:
      image: uint8 [H, W, 3].
      hidden: bool [H, W].
      window: square.
      size: side of the results, pixels. Antialiased where that shrinks the window.

    Returns:
      uint8 [size, size, 3] and bool [size, size], what is hidden by more than half. Colours are means over what shows.
    """
    rows = _reflect(np.arange(window.top, window.top + window.height), image.shape[0])
    columns = _reflect(np.arange(window.left, window.left + window.width), image.shape[1])
    narrowed = []
    for start in range(0, len(rows), BAND):  # the window of a large hole may have more pixels than fit as floats
        place = rows[start : start + BAND, None], columns
        shown = ~hidden[place][..., None]
        layers = np.concatenate([image[place] * shown, shown], -1, dtype=np.float32)
        narrowed.append(tf.image.resize(layers, [len(layers), size], antialias=True))
    resized = tf.image.resize(tf.concat(narrowed, 0), [size, size], antialias=True).numpy()
    share = resized[..., 3:]
    colours = np.round(resized[..., :3] / np.maximum(share, LEAST_SHARE))
    return np.clip(colours, 0, 255).astype(np.uint8), share[..., 0] < 0.5


def resized_part(image: np.ndarray, side: int, part: Box) -> np.ndarray:
    """Cut a part, float32 [S, S, C], as if the whole were resized to `side` pixels (bilinear, antialiased)."""
    if side <= len(image):
        return part.of(tf.image.resize(image, [side, side], antialias=True).numpy())
    for axis, (start, length) in enumerate([(part.top, part.height), (part.left, part.width)]):
        place = np.clip((np.arange(start, start + length) + 0.5) * image.shape[axis] / side - 0.5, 0, None)
        first = np.minimum(place.astype(int), image.shape[axis] - 1)
        second = np.minimum(first + 1, image.shape[axis] - 1)
        share = (place - first).astype(np.float32).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        image = image.take(first, axis) * (1 - share) + image.take(second, axis) * share
    return image


def _reflect(place: np.ndarray, length: int) -> np.ndarray:
    period = max(2 * (length - 1), 1)
    place = place % period
    return np.minimum(place, period - place) if length > 1 else np.zeros_like(place)
