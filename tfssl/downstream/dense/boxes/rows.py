"""Boxes of pictures as rows of numbers, checked where they are read."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.ops.annotations import BOX

Row = tuple[float, float, float, float, float, float]
"""left, top, right, bottom in pixels of the upright picture; the number of the class; kind, as of `cut_boxes`."""
NO_BOXES = ("picture has no boxes", "pictures have no boxes")
"""Of one and of several, as notes say it."""
ROUNDING = 1.0
"""Pixels by which a box may stick out of its picture: a rounding error, which is cut off."""


def row_of(where: str, box: Sequence[Any], side: np.ndarray, number: int, kind: float = BOX) -> Row:
    """Check a box, and cut off what sticks out by a rounding error.

    Args:
      where: says which box it is, for errors.
      box: left, top, right, bottom in pixels.
      side: height and width of the picture.
      number: of the class.
      kind: see `pipelines.ops.annotations.cut_boxes`.

    Raises:
      UserError: no numbers, no width or height, or more outside of the picture than a pixel.
    """
    left, top, right, bottom = (float(each) for each in box)
    height, width = side.tolist()
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise UserError(f"{where}: the box has a number that is nan or infinite; expected pixels")
    if right <= left or bottom <= top:
        raise UserError(
            f"{where}: the box is {right - left:g} pixels wide and {bottom - top:g} high, expected more than 0; mend or"
            " remove it"
        )
    outside = max(-left, -top, right - width, bottom - height)
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
    if outside > ROUNDING * (1 + 1e-6) or right <= left or bottom <= top:
        raise UserError(
            f"{where}: the box sticks out of its picture, {width} x {height} pixels, by {outside:.1f} pixels; mend it,"
            " or cut it off at the border"
        )
    return left, top, right, bottom, float(number), float(kind)


def stacked(rows: Sequence[Sequence[Row]]) -> np.ndarray:
    """Return the boxes of N pictures, float32 [N, K, 6], with rows of zeros where a picture has fewer than K."""
    most = max((len(each) for each in rows), default=0)
    made = np.zeros((len(rows), most, 6), np.float32)
    for number, each in enumerate(rows):
        if each:
            made[number, : len(each)] = each
    return made


def names_in(path: Any) -> tuple[str, ...]:
    """Read a file of names, one a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); expected the name of a class a line") from problem
    return tuple(line.strip() for line in text.splitlines() if line.strip())
