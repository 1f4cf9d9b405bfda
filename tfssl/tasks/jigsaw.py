"""Jigsaw: in what order were these tiles?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.ops import tiles
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts import classification
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.tasks.parts.patches import features_of_tiles, standardise
from tfssl.tasks.parts.permutations import permutation_set, quality
from tfssl.tasks.parts.undoing import Pieces, Undoable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

CLASSES = 100
LARGEST_TILE_FEATURES, LARGEST_HIDDEN = 1000, 4096
LUMA = (0.299, 0.587, 0.114)
"""Grey of red, green and blue, as JPEG has it (ITU-R BT.601)."""

WHITE, GREEN, RED = (255, 255, 255), (44, 160, 44), (214, 39, 40)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jigsaw(ChoiceTask, Undoable):
    """In what order were these tiles? (Noroozi and Favaro 2016, arXiv 1603.09246)

    A picture is cut into cells, a tile is taken out of each at a random place of its own, and the tiles are put in the
    order of one of `classes` permutations, drawn uniformly and independently of all else: position p shows the tile of
    cell `permutation_set(grid**2, classes)[answer][p]`, cells counted row by row. The network says which permutation.
    How many there are is the difficulty; they are as far from each other as can be (`tfssl.tasks.parts.permutations`).

    What would tell the answer otherwise, and what is done, as in the paper:
      edges that go on in the next tile: a gap and jitter. Cells of 85 and tiles of 64 in 255 pixels, scaled to any size
        (`tfssl.pipelines.ops.tiles`).
      brightness that changes slowly over the picture: each tile minus its mean, over its own deviation.
      chromatic aberration: 30 % of the pictures are grey (later code has up to 66 %). In the others each channel of
        each tile is shifted by -2 to 2 pixels down and across, of tiles of 64; of smaller tiles in proportion, rounded,
        and by a pixel at least.
        Some later code adds -2 to 2 to the channels' levels instead, which standardisation takes out again.

    As in the paper, pictures are not mirrored.

    Puzzle: {"tiles": uint8 [B, n, t, t, 3], n = grid * grid, shuffled;
      with grey > 0 "grey": int32 [B], 1 for a picture whose colour is taken away;
      with jitter > 0 "shift": int32 [B, n, 2, 3], pixels down and across of each channel}.
      Colours are changed in the head, where it costs next to nothing beside the trunk.
    Answer: int32 [B], 0 to classes - 1.
    Head: average of the trunk's map, C channels; a layer for each tile, the same for all, of 2 C but at most the
      paper's 1,000; these side by side; a layer of `hidden`; both with batch norm and ReLU; dropout; logits
      [B, classes].

    Settings:
      grid: 2 or 3.
      classes: how many permutations; 0 for 100, or all 24 with grid=2.
      grey: probability that a picture is grey.
      jitter: jitter of the channels, pixels of a tile of 64.
      hidden: width of the head; 0 for 8 C but at most the paper's 4,096.
      dropout: rate before the logits.
    """

    grid: int = 3
    classes: int = 0
    grey: float = 0.3
    jitter: int = 2
    hidden: int = 0
    dropout: float = 0.5
    name: ClassVar[str] = "jigsaw"
    reflects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid not in (2, 3):
            raise UserError(f"jigsaw: grid={self.grid} is given, expected 2 or 3")
        most = math.factorial(self.grid**2)
        if self.classes != 0 and not 2 <= self.classes <= most:
            raise UserError(
                f"jigsaw: classes={self.classes} is given, expected 2 to {most}, the permutations that {self.grid} x "
                f"{self.grid} tiles have, or 0 for {min(CLASSES, most)}"
            )
        if not 0 <= self.grey <= 1:
            raise UserError(f"jigsaw: grey={self.grey} is given, expected a probability, 0 to 1")
        if not 0 <= self.jitter <= 16:
            raise UserError(f"jigsaw: jitter={self.jitter} is given, expected 0 to 16 pixels")
        if self.hidden < 0:
            raise UserError(f"jigsaw: hidden={self.hidden} is given, expected at least 1, or 0 for one by the trunk")
        if not 0 <= self.dropout < 1:
            raise UserError(f"jigsaw: dropout={self.dropout} is given, expected a rate from 0 to below 1")

    @property
    def choices(self) -> int:
        return self.classes or min(CLASSES, math.factorial(self.grid**2))

    @property
    def permutations(self) -> np.ndarray:
        """uint8 [choices, grid * grid]: the cell whose tile each position shows. Searched for at its first use."""
        return permutation_set(self.grid**2, self.choices)

    def prepared(self, source: "AnySource") -> Self:
        del source
        _ = self.permutations  # searched for now, and not while a graph is traced
        return self

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        del source
        return [*tiles.degenerate(self.name, size, self.grid), f"permutation set: {quality(self.permutations)}"]

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        answer_seed, cut_seed, grey_seed, shift_seed = tf.unstack(tf.random.split(seed, 4))
        cut = tiles.cut(batch["image"], self.grid, cut_seed)
        count, number, tile = cut.shape[:3]
        answer = tf.random.stateless_uniform([count], answer_seed, 0, self.choices, tf.int32)
        order = tf.gather(tf.constant(self.permutations, tf.int32), answer)
        # Whole tiles are copied: a tenth of the time of cutting them.
        places = tf.range(count)[:, None] * number + order
        shuffled = tf.gather(tf.reshape(cut, [count * number, -1]), places)
        puzzle = {"tiles": tf.reshape(shuffled, [count, number, tile, tile, 3])}
        if self.grey:
            puzzle["grey"] = tf.cast(tf.random.stateless_uniform([count], grey_seed) < self.grey, tf.int32)
        reach = self._reach(tile)
        if reach:
            shift = tf.random.stateless_uniform([count, number, 2, 3], shift_seed, -reach, reach + 1, tf.int32)
            if self.grey:
                shift *= 1 - puzzle["grey"][:, None, None, None]  # a grey picture made of shifted channels is blurred
            puzzle["shift"] = shift
        return puzzle, answer, tf.ones([count])

    def _reach(self, tile: int) -> int:
        """Return the pixels by which a channel is shifted at most, in tiles of `tile` pixels."""
        return max(1, round(self.jitter * tile / tiles.TILE)) if self.jitter else 0

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        reach = self._reach(puzzle["tiles"].shape[2])
        seen = SeenTiles(reach, name="jigsaw_tiles_seen")(puzzle)
        features = features_of_tiles(encoders["image"], seen, self.name)  # [B, n, C]
        channels = features.shape[-1]
        x = classification.hidden(features, min(2 * channels, LARGEST_TILE_FEATURES), "jigsaw_each")
        x = keras.layers.Flatten(name="jigsaw_side_by_side")(x)
        x = classification.hidden(x, self.hidden or min(8 * channels, LARGEST_HIDDEN), "jigsaw_all")
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="jigsaw_dropout")(x)
        return classification.logits(x, self.choices, "jigsaw_logits")

    def metrics(self) -> list[keras.metrics.Metric]:
        if self.choices <= 10:
            return super().metrics()
        return [*super().metrics(), keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5_accuracy")]

    def questions(self, puzzle: Any, answer: Any) -> tuple[np.ndarray, np.ndarray]:
        return self._visible_tiles(puzzle), np.asarray(answer)

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        # The tiles as they were cut: colours are changed in the head only.
        pixels = self._in_order(np.asarray(puzzle["tiles"]), np.asarray(answer))
        return Pieces(pixels, np.array(tiles.boxes(pixels.shape[2], self.grid)))

    def _in_order(self, pixels: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Put [B, n, ...] by position in the order of the cells, if the answer is right."""
        positions = np.argsort(self.permutations[answer], 1)  # of each cell
        return pixels[np.arange(len(pixels))[:, None], positions]

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        shown, answer = self._visible_tiles(puzzle)[:count], np.asarray(answer)[:count]
        rows = len(shown)
        white = np.full((rows, self.grid**2, 3), WHITE)
        panels = [(shown, white, ["shuffled"] * rows), (self._in_order(shown, answer), white, ["in order"] * rows)]
        if prediction is not None:
            guess = np.argmax(np.asarray(prediction)[:count], 1)
            here = self._in_order(self.permutations[answer], guess) == np.arange(self.grid**2)
            frames = np.where(here[..., None], GREEN, RED)
            titles = [f"network: {sum(row)} of {len(row)} in place" for row in here]
            panels.insert(1, (self._in_order(shown, guess), frames, titles))
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)  # inches
        figure = Figure(figsize=(2.4 * len(panels), 2.6 * rows), layout=layout)
        for row, places in enumerate(figure.subplots(rows, len(panels), squeeze=False)):
            for axes, (pixels, frames, titles) in zip(places, panels, strict=True):
                axes.imshow(_frame(pixels[row], frames[row], self.grid))
                axes.set_axis_off()
                axes.set_title(titles[row], fontsize=9)
            if prediction is not None:
                places[1].title.set_color("tab:green" if guess[row] == answer[row] else "tab:red")
        return figure

    def _visible_tiles(self, puzzle: Any) -> np.ndarray:
        """Return the tiles as the network gets them, but for standardisation: uint8 [B, n, t, t, 3]."""
        levels = seen_levels(puzzle, self._reach(puzzle["tiles"].shape[2]))
        return np.round(np.asarray(levels)).astype(np.uint8)


