"""Frame order: in which order were these frames?"""

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.clips import clip_records
from tfssl.pipelines.clips.motion import Window, difference
from tfssl.pipelines.ops import geometry
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts import classification, sequences
from tfssl.tasks.parts.classification import ChoiceTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_SIZE = 80
"""Side of a frame in the paper's code, pixels."""
COLOURS = ("drop", "keep")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameOrder(ChoiceTask):
    """In which order were these frames? Forwards and backwards count as one.

    (Lee et al. 2017, arXiv 1708.01246; HsinYingLee/OPN)

    Frames at equal distances from a window of the clip that is drawn by how much moves in it are shuffled; the answer
    is one of n! / 2 orders: an order and its reverse are the same answer, as many motions look alike backwards. It
    counts only where each frame can be told from the next.

    All frames of a puzzle come from one crop and are flipped alike. Against tracking of edges each is cut out of that
    crop at a place of its own, up to `jitter` pixels away from its middle in both directions; against tracking of
    colours it keeps one channel of its own, copied to all three. Both as in the paper's code, where frames are 80 px
    wide, places are drawn within 100 px, and a frame that would leave these stays in its place; here the crop is as
    much larger as the jitter needs, so that no border is made and every draw counts.

    Head as in the paper: a layer for each frame, features of each pair through one shared layer, all pairs side by
    side, logits.

    Puzzle: uint8 [B, n, S, S, 3]. Answer: int32 [B], index into `orders`. Weight: float32 [B].

    Settings:
      frames: n, 3 to 5.
      gap: seconds between neighbours.
      jitter: pixels of a frame of 80 px, 0 to 20; in proportion at other sizes, and at least one where it is not 0.
      colour: "drop" for one channel of each frame, "keep" for all.
      least_change: mean difference, 0..1, that neighbours must have.
      hidden: width of both layers (the paper has 1024 and 512).
    """

    frames: int = 4
    gap: float = 0.24
    jitter: int = 5
    colour: str = "drop"
    least_change: float = 0.005
    hidden: int = 256
    name: ClassVar[str] = "frame_order"
    reads: ClassVar[tuple[str, ...]] = ("clip",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames not in (3, 4, 5):
            raise UserError(f"frame_order: frames={self.frames} is given, expected 3, 4 or 5")
        if not self.gap > 0:
            raise UserError(f"frame_order: gap={self.gap} is given, expected seconds, more than 0")
        if not 0 <= self.jitter <= PAPER_SIZE // 4:
            raise UserError(f"frame_order: jitter={self.jitter} is given, expected 0 to {PAPER_SIZE // 4} pixels")
        if self.colour not in COLOURS:
            raise UserError(f"frame_order: colour={self.colour!r} is given, expected one of {', '.join(COLOURS)}")
        if not 0 <= self.least_change < 1:
            raise UserError(f"frame_order: least_change={self.least_change} is given, expected 0 to below 1")
        if self.hidden < 1:
            raise UserError(f"frame_order: hidden={self.hidden} is given, expected at least 1")

    @property
    def orders(self) -> tuple[tuple[int, ...], ...]:
        """Which frame stands at each place, by class; the reverse of each is the same class."""
        return tuple(order for order in itertools.permutations(range(self.frames)) if order[0] < order[-1])

    @property
    def choices(self) -> int:
        return len(self.orders)

    def reach(self, size: int) -> int:
        """Return the pixels by which frames of `size` pixels are jittered at most."""
        return max(1, round(self.jitter * size / PAPER_SIZE)) if self.jitter else 0

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        frames_seed, place_seed, channel_seed = tf.unstack(tf.random.split(seed, 3))
        reach = self.reach(batch["image"].shape[1])
        orders = tf.constant(self.orders)

        def arrange(window: Window, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            class_seed, way_seed = tf.unstack(tf.random.split(seed, 2))
            answer = tf.random.stateless_uniform([], class_seed, 0, len(self.orders), tf.int32)
            backwards = tf.random.stateless_uniform([], way_seed) < 0.5
            order = tf.where(backwards, orders[answer][::-1], orders[answer])
            change = tf.reduce_min(difference(window.pictures[1:], window.pictures[:-1]))
            return order, answer, change > self.least_change

        shown, answer, weight = sequences.sequences(
            batch, frames_seed, self.frames, self.gap, self.frames, arrange, room=2 * reach
        )
        shown = _jitter(shown, reach, place_seed) if reach else shown
        return (_show_one_channel(shown, channel_seed) if self.colour == "drop" else shown), answer, weight

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        features = sequences.features_of_frames(encoders["image"], puzzle, self.hidden, self.name)  # [B, n, C]
        ends = tuple(zip(*itertools.combinations(range(self.frames), 2), strict=True))
        pairs = keras.ops.concatenate([keras.ops.take(features, list(each), axis=1) for each in ends], axis=-1)
        x = classification.hidden(pairs, self.hidden, "frame_order_pairs")
        x = keras.layers.Flatten(name="frame_order_all")(x)
        return classification.logits(x, len(self.orders), "frame_order_logits")

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        titles, right = [], []
        for row, truth in enumerate(np.asarray(answer)[:count]):
            guess = None if prediction is None else int(np.argmax(prediction[row]))
            titles.append(self._order_text(truth) + ("" if guess is None else f", said {self._order_text(guess)}"))
            right.append(None if guess is None else guess == truth)
        return sequences.picture(puzzle, titles, right, count)

    def _order_text(self, number: int) -> str:
        return "-".join(str(place + 1) for place in self.orders[number])


def _jitter(frames: tf.Tensor, reach: int, seed: tf.Tensor) -> tf.Tensor:
    """Cut a square out of each frame, at a place of its own.

    uint8 [B, n, S + 2 reach, S + 2 reach, 3] -> [B, n, S, S, 3].
    """
    count, number, room = frames.shape[:3]
    size = room - 2 * reach
    flat = tf.reshape(frames, [-1, room, room, 3])

    def square(place: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        top, left = tf.unstack(tf.random.stateless_uniform([2], seed, 0, 2 * reach + 1, tf.int32))
        return tf.slice(flat[place], [top, left, 0], [size, size, 3])

    return tf.reshape(clip_records.over_rows(count * number, seed, square), [count, number, size, size, 3])


def _show_one_channel(frames: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Show one channel of each frame in place of all three: uint8 [B, n, S, S, 3] -> the same."""
    flat = tf.reshape(frames, [-1, *frames.shape[2:]])
    channel = tf.random.stateless_uniform(flat.shape[:1], seed, 0, 3, tf.int32)
    return tf.reshape(geometry.one_channel(flat, channel), frames.shape)
