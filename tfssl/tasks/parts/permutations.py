"""Sets of permutations of tiles that are far from each other: the classes of the jigsaw task.

Noroozi and Favaro 2016 (arXiv 1603.09246) choose permutations by their Hamming distance, the number of positions at
which two of them show different tiles: the further apart, the less a single tile gives away. Their published sets, and
those of later code, have pairs that differ by one swap of two tiles; the sets made here have none.
"""

import contextlib
import functools
import itertools
import math
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import cache_folder

VERSION = 1
"""Version of the search. Whatever changes its results must raise it: the cache's files are named after it."""

MOST_TILES = 9
ORDER_SEED = 1603


class Quality(NamedTuple):
    """What a set of permutations is worth.

    Attributes:
      classes: how many permutations.
      least: the smallest Hamming distance of two.
      mean: the mean over all pairs.
      close: how many pairs differ at two positions or less: no two permutations differ at one, so by one swap.
      fewest, most: how often a tile stands at a position, over all tiles and positions.
    """

    classes: int
    least: int
    mean: float
    close: int
    fewest: int
    most: int

    def __str__(self) -> str:
        often = f"{self.fewest} to {self.most}" if self.fewest < self.most else str(self.most)
        return (
            f"{self.classes} permutations, Hamming distance at least {self.least}, mean {self.mean:.3f}, "
            f"{self.close} pairs at 2 or less, a tile stands {often} times at a position"
        )


@functools.cache
def permutation_set(tiles: int, classes: int) -> np.ndarray:
    """Return the first `classes` permutations of the greedy sequence, from the cache folder where they lie there.

    A set of more classes begins with the smaller ones. The first time takes 0.2 s for 100 permutations of 9 tiles,
    0.7 s for 1,000 and 8 s for 10,000; later ones are read from the folder `tfssl` in $XDG_CACHE_HOME or ~/.cache. A
    damaged file is made anew; where nothing can be written, the set is just computed.

    Args:
      tiles: 2 to 9.
      classes: 2 to the factorial of `tiles`.

    Returns:
      uint8 [classes, tiles], read-only; row k is permutation k, each of 0 to tiles - 1 once.

    Raises:
      UserError: there are not so many tiles or permutations.
    """
    if not 2 <= tiles <= MOST_TILES:
        raise UserError(f"permutations of {tiles} tiles are asked for; give 2 to {MOST_TILES} tiles")
    if not 2 <= classes <= math.factorial(tiles):
        raise UserError(
            f"{classes} permutations of {tiles} tiles are asked for, but there are {math.factorial(tiles):,}; "
            f"give 2 to {math.factorial(tiles)} classes"
        )
    path = cache_folder() / f"permutations-v{VERSION}-{tiles}-{classes}.npy"
    chosen = _read(path, tiles, classes)
    if chosen is None:
        chosen = search(tiles, classes)
        _write(path, chosen)
    chosen.flags.writeable = False
    return chosen


def search(tiles: int, classes: int) -> np.ndarray:
    """Search all permutations, greedy and max-min: arguments and results as of `permutation_set`, without its cache.

    Each step takes the permutation whose smallest Hamming distance to those chosen is largest; of several, one whose
    mean distance to those chosen is largest; of several, one that puts tiles where they stood least often; of several,
    a pseudo-random one, always the same.
    """
    candidates = _all_permutations(tiles)
    positions = np.ascontiguousarray(candidates.T)
    smallest = np.full(len(candidates), tiles + 1, np.uint8)
    total = np.zeros(len(candidates), np.int32)
    times = np.zeros((tiles, tiles), np.int32)  # a tile (second axis) stood at a position
    chosen = np.empty((classes, tiles), np.uint8)
    every = np.arange(tiles)
    for step in range(classes):
        best = np.flatnonzero(smallest == smallest.max())
        sums = total[best]
        best = best[sums == sums.max()]
        if len(best) > 1:
            highest = times[every, candidates[best]].max(1)
            best = best[highest == highest.min()]
        one = candidates[best[0]]
        chosen[step] = one
        times[every, one] += 1
        distance = np.zeros(len(candidates), np.uint8)
        for position, tile in zip(positions, one, strict=True):
            distance += position != tile
        np.minimum(smallest, distance, out=smallest)  # 0 for those chosen: none is chosen twice
        total += distance
    return chosen


def quality(permutations: np.ndarray) -> Quality:
    """Measure a set, uint8 [classes, tiles] with at least two rows; over all pairs, 1 s for 10,000 permutations."""
    classes, tiles = permutations.shape
    stands = permutations[:, :, None] == np.arange(tiles)
    flat = stands.reshape(classes, -1).astype(np.float32)
    least, close, total = tiles, 0, 0
    for first in range(0, classes, 1000):
        rows = flat[first : first + 1000]
        distances = tiles - (rows @ flat[first:].T).astype(np.int8)  # a product of one-hot rows counts agreements
        pairs = distances[np.triu(np.ones(distances.shape, bool), 1)]
        if len(pairs):
            least = min(least, int(pairs.min()))
            close += int((pairs <= 2).sum())
            total += int(pairs.sum(dtype=np.int64))
    times = stands.sum(0)
    return Quality(classes, least, total / math.comb(classes, 2), close, int(times.min()), int(times.max()))


def _all_permutations(tiles: int) -> np.ndarray:
    """Return uint8 [tiles!, tiles] in a fixed pseudo-random order: the first of several is then a pseudo-random one."""
    count = math.factorial(tiles)
    numbers = itertools.chain.from_iterable(itertools.permutations(range(tiles)))
    rows = np.fromiter(numbers, np.uint8, count * tiles).reshape(count, tiles)
    # RandomState and not default_rng: numpy promises the same numbers in all versions.
    return rows[np.random.RandomState(ORDER_SEED).permutation(count)]


def _read(path: Path, tiles: int, classes: int) -> np.ndarray | None:
    """Read the set in a file; return None where there is none, or anything else."""
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(content, np.ndarray) or content.dtype != np.uint8 or content.shape != (classes, tiles):
        return None
    whole = (np.sort(content, 1) == np.arange(tiles)).all() and len(np.unique(content, axis=0)) == classes
    return content if whole else None


def _write(path: Path, chosen: np.ndarray) -> None:
    """Write a set under a name of its own, then rename it: processes that start together do not meet half a file."""
    if not path.is_absolute():
        return  # a user without a home
    with contextlib.suppress(OSError):  # a home that is read-only or full: the next process searches again
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, chosen)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
