"""Rotation: how far was this photo turned?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.pipelines import geometry
from tfssl.task import Batch, Encoders, Pieces, PretextTask, Puzzle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANGLES = {2: (0, 180), 4: (0, 90, 180, 270), 8: (0, 90, 180, 270, 45, 135, 225, 315)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation(PretextTask):
    """Which way is up? (Gidaris et al. 2018, arXiv 1803.07728)

    Every picture is mirrored or not, then stands in the batch in all its rotations, side by side: the label is right
    by construction and the classes are always balanced. Quarter turns move pixels and never interpolate. The batch
    was resized before it is turned, never after: a resize does not commute with turning, and would tell the angle.

    With rotations=8 the quarter turns of the picture and of the picture turned by 45 degrees, both cropped to the
    square that the turned picture fills, so that no corner shows. Turning by 45 degrees interpolates; the upright
    half is sampled between pixels too (shifted by half a pixel). Sharpness still tells the halves apart a little: 22 %
    of the answers by it alone, where 12.5 % are chance (`tfssl audit`, Caltech-101 at 96 px). It is here for the
    published comparison (4 beat 8 beat 2), not for use.

    Puzzle: uint8 [rotations * B, H, W, 3], H = W = S, or S / sqrt(2) for 8 rotations.
    Answer: int32 [rotations * B], index into `angles`. Turns are counter-clockwise.
    Head: global average of the trunk's map, dropout where asked for, one fully connected layer.
    """

    rotations: int = 4
    dropout: float = 0.0
    name: ClassVar[str] = "rotation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotations not in ANGLES:
            raise UserError(f"rotation: rotations={self.rotations} is given, expected one of 2, 4, 8")
        if not 0 <= self.dropout < 1:
            raise UserError(f"rotation: dropout={self.dropout} is given, expected a rate from 0 to below 1")

    @property
    def angles(self) -> tuple[int, ...]:
        """Degrees counter-clockwise, by class."""
        return ANGLES[self.rotations]

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        images = geometry.flip_some(batch["image"], seed)
        if self.rotations == 8:
            views = tf.stack([_sampled(images, 0.0), _sampled(images, 45.0)], 1)  # [B, 2, C, C, 3]
            side = views.shape[2]
            turned = geometry.quarter_turns(tf.reshape(views, [-1, side, side, 3]), (0, 1, 2, 3))
        else:
            side = images.shape[1]
            turned = geometry.quarter_turns(images, tuple(angle // 90 for angle in self.angles))
        puzzle = tf.reshape(turned, [images.shape[0] * self.rotations, side, side, 3])
        answer = tf.tile(tf.range(self.rotations, dtype=tf.int32), [images.shape[0]])
        return puzzle, answer, tf.ones_like(answer, tf.float32)

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        features = keras.layers.GlobalAveragePooling2D(name="rotation_pool")(encoders["image"](puzzle))
        if self.dropout:
            features = keras.layers.Dropout(self.dropout, name="rotation_dropout")(features)
        return keras.layers.Dense(self.rotations, dtype="float32", name="rotation_logits")(features)

    @property
    def choices(self) -> int:
        return self.rotations

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        if self.rotations == 8:
            return None  # interpolated
        side = puzzle.shape[1]
        back = np.stack([np.rot90(one, -self.angles[label] // 90) for one, label in zip(puzzle, answer, strict=True)])
        boxes = np.tile([0, 0, side, side], (self.rotations, 1))
        return Pieces(back.reshape(-1, self.rotations, side, side, 3), boxes)

    def make_loss(self) -> keras.losses.Loss:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        puzzle, answer = np.asarray(puzzle), np.asarray(answer)
        rows = min(count, len(puzzle) // self.rotations)
        figure = Figure(figsize=(1.25 * self.rotations, 1.45 * rows), layout="constrained")
        for place, axes in enumerate(figure.subplots(rows, self.rotations, squeeze=False).flat):
            axes.imshow(puzzle[place])
            axes.set_axis_off()
            title, colour = f"{self.angles[answer[place]]}°", "black"
            if prediction is not None:
                guess = int(np.argmax(prediction[place]))
                title += f" → {self.angles[guess]}°"
                colour = "tab:green" if guess == answer[place] else "tab:red"
            axes.set_title(title, fontsize=9, color=colour)
        return figure


def _sampled(images: tf.Tensor, degrees: float) -> tf.Tensor:
    """Turned counter-clockwise about the middle and cropped to the square of S / sqrt(2) that 45 degrees leave full."""
    size = images.shape[1]
    side = int(size / math.sqrt(2)) - 1  # one pixel less: bilinear sampling reads the next one
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    shift = 0.5 if degrees == 0 else 0.0  # between pixels, as blurred as the turned half
    middle_in, middle_out = (size - 1) / 2, (side - 1) / 2
    # Output (x, y) reads input (a x + b y + c, d x + e y + f); y points down, so this turns counter-clockwise.
    a, b, d, e = cosine, -sine, sine, cosine
    c = middle_in - a * middle_out - b * middle_out + shift * ((size - side) % 2 == 0)
    f = middle_in - d * middle_out - e * middle_out + shift * ((size - side) % 2 == 0)
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.constant([[a, b, c, d, e, f, 0.0, 0.0]], tf.float32),
        output_shape=[side, side],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )
    return tf.ensure_shape(tf.cast(tf.round(turned), tf.uint8), [images.shape[0], side, side, 3])
