"""Rotation: how far was this photo turned?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.ops import geometry
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts import classification
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.tasks.parts.served import Served, ServedNetwork, Trained
from tfssl.tasks.parts.undoing import Pieces, Undoable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILT = 22.5
VIEWS = ("whole", "inscribed")
ANGLES = {
    2: (0.0, 180.0),
    4: (0.0, 90.0, 180.0, 270.0),
    8: tuple(tilt + 90.0 * turns for tilt in (-TILT, TILT) for turns in range(4)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation(ChoiceTask, Undoable, Served):
    """Which way is up? (Gidaris et al. 2018, arXiv 1803.07728)

    Every picture is mirrored or not, then stands in the batch in all its rotations, side by side: the label is right
    by construction and the classes are always balanced. Quarter turns move pixels and never interpolate. The batch
    was resized before it is turned, never after: a resize does not commute with turning, and would tell the angle.

    With rotations=8 the quarter turns of the picture tilted by 22.5 degrees, and of the picture tilted the other way:
    steps of 45 degrees, cropped to the square that a picture turned by 45 degrees fills. So no class is upright, unlike
    the paper's 0, 45, 90, ...: there only every second one is interpolated, and sharpness alone tells the two kinds
    apart (89 % right, where 50 are chance). Tilted both ways they are resampled alike (51 %). It is here for the
    published comparison (4 beat 8 beat 2), not for use. There all must see the same: view='inscribed' crops pictures of
    2 and 4 rotations to the square in the middle that 8 always see, `rotation(rotations=4, view='inscribed')`.

    Puzzle: uint8 [rotations * B, H, W, 3], H = W = S, or S / sqrt(2) where the view is inscribed.
    Answer: int32 [rotations * B], index into `angles`. Turns are counter-clockwise.
    Head: global average of the trunk's map, dropout where asked for, one fully connected layer.

    Settings:
      rotations: 2, 4 or 8.
      view: "whole", or "inscribed" for the square in the middle that is full at any angle; 8 rotations see that anyway.
      dropout: rate before the logits.
    """

    rotations: int = 4
    view: str = "whole"
    dropout: float = 0.0
    name: ClassVar[str] = "rotation"
    signature: ClassVar[str] = "predict_rotation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotations not in ANGLES:
            raise UserError(f"rotation: rotations={self.rotations} is given, expected one of 2, 4, 8")
        if self.view not in VIEWS:
            raise UserError(f"rotation: view={self.view!r} is given, expected one of {', '.join(VIEWS)}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"rotation: dropout={self.dropout} is given, expected a rate from 0 to below 1")

    @property
    def angles(self) -> tuple[float, ...]:
        """Degrees counter-clockwise, by class."""
        return ANGLES[self.rotations]

    @property
    def _turns(self) -> tuple[int, ...]:
        """Quarter turns by class, of 2 or 4 rotations."""
        return tuple(int(angle) // 90 for angle in self.angles)

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        images = geometry.flip_some(batch["image"], seed)
        if self.rotations == 8:
            views = tf.stack([_tilt(images, -TILT), _tilt(images, TILT)], 1)  # [B, 2, C, C, 3]
            side = views.shape[2]
            turned = geometry.quarter_turns(tf.reshape(views, [-1, side, side, 3]), (0, 1, 2, 3))
        else:
            images = self._view(images)
            side = images.shape[1]
            turned = geometry.quarter_turns(images, self._turns)
        puzzle = tf.reshape(turned, [images.shape[0] * self.rotations, side, side, 3])
        answer = tf.tile(tf.range(self.rotations, dtype=tf.int32), [images.shape[0]])
        return puzzle, answer, tf.ones_like(answer, tf.float32)

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        features = keras.layers.GlobalAveragePooling2D(name="rotation_pool")(encoders["image"](puzzle))
        if self.dropout:
            features = keras.layers.Dropout(self.dropout, name="rotation_dropout")(features)
        return classification.logits(features, self.rotations, "rotation_logits")

    def seen(self, images: tf.Tensor) -> tuple[tf.Tensor, tuple[int, ...]]:
        """Return what the head is asked about, and what its classes mean, for whole pictures, uint8 [N, S, S, 3].

        These are degrees counter-clockwise by which a picture stands turned. With rotations=8 it is tilted first, as no
        class is upright.
        """
        tilt = TILT if self.rotations == 8 else 0.0
        meant = tuple(round(angle - tilt) % 360 for angle in self.angles)
        return (_tilt(images, tilt) if tilt else self._view(images)), meant

    def served(self, run: Trained) -> ServedNetwork:
        """Serve how far each picture is turned.

        Answers "probabilities" float32 [N, rotations], and "angle" int32 [N], the likeliest, in degrees
        counter-clockwise.
        """
        solver = run.solver(self.name)

        def answer(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
            seen, angles = self.seen(pictures)
            logits = solver(seen, training=False)
            angle = tf.gather(tf.constant(angles), tf.argmax(logits, 1))
            return {"probabilities": tf.nn.softmax(logits), "angle": angle}

        return ServedNetwork(answer)

    def _box(self, size: int) -> tuple[int, int]:
        """Return (first row and column, side) of what 2 and 4 rotations see of a picture of `size` pixels."""
        side = size if self.view == "whole" else _inscribed_side(size)
        return (size - side) // 2, side

    def _view(self, images: tf.Tensor) -> tf.Tensor:
        """Cut what 2 and 4 rotations see, uint8 [N, S, S, 3] -> [N, C, C, 3].

        Cropped before it is turned: where S - C is odd this is half a pixel beside the middle, in all classes alike.
        """
        first, side = self._box(images.shape[1])
        return images[:, first : first + side, first : first + side]

    @property
    def choices(self) -> int:
        return self.rotations

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        if self.rotations == 8:
            return None  # interpolated
        side, turns = puzzle.shape[1], self._turns
        back = np.stack([np.rot90(one, -turns[label]) for one, label in zip(puzzle, answer, strict=True)])
        # The puzzle does not say how large its picture was, and two sizes may have one square: a box that holds both.
        sizes = [size for size in range(side, 2 * side + 4) if self._box(size)[1] == side]
        first, last = self._box(sizes[0])[0], self._box(sizes[-1])[0] + side
        boxes = np.tile([first, first, last - first, last - first], (self.rotations, 1))
        return Pieces(back.reshape(-1, self.rotations, side, side, 3), boxes)

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        puzzle, answer = np.asarray(puzzle), np.asarray(answer)
        rows = min(count, len(puzzle) // self.rotations)
        figure = Figure(figsize=(1.25 * self.rotations, 1.45 * rows), layout="constrained")
        for place, axes in enumerate(figure.subplots(rows, self.rotations, squeeze=False).flat):
            axes.imshow(puzzle[place])
            axes.set_axis_off()
            title, colour = f"{self.angles[answer[place]]:g}°", "black"
            if prediction is not None:
                guess = int(np.argmax(prediction[place]))
                title += f" → {self.angles[guess]:g}°"
                colour = "tab:green" if guess == answer[place] else "tab:red"
            axes.set_title(title, fontsize=9, color=colour)
        return figure


def _inscribed_side(size: int) -> int:
    """Return the side of the square that stays full when a picture of `size` pixels is turned by any angle."""
    return int(size / math.sqrt(2)) - 1  # one pixel less: bilinear sampling reads the next one


def _tilt(images: tf.Tensor, degrees: float) -> tf.Tensor:
    """Turn counter-clockwise about the middle and crop to the square of S / sqrt(2) that any angle leaves full."""
    size = images.shape[1]
    side = _inscribed_side(size)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_in, middle_out = (size - 1) / 2, (side - 1) / 2
    # Output (x, y) reads input (a x + b y + c, d x + e y + f); y points down, so this turns counter-clockwise.
    a, b, d, e = cosine, -sine, sine, cosine
    c = middle_in - a * middle_out - b * middle_out
    f = middle_in - d * middle_out - e * middle_out
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.constant([[a, b, c, d, e, f, 0.0, 0.0]], tf.float32),
        output_shape=[side, side],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )
    return tf.ensure_shape(tf.cast(tf.round(turned), tf.uint8), [images.shape[0], side, side, 3])
