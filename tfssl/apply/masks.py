"""Masks that users give: a picture, white where it counts, or a box."""

import re
from pathlib import Path

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.ops.windows import Box

WHITE = 128
"""From here on a pixel of a mask counts."""


def parse_box(given: str) -> Box | None:
    """Read 'TOP,LEFT,HEIGHT,WIDTH' in pixels as a box; return None for any other text."""
    if re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*){3}", given):
        return Box(*map(int, given.split(",")))
    return None


def of_box(box: Box, owner: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return bool [H, W], True in a box of a picture or film of a shape. Raise UserError where it reaches outside."""
    height, width = shape[:2]
    fits = min(box[:2]) >= 0 and min(box[2:]) > 0
    if not fits or box.top + box.height > height or box.left + box.width > width:
        raise UserError(
            f"the box {','.join(map(str, box))} is not inside of {owner}, which is {height} pixels high and {width}"
            " wide; expected TOP,LEFT,HEIGHT,WIDTH"
        )
    inside = np.zeros((height, width), bool)
    box.of(inside)[:] = True
    return inside


def of_picture(image: np.ndarray) -> np.ndarray:
    """Return bool [H, W] of uint8 [H, W, 3]: the mean of the colours decides, so that a mask may be a JPEG."""
    return image.mean(-1) >= WHITE


def check_size(inside: np.ndarray, mask: Path, owner: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask, bool [H, W], as it is. Raise UserError where its picture or film has another shape."""
    height, width = shape[:2]
    if inside.shape != (height, width):
        raise UserError(
            f"the mask {mask} is {inside.shape[0]} pixels high and {inside.shape[1]} wide, but {owner} is {height} high"
            f" and {width} wide; expected the same size"
        )
    return inside
