"""Relative position: on which side of this patch did that one lie?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.ops import tiles
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts import classification
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.tasks.parts.patches import features_of_tiles, standardise
from tfssl.tasks.parts.undoing import Pieces, Undoable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""(down, right) from anchor to query, by class."""

ARROWS = "↖↑↗←→↙↓↘"
COLOURS = ("drop", "project", "keep")
AXIS = (-1.0, 2.0, -1.0)
"""Green against magenta (R, G, B): the direction in which a lens shifts colours towards or from the middle."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelativePosition(ChoiceTask, Undoable):
    """On which side of this patch did that one lie? (Doersch et al. 2015, arXiv 1505.05192; cdoersch/deepcontext)

    A picture is cut into cells, a tile is taken out of each at a random place of its own, and the network says for
    pairs of tiles in which of eight directions the second (query) lies from the first (anchor). Tiles go once through
    the trunk; the head sees the feature vectors of two and nothing else.

    Pairs: with grid=3 the middle with each of its neighbours, in both directions: 16, each class twice. With grid=2,
    for small pictures, all 12 ordered pairs, of which the diagonal ones stand twice: again 16, each class twice.

    What would tell the answer otherwise, and what is done:
      edges that go on in the next patch: a gap and jitter. Cells of 85 and tiles of 64 in 255 pixels, scaled to any
        size (`tfssl.pipelines.ops.tiles`), as in google/revisiting-self-supervised; the paper has patches of 96, a
        gap of 48 and jitter of 7.
      chromatic aberration: colour="drop" keeps one channel of each patch, drawn at random, as the authors' code does.
        colour="project" takes out what lies along green - magenta, I - a'a / aa' with a = [-1, 2, -1].
      brightness that changes slowly over the picture: each patch minus its mean, over its own deviation.
      sharpness and noise: a third of the patches is down-sampled and up again, to an area that is uniform from 100
        pixels of 96 x 96 on; scaled with the patch, and never under 4 x 4 pixels.

    Unlike the code, dropped channels are 0 and not noise of 1/100 of the kept one's deviation: that is below the
    rounding of a pixel. As in the code, pictures are not mirrored. The code pairs all neighbours of a larger grid.

    Puzzle: {"tiles": uint8 [B, n, t, t, 3], n = grid * grid, row by row;
      with colour="drop" "channel": int32 [B, n], 0..2, the one that is kept;
      with resample > 0 "side": int32 [B, n], pixels, to which each tile is down-sampled}.
      Colours and sharpness are changed in the head, where it costs next to nothing beside the trunk.
    Answer: int32 [B, 16], index into `DIRECTIONS`.
    Head: average of the trunk's map, two vectors side by side, `layers` fully connected layers of `hidden` with batch
      norm and ReLU (the paper has 4,096), dropout where asked for, logits [B, 16, 8].

    Settings:
      grid: 2 or 3.
      colour: "drop", "project" or "keep".
      resample: probability that a patch is down-sampled.
      hidden: width of the head.
      dropout: rate before the logits.
    """

    grid: int = 3
    colour: str = "drop"
    resample: float = 0.33
    hidden: int = 512
    dropout: float = 0.0
    choices = len(DIRECTIONS)
    name: ClassVar[str] = "relative_position"
    reflects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid not in (2, 3):
            raise UserError(f"relative_position: grid={self.grid} is given, expected 2 or 3")
        if self.colour not in COLOURS:
            raise UserError(f"relative_position: colour={self.colour!r} is given, expected one of {', '.join(COLOURS)}")
        if not 0 <= self.resample <= 1:
            raise UserError(f"relative_position: resample={self.resample} is given, expected a probability, 0 to 1")
        if self.hidden < 1:
            raise UserError(f"relative_position: hidden={self.hidden} is given, expected at least 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"relative_position: dropout={self.dropout} is given, expected a rate from 0 to below 1")

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(anchor, query), tiles counted row by row; the first eight have one of each class."""
        if self.grid == 3:
            middle, others = 4, (0, 1, 2, 3, 5, 6, 7, 8)
            return tuple((middle, other) for other in others) + tuple((other, middle) for other in others)
        first = ((3, 0), (2, 0), (2, 1), (1, 0), (0, 1), (1, 2), (0, 2), (0, 3))
        return (*first, (3, 0), (3, 1), (2, 1), (3, 2), (2, 3), (1, 2), (1, 3), (0, 3))

    @property
    def directions(self) -> tuple[int, ...]:
        """The class of each of `pairs`."""
        places = [(divmod(anchor, self.grid), divmod(query, self.grid)) for anchor, query in self.pairs]
        return tuple(DIRECTIONS.index((b[0] - a[0], b[1] - a[1])) for a, b in places)

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        del source
        return tiles.degenerate(self.name, size, self.grid)

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        cut_seed, channel_seed, chosen_seed, area_seed = tf.unstack(tf.random.split(seed, 4))
        cut = tiles.cut(batch["image"], self.grid, cut_seed)
        shape = cut.shape[:2]
        puzzle = {"tiles": cut}
        if self.colour == "drop":
            puzzle["channel"] = tf.random.stateless_uniform(shape, channel_seed, 0, 3, tf.int32)
        if self.resample:
            puzzle["side"] = _sides(shape, cut.shape[2], self.resample, chosen_seed, area_seed)
        answer = tf.tile(tf.constant([self.directions], tf.int32), [shape[0], 1])
        return puzzle, answer, tf.ones_like(answer, tf.float32)

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        seen = SeenPatches(self.colour, name="relative_position_patches")(puzzle)
        features = features_of_tiles(encoders["image"], seen, self.name)  # [B, n, C]
        anchors, queries = ([pair[end] for pair in self.pairs] for end in (0, 1))
        x = keras.ops.concatenate([keras.ops.take(features, each, axis=1) for each in (anchors, queries)], axis=-1)
        for layer in ("first", "second"):
            x = classification.hidden(x, self.hidden, f"relative_position_{layer}")
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="relative_position_dropout")(x)
        return classification.logits(x, len(DIRECTIONS), "relative_position_logits")

    def questions(self, puzzle: Any, answer: Any) -> tuple[np.ndarray, np.ndarray]:
        shown = self._visible_tiles(puzzle)
        return shown[:, self.pairs].reshape(-1, 2, *shown.shape[2:]), np.asarray(answer).reshape(-1)

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        # The tiles as they were cut: colours and sharpness are changed in the head only.
        pixels, answer = np.asarray(puzzle["tiles"]), np.asarray(answer)
        start = 4 if self.grid == 3 else 0  # paired with every other tile
        pieces = np.zeros_like(pixels)
        pieces[:, start] = pixels[:, start]
        for place, (anchor, query) in enumerate(self.pairs):
            if anchor == start:
                steps = np.array(DIRECTIONS)[answer[:, place]] @ [self.grid, 1]
                pieces[np.arange(len(pixels)), start + steps] = pixels[:, query]
        return Pieces(pieces, np.array(tiles.boxes(pixels.shape[2], self.grid)))

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        shown, answer = self._visible_tiles(puzzle), np.asarray(answer)
        rows, columns, tile = min(count, len(shown)), len(DIRECTIONS), shown.shape[2]
        figure = Figure(
            figsize=(2.2 + 1.5 * columns, 2.0 * rows), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
        )
        grid = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=[1.2] + [1.0] * columns)
        for row, places in enumerate(grid):
            places[0].imshow(_mosaic(shown[row], self.grid, tile // 6))
            for place, axes in enumerate(places[1:]):
                axes.imshow(_mosaic(shown[row, list(self.pairs[place])], 2, tile // 16))
                title, colour = ARROWS[answer[row, place]], "black"
                if prediction is not None:
                    guess = int(np.argmax(prediction[row, place]))
                    title += f" said {ARROWS[guess]}"
                    colour = "tab:green" if guess == answer[row, place] else "tab:red"
                axes.set_title(title, fontsize=10, color=colour)
            for axes in places:
                axes.set_axis_off()
        return figure

    def _visible_tiles(self, puzzle: Any) -> np.ndarray:
        """Return the tiles as the network gets them, but for standardisation: uint8 [B, n, t, t, 3]."""
        levels = np.asarray(seen_levels(puzzle, self.colour))
        return np.round(np.clip(np.broadcast_to(levels, puzzle["tiles"].shape), 0, 255)).astype(np.uint8)


class SeenPatches(keras.layers.Layer):
    """What the trunk gets to see of the tiles: colour, sharpness, each standardised on its own.

    Input: the puzzle of `RelativePosition`.
    Output shape: float32 [B, n, t, t, 3].
    """

    def __init__(self, colour: str, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self.colour = colour

    def call(self, puzzle: Any) -> Any:
        """Apply `seen_levels` and `standardise`."""
        patches = standardise(seen_levels(puzzle, self.colour))
        if self.colour == "drop":
            # Over all three channels, of which two are 0, the deviation is 1 again, as in the authors' code.
            kept = keras.ops.one_hot(puzzle["channel"], 3, dtype="float32") * math.sqrt(3)
            patches = patches * kept[:, :, None, None, :]
        return patches

    def compute_output_shape(self, shapes: Any) -> Any:
        """Return the shape of the tiles."""
        return shapes["tiles"]


def seen_levels(puzzle: Any, colour: str) -> Any:
    """Return tiles without what gives the answer away, in grey levels.

    Args:
      puzzle: the puzzle of `RelativePosition`.
      colour: "drop", "project" or "keep".

    Returns:
      float32 [B, n, t, t, c]; c is 1 with colour="drop", else 3. About 0 to 255; "project" can leave that range.
    """
    patches = keras.ops.cast(puzzle["tiles"], "float32")
    if colour == "drop":
        kept = keras.ops.one_hot(puzzle["channel"], 3, dtype="float32")
        patches = keras.ops.sum(patches * kept[:, :, None, None, :], -1, keepdims=True)
    elif colour == "project":
        patches = keras.ops.matmul(patches, projection())
    if "side" in puzzle:
        size = patches.shape[2]
        table = keras.ops.convert_to_tensor(_resampling(size))
        matrices = keras.ops.take(table, puzzle["side"] - _least_side(size), axis=0)
        patches = keras.ops.einsum("bnij,bnjkc->bnikc", matrices, patches)
        patches = keras.ops.einsum("bnij,bnkjc->bnkic", matrices, patches)
    return patches


def projection() -> np.ndarray:
    """Return I - a'a / aa', float32 [3, 3]: it takes out of a colour what lies along `AXIS`."""
    axis = np.array(AXIS)
    return (np.eye(3) - np.outer(axis, axis) / (axis @ axis)).astype(np.float32)


def _least_side(tile: int) -> int:
    return min(tile, max(4, round(tile * 10 / 96)))


def _sides(shape: Any, tile: int, resample: float, chosen_seed: tf.Tensor, area_seed: tf.Tensor) -> tf.Tensor:
    """Draw the side to which each patch is down-sampled, `tile` where it is not; its area is uniform: int32 [B, n]."""
    chosen = tf.random.stateless_uniform(shape, chosen_seed) < resample
    area = tf.random.stateless_uniform(shape, area_seed, float(_least_side(tile) ** 2), float(tile**2))
    return tf.where(chosen, tf.cast(tf.sqrt(area), tf.int32), tile)


def _resampling(tile: int) -> np.ndarray:
    """Return float32 [K, t, t]: down to `_least_side`, ..., t pixels and up again, as matrices from the left."""
    sides = range(_least_side(tile), tile + 1)
    return np.stack([_linear(side, tile) @ _linear(tile, side) for side in sides])


def _linear(old: int, new: int) -> np.ndarray:
    """Return a matrix that resizes, float32 [new, old].

    It interpolates linearly with half-pixel centres, free of aliasing, as `tf.image.resize` does.
    """
    scale = old / new
    centres = (np.arange(new)[:, None] + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centres) / max(scale, 1.0))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _mosaic(patches: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """Lay uint8 [n, t, t, 3] in rows of `columns`, with a white gap of at least a pixel between them."""
    count, tile = patches.shape[:2]
    rows, step = -(-count // columns), tile + max(1, gap)
    canvas = np.full((rows * step, columns * step, 3), 255, np.uint8)
    for place, patch in enumerate(patches):
        top, left = place // columns * step, place % columns * step
        canvas[top : top + tile, left : left + tile] = patch
    return canvas[: tile - step, : tile - step]
