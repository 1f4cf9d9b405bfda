"""Shuffle and learn: are these three frames in the order of time?"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.clips.motion import Window, difference
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts import classification, sequences
from tfssl.tasks.parts.classification import ChoiceTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

POSITIVE = (1, 2, 3)
NEGATIVES = ((1, 0, 3), (1, 4, 3))
"""Places among the frames a < b < c < d < e: (b, c, d) is in order, (b, a, d) and (b, e, d) are not."""

LEAST_GAPS = 10
"""Length of a clip in distances of frames from which on the time of the middle frame tells at most two of three.

The five frames span 4 gaps and begin anywhere in what is left, the slack: a lies in [0, slack] of the clip, c in
[2 gaps, 2 gaps + slack], e in [4 gaps, 4 gaps + slack]. Where both answers are as frequent, who knows only when the
middle frame was taken is right in all where the slack is 2 gaps or less, in 1 / 2 + gap / slack where it is more: at
a slack of 6 gaps in 2 / 3.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShuffleAndLearn(ChoiceTask):
    """Are these three frames in the order of time? (Misra et al. 2016, arXiv 1603.08561; imisra/shuffle-tuple)

    Five frames a < b < c < d < e at equal distances come from a window of the clip that is drawn by how much moves in
    it. In order is (b, c, d), out of order (b, a, d) and (b, e, d): ends are the same, so only the middle one tells.
    Half of all are shown backwards. All frames of a puzzle are cropped and flipped alike. A puzzle counts only where
    c can be told from a and from e.

    The paper draws the distance from a range of 15 to 60 frames; here it is fixed, and smaller in short clips. Its
    last layer reads the features of the three with nothing in between; here there is one more hidden layer. As in the
    paper, frames keep their colours and their place: nothing is done against tracking of edges and of colours, as
    `frame_order` does.

    In clips hardly longer than the five frames, a and e are always near an end, and when the middle frame was taken
    tells the answer: 92 % of them in clips of 2 s (`tfssl audit`). Give longer clips or a smaller gap: see `advice`.

    Puzzle: uint8 [B, 3, S, S, 3]. Answer: int32 [B], 1 in order, 0 not. Weight: float32 [B].
    Head: a hidden layer for each frame, the three side by side, another hidden layer, logits [B, 2].

    Settings:
      positives: part of the puzzles that are in order.
      gap: seconds between neighbours of a, b, c, d, e.
      least_change: mean difference, 0..1, that c must have from a and e.
      hidden: width of both hidden layers.
    """

    positives: float = 0.25
    gap: float = 0.3
    least_change: float = 0.005
    hidden: int = 512
    choices = 2
    name: ClassVar[str] = "shuffle_and_learn"
    reads: ClassVar[tuple[str, ...]] = ("clip",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.positives < 1:
            raise UserError(f"shuffle_and_learn: positives={self.positives} is given, expected a part between 0 and 1")
        if not self.gap > 0:
            raise UserError(f"shuffle_and_learn: gap={self.gap} is given, expected seconds, more than 0")
        if not 0 <= self.least_change < 1:
            raise UserError(f"shuffle_and_learn: least_change={self.least_change} is given, expected 0 to below 1")
        if self.hidden < 1:
            raise UserError(f"shuffle_and_learn: hidden={self.hidden} is given, expected at least 1")

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        if source is None or not (seen := source.frame_counts > 1).any():
            return []
        length, frame_rate = float(np.median(source.seconds[seen])), source.frame_rate
        frames_long, step = (
            round(length * frame_rate),
            max(1, round(self.gap * frame_rate)),
        )  # as `motion.window` rounds it
        if frames_long >= LEAST_GAPS * step:
            return []
        gap, smaller = step / frame_rate, frames_long // LEAST_GAPS / frame_rate
        known = f"clips last {length:.1f} s (median), and five frames {gap:.2f} s apart span {4 * gap:.1f} s"
        longer = f"give clips of at least {LEAST_GAPS * gap:.1f} s" + (f", or gap={smaller:.2f}" if smaller else "")
        return [f"{known}: when the middle frame was taken tells most of the answers; {longer}"]

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        orders = tf.constant([*NEGATIVES, POSITIVE])

        def arrange(window: Window, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            draws = tf.random.stateless_uniform([3], seed)
            answer = tf.cast(draws[0] < self.positives, tf.int32)
            order = orders[tf.where(answer == 1, 2, tf.cast(draws[1] < 0.5, tf.int32))]
            order = tf.where(draws[2] < 0.5, order[::-1], order)
            pictures = window.pictures
            change = tf.minimum(difference(pictures[2], pictures[0]), difference(pictures[2], pictures[4]))
            return order, answer, change > self.least_change

        return sequences.sequences(batch, seed, 5, self.gap, 3, arrange)

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        features = sequences.features_of_frames(encoders["image"], puzzle, self.hidden, self.name)
        x = keras.layers.Flatten(name="shuffle_and_learn_triplet")(features)
        x = classification.hidden(x, self.hidden, "shuffle_and_learn_hidden")
        return classification.logits(x, 2, "shuffle_and_learn_logits")

    @property
    def shares(self) -> tuple[float, float]:
        return 1 - self.positives, self.positives

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        words = ("out of order", "in order")
        titles, right = [], []
        for row, truth in enumerate(np.asarray(answer)[:count]):
            guess = None if prediction is None else int(np.argmax(prediction[row]))
            titles.append(words[truth] + ("" if guess is None else f", said {words[guess]}"))
            right.append(None if guess is None else guess == truth)
        return sequences.picture(puzzle, titles, right, count)
