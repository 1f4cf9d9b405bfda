"""Puzzles that can be put right: what `audit` asks of a task that moves or hides parts of pictures."""

import abc
from typing import Any, NamedTuple

import numpy as np


class Pieces(NamedTuple):
    """A puzzle put right: parts of the source pictures, and where in them each must lie.

    Attributes:
      pixels: uint8 [B, n, h, w, 3].
      boxes: int [n, 4], the (top, left, height, width) in pixels of the upright crop inside of which each part lies,
        in every picture or in every part of its mirror image.
    """

    pixels: np.ndarray
    boxes: np.ndarray


class Undoable(abc.ABC):
    """A task whose puzzles can be put right by their answers."""

    @abc.abstractmethod
    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        """Put the puzzle (as numpy arrays) right by its answer; return None where these settings do not allow it."""
