"""Tiles: a picture cut into a grid of cells, and out of each cell a tile at a random place of its own.

The gap between tiles and their jitter keep edges from going on in the next tile, which would tell neighbours apart
without a look at what they show. The papers' rule (255 pixels, cells of 85, tiles of 64) is scaled to any size.
"""

import tensorflow as tf

from tfssl.base.errors import UserError

LEAST_TILE = 16
"""Pixels of a side under which a tile shows texture and colour, but no part of a thing."""

CELL, TILE = 85, 64


def cell_size(size: int, grid: int) -> int:
    """Return pixels of a side of the cells of a picture of `size` pixels: 85 for 255 and grid 3."""
    return size // grid


def tile_size(size: int, grid: int) -> int:
    """Return pixels of a side of the tiles, 64 / 85 of a cell's: 64 for 255 and grid 3, 12 for 32 and grid 2.

    Raises:
      UserError: a picture too small to be cut.
    """
    tile = round(cell_size(size, grid) * TILE / CELL)
    if tile < 1:
        raise UserError(f"{size} pixels are given, too few to be cut into {grid} x {grid} tiles; give a larger size")
    return tile


def least_size(grid: int) -> int:
    """Return the smallest picture, in pixels of a side, whose tiles are not under `LEAST_TILE`."""
    size = grid
    while round(cell_size(size, grid) * TILE / CELL) < LEAST_TILE:
        size += grid
    return size


def degenerate(task_name: str, size: int, grid: int) -> list[str]:
    """Say what the user should know where tiles are under `LEAST_TILE` pixels; return [] where they are not.

    Args:
      task_name: which task.
      size: the size of the pictures, pixels of a side.
      grid: tiles of a side; one of 2 is recommended where more are given.
    """
    tile = tile_size(size, grid)
    if tile >= LEAST_TILE:
        return []
    smaller_grid = f"grid=2 (tiles of {tile_size(size, 2)} px) or " if grid > 2 else ""
    return [
        f"tiles are {tile} px at --size {size}, under {LEAST_TILE}: {task_name} is degenerate at this size;"
        f" give {smaller_grid}--size {least_size(grid)} or more"
    ]


def boxes(tile: int, grid: int) -> list[tuple[int, int, int, int]]:
    """Return (top, left, height, width) in pixels inside of which each tile lies, row by row, for any size of picture.

    Cells of one or two sizes give tiles of `tile` pixels; a box holds its cell of both, so it may end some pixels
    outside of the picture.
    """
    cells = [cell for cell in range(tile, 2 * tile + 2) if round(cell * TILE / CELL) == tile]
    least, largest = min(cells), max(cells)
    spans = [(place * least, (place + 1) * largest - place * least) for place in range(grid)]
    return [(top, left, height, width) for top, height in spans for left, width in spans]


def cut(images: tf.Tensor, grid: int, seed: tf.Tensor) -> tf.Tensor:
    """Cut a tile out of each cell, each at a random place of its own in its cell; no pixel is interpolated.

    Every place in the cell is equally probable, 0 to cell - tile pixels from its top and from its left. Pixels at the
    right and at the bottom that make up no whole cell are left out.

    Args:
      images: uint8 [B, S, S, 3].
      grid: cells of a side.
      seed: int32 [2].

    Returns:
      uint8 [B, grid * grid, t, t, 3], row by row, t = `tile_size`.
    """
    count, size = images.shape[0], images.shape[1]
    cell, tile = cell_size(size, grid), tile_size(size, grid)
    number, places = grid**2, cell - tile + 1
    down, right = tf.unstack(tf.random.stateless_uniform([2, count * number], seed, 0, places, tf.int32))
    # Everything below copies long runs of bytes: first whole rows of cells, sorted by how far right the tile lies,
    # then one slice for each such distance, whose tiles are stitched back in order. So there are as many operations as
    # distances, not as tiles, and no index a pixel: 29 us a picture of 224 px, where one gather of packed pixels took
    # 350 us (geometry.gather), and 0.9 us instead of 7.2 at 32 px with grid 2, on one core.
    order = tf.argsort(right, stable=True)
    first = tf.range(count)[:, None] * (grid * cell) + tf.range(number) // grid * cell  # the cell's first row
    first = (tf.reshape(first, [-1]) + down) * grid + tf.tile(tf.range(number) % grid, [count])
    rows = tf.reshape(images[:, : grid * cell, : grid * cell], [-1, cell * 3])
    strips = tf.gather(rows, tf.gather(first, order)[:, None] + tf.range(tile) * grid)  # [B n, t, cell 3]
    ends = tf.cumsum(tf.math.bincount(right, minlength=places, maxlength=places))
    runs = [slice(ends[place - 1] if place else 0, ends[place]) for place in range(places)]
    parts = [strips[run, :, place * 3 : (place + tile) * 3] for place, run in enumerate(runs)]
    tiles = tf.dynamic_stitch([order[run] for run in runs], parts)
    return tf.reshape(tiles, [count, number, tile, tile, 3])
