"""Patches of pictures: the squares of a grid, each to be shown to a network alone."""

import tensorflow as tf

SCALE = 3
"""How many times larger a picture is than its patches: Doersch et al. 2015 (arXiv 1505.05192) cut 96 pixels out of some
300, and a third is a tile of a 3 x 3 puzzle."""
A_SIDE = 2 * SCALE - 1
"""Patches a side: each overlaps the next by half, so that a thing is not cut by every one of them."""
COUNT = A_SIDE * A_SIDE
"""Patches of a picture, row by row."""


def cut(images: tf.Tensor, size: int) -> tf.Tensor:
    """Cut squares into their patches: uint8 [N, SCALE * size, SCALE * size, 3] -> uint8 [N, COUNT, size, size, 3]."""
    starts = [number * size // 2 for number in range(A_SIDE)]
    return tf.stack([images[:, top : top + size, left : left + size] for top in starts for left in starts], 1)


def shares_of(place: int) -> tuple[float, float, float, float]:
    """Return top, left, height and width of a patch as shares of its square."""
    row, column = divmod(place, A_SIDE)
    return row / (2 * SCALE), column / (2 * SCALE), 1 / SCALE, 1 / SCALE