class SeenTiles(keras.layers.Layer):
    """What the trunk gets to see of the tiles: colours, each tile standardised on its own.

    Input: the puzzle of `Jigsaw`.
    Output shape: float32 [B, n, t, t, 3].
    """

    def __init__(self, reach: int, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.reach = reach

    def call(self, puzzle: Any) -> Any:
        """Apply `seen_levels` and `standardise`."""
        return standardise(seen_levels(puzzle, self.reach))

    def compute_output_shape(self, shapes: Any) -> Any:
        """Return the shape of the tiles."""
        return shapes["tiles"]


def seen_levels(puzzle: Any, reach: int) -> Any:
    """Return tiles whose channels are shifted or missing, in grey levels.

    Args:
      puzzle: the puzzle of `Jigsaw`.
      reach: pixels of the largest shift; what is shifted in from outside of the tile is its mirror image.

    Returns:
      float32 [B, n, t, t, 3], 0 to 255.
    """
    levels = keras.ops.cast(puzzle["tiles"], "float32")
    if "shift" in puzzle:
        # One of a few slices for each channel, as a sum: no gather, which has no fast form for channels of their own.
        chosen = keras.ops.one_hot(puzzle["shift"] + reach, 2 * reach + 1, dtype="float32")  # [B, n, 2, 3, 2 reach + 1]
        for way, axis in enumerate((2, 3)):
            levels = _shift(levels, chosen[:, :, way], axis, reach)
    if "grey" in puzzle:
        is_grey = keras.ops.cast(puzzle["grey"], "float32")[:, None, None, None, None]
        luma = keras.ops.sum(levels * np.array(LUMA, np.float32), -1, keepdims=True)
        levels = levels + is_grey * (luma - levels)
    return levels


def _shift(levels: Any, chosen: Any, axis: int, reach: int) -> Any:
    """Shift the channels of tiles [B, n, t, t, 3] along one axis; `chosen` is one-hot, [B, n, 3, 2 reach + 1]."""
    tile = levels.shape[axis]
    padding = [[reach, reach] if place == axis else [0, 0] for place in range(5)]
    padded = keras.ops.pad(levels, padding, mode="symmetric")
    total = keras.ops.zeros_like(levels)
    for place in range(2 * reach + 1):
        first = 2 * reach - place  # a shift down shows what lies above
        part = padded[:, :, first : first + tile] if axis == 2 else padded[:, :, :, first : first + tile]
        total = total + part * chosen[:, :, None, None, :, place]
    return total


def _frame(pixels: np.ndarray, frames: np.ndarray, grid: int) -> np.ndarray:
    """Draw uint8 [n, t, t, 3] as a grid of tiles on white, each in a frame of its colour [n, 3]."""
    tile = pixels.shape[1]
    frame = max(1, tile // 24)
    step = tile + 4 * frame
    canvas = np.full((grid * step, grid * step, 3), 255, np.uint8)
    for place, (one, colour) in enumerate(zip(pixels, frames, strict=True)):
        top, left = place // grid * step, place % grid * step
        canvas[top + frame : top + step - frame, left + frame : left + step - frame] = colour
        canvas[top + 2 * frame : top + step - 2 * frame, left + 2 * frame : left + step - 2 * frame] = one
    return canvas
