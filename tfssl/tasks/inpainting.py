"""Inpainting: what is behind the hole?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.batch_norm import BatchNormalization
from tfssl.pipelines.ops import geometry, holes
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts import decoder, regression
from tfssl.tasks.parts.adversarial import AdversarialTask
from tfssl.tasks.parts.metrics import PictureMean
from tfssl.tasks.parts.undoing import Pieces, Undoable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

HOLES = ("random", "centre")
FILL = (117, 104, 123)
"""What a hole shows, in the order of the authors' code, which fills pictures whose channels are red, green, blue."""

PAPER_SIZE = 128
"""Pixels of the paper's crops, to which `overlap` refers."""

OVERLAP_WEIGHT = 10
OPPONENT_WEIGHT = 0.001
DEGENERATE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inpainting(AdversarialTask, Undoable):
    """What is behind the hole? (Pathak et al. 2016, arXiv 1604.07379; code pathak22/context-encoder)

    Every picture is mirrored or not, then a part of it is painted over with one colour, and the head paints that part
    from what is around it.

    With hole="random", the paper's choice for learning features, the hole is 1, 2, 4 or 8 blocks of random size and
    place that cover at most a quarter of the picture. With hole="centre" a block of half the picture's side is
    predicted. As in the authors' code, a ring of `overlap` pixels inside of that block is shown, and counts ten times,
    so that the prediction goes on where the picture ends. `overlap` is of 128 pixels (4 in the code, 7 in the paper)
    and scales with the size.

    A crop of the whole batch's size stands for the paper's crop of 128 from 350 pixels.

    Puzzle: uint8 [B, S, S, 3], the holes filled.
    Answer: uint8 [B, S, 4 S]: of each row of pixels the 3 S bytes of its colours, then their weights: 1 in the
      hole, 10 in the overlap, 0 elsewhere. `take_apart` gives the two.
    Head: the trunk's map, narrowed to at most 128 channels; a decoder that doubles it (nearest neighbours, then a
      convolution) until it has about half of the picture's resolution; bilinear resizing. float32 [B, S, S, 3],
      colours from -1 (0) to 1 (255).
    Loss: squared error, the weighted mean over the hole of each picture: its value does not depend on the hole's area.

    With adversarial=True a discriminator is trained against the head, which then counts 0.001 beside 0.999 of the
    squared error, as in the paper. It sees what is predicted with a centred hole, and with a random one the picture
    with the prediction in its hole. It judges places and averages, so that it fits any size; the paper's is one for
    64 x 64 pixels. The head learns by the optimizer of the run (in the code by Adam, at ten times the rate of the
    discriminator's).
    """

    hole: str = "random"
    overlap: int = 4
    adversarial: bool = False
    name: ClassVar[str] = "inpainting"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hole not in HOLES:
            raise UserError(f"inpainting: hole={self.hole!r} is given, expected one of {', '.join(HOLES)}")
        if not 0 <= self.overlap < PAPER_SIZE // 4:
            raise UserError(f"inpainting: overlap={self.overlap} is given, expected 0 to {PAPER_SIZE // 4 - 1} pixels")

    def overlap_at(self, size: int) -> int:
        """Return the pixels of the shown ring inside of a centred hole, in pictures of `size` pixels."""
        return round(self.overlap * size / PAPER_SIZE)

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        del source
        if self.hole == "centre":
            side = size // 2 - 2 * self.overlap_at(size)
            narrow, text = side, f"the hole is {side} px"
        else:
            narrow, wide = holes.block_sides(size, 1)
            text = f"the largest blocks are {narrow} to {wide} px"
        if narrow >= DEGENERATE:
            return []
        return [f"{text}: what they hide can be guessed from the colours at their sides; choose a larger size"]

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        flip_seed, hole_seed = tf.unstack(tf.random.split(seed, 2))
        images = geometry.flip_some(batch["image"], flip_seed)
        count, size = images.shape[:2]
        if self.hole == "centre":
            weights = self.centre_weights(size)
            hidden = tf.constant((weights == 1).repeat(3, axis=1).astype(np.uint8)[None])
            counts = tf.tile(tf.constant(weights[None]), [count, 1, 1])
        else:
            rows, columns = holes.random_blocks(count, size, hole_seed)
            hidden = holes.mask(rows, holes.channel_wise(columns))
            counts = holes.mask(rows, columns)
        puzzle = holes.fill(images, hidden, FILL)
        answer = tf.concat([tf.reshape(images, [count, size, 3 * size]), counts], 2)
        return puzzle, answer, tf.ones([count], tf.float32)

    def centre_weights(self, size: int) -> np.ndarray:
        """Return the weight of each pixel with a hole in the middle: uint8 [S, S]."""
        weights = np.zeros([size, size], np.uint8)
        block, ring = _centre(size), self.overlap_at(size)
        weights[block, block] = OVERLAP_WEIGHT
        weights[block, block][ring : size // 2 - ring, ring : size // 2 - ring] = 1
        return weights

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        trunk = encoders["image"]
        x = trunk(puzzle)
        most = min(x.shape[-1] // 2, 128)
        x = decoder.activated_convolution(x, max(most, 16), 1, "inpainting_narrow")
        # It sees far: what lies on the other side of a hole is several places of the trunk's map away.
        x = decoder.activated_convolution(x, max(most, 16), 5, "inpainting_0")
        for level in range(1, decoder.doublings(trunk, 2) + 1):
            x = decoder.double(x, max(most // 2**level, 16), self.name, level)
        colours = regression.numbers(x, 3, 3, "inpainting_colours")
        return decoder.ResizedLike(dtype="float32", name="inpainting_picture")([colours, puzzle])

    def make_loss(self) -> keras.losses.Loss:
        return HoleError()

    def metrics(self) -> list[keras.metrics.Metric]:
        return [HoleL1(name="l1"), HoleL2(name="l2"), HolePSNR(name="psnr")]

    def opponent(self, encoders: Encoders) -> keras.Model | None:
        if not self.adversarial:
            return None
        channels = int(np.clip(encoders["image"].body.outputs[0].shape[-1] // 8, 8, 64))
        x = pictures = keras.Input((None, None, 3), name="inpainting_opponent_pictures")
        for level in range(4):
            name = f"inpainting_opponent_{level}"
            x = keras.layers.Conv2D(channels * 2**level, 4, 2, "same", name=f"{name}_convolution")(x)
            if level:
                x = BatchNormalization(name=f"{name}_norm")(x)
            x = keras.layers.LeakyReLU(0.2, name=f"{name}_activation")(x)
        x = keras.layers.GlobalAveragePooling2D(name="inpainting_opponent_pool")(x)
        logits = keras.layers.Dense(1, dtype="float32", name="inpainting_opponent_logits")(x)
        return keras.Model(pictures, logits, name="inpainting_opponent")

    def contest(self, puzzle: Any, answer: tf.Tensor, prediction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        colours, counts = take_apart(answer)
        prediction = tf.cast(prediction, tf.float32)
        if self.hole == "centre":
            block = _centre(answer.shape[1])
            return colours[:, block, block], prediction[:, block, block]
        return colours, tf.where(counts[..., None] == 1, prediction, colours)

    @property
    def opponent_weight(self) -> float:
        return OPPONENT_WEIGHT if self.adversarial else 0.0

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        colours, counts = _as_arrays(answer)
        size = puzzle.shape[1]
        back = np.where((counts == 1)[..., None], colours, puzzle)
        return Pieces(back[:, None], np.array([[0, 0, size, size]]))

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        puzzle = np.asarray(puzzle)
        colours, counts = _as_arrays(np.asarray(answer))
        columns = {"hole": puzzle, "picture": colours}
        if prediction is not None:
            columns["painted"] = pasted(puzzle, counts == 1, np.asarray(prediction))
        rows = min(count, len(puzzle))
        figure = Figure(figsize=(1.6 * len(columns), 1.65 * rows), layout="constrained")
        for row, line in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
            for axes, (title, images) in zip(line, columns.items(), strict=True):
                axes.imshow(images[row])
                axes.set_axis_off()
                axes.set_title("" if row else title, fontsize=9)
            if prediction is not None:
                error = HoleL1().values(tf.constant(answer[row : row + 1]), tf.constant(prediction[row : row + 1]))
                line[-1].set_title(f"painted, L1 {float(error[0]):.1f} %", fontsize=9)
        return figure


def _centre(size: int) -> slice:
    """Return the rows, and columns, of a block of half the side in the middle."""
    return slice(size // 4, size // 4 + size // 2)


def take_apart(answer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Split an answer [B, S, 4 S] into colours from -1 to 1 and the weights of pixels.

    Colours are float32 [B, S, S, 3], weights float32 [B, S, S].
    """
    size = answer.shape[1]
    colours = tf.reshape(answer[:, :, : 3 * size], [-1, size, size, 3])
    return tf.cast(colours, tf.float32) / 127.5 - 1.0, tf.cast(answer[:, :, 3 * size :], tf.float32)


def pasted(images: np.ndarray, hidden: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Paste the prediction (-1 to 1) into pictures uint8 [..., 3] where `hidden`, bool [...], is true.

    Other pixels stay as they are.
    """
    painted = np.clip(np.round((np.asarray(prediction, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
    return np.where(hidden[..., None], painted, images)


def _as_arrays(answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = answer.shape[1]
    return answer[..., : 3 * size].reshape(-1, size, size, 3), answer[..., 3 * size :]


class HoleError(keras.losses.Loss):
    """Squared error of colours between -1 and 1: of each picture the weighted mean over its hole, [B]."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        colours, counts = take_apart(y_true)
        errors = tf.reduce_mean(tf.square(tf.cast(y_pred, tf.float32) - colours), -1)
        return tf.math.divide_no_nan(tf.reduce_sum(errors * counts, [1, 2]), tf.reduce_sum(counts, [1, 2]))


class HoleMetric(PictureMean):
    """The mean over pictures of a figure that each picture's hole has, the overlap left out.

    Predictions beyond -1 and 1 count as these, as a picture shows them.
    """

    def _mean(self, y_true: tf.Tensor, y_pred: tf.Tensor, power: int) -> tf.Tensor:
        """Return the mean of |error| to a power over colours (range 1) and hidden pixels: float32 [B]."""
        colours, counts = take_apart(y_true)
        hidden = tf.cast(counts == 1, tf.float32)
        errors = tf.abs(tf.clip_by_value(tf.cast(y_pred, tf.float32), -1.0, 1.0) - colours) / 2
        sums = tf.reduce_sum(tf.reduce_mean(errors**power, -1) * hidden, [1, 2])
        return tf.math.divide_no_nan(sums, tf.reduce_sum(hidden, [1, 2]))


class HoleL1(HoleMetric):
    """Mean absolute error, per cent of the range of colours: 9.37 on StreetView, in the paper."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return 100 * self._mean(y_true, y_pred, 1)


class HoleL2(HoleMetric):
    """Mean squared error, per cent of the squared range of colours."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return 100 * self._mean(y_true, y_pred, 2)


class HolePSNR(HoleMetric):
    """Peak signal-to-noise ratio, dB: 10 log10(1 / mean squared error) of each picture's hole, averaged over pictures.

    Where a hole is painted better than by a quarter of a grey level it counts 60 dB, not infinity.
    """

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return -10 * tf.math.log(tf.maximum(self._mean(y_true, y_pred, 2), 1e-6)) / math.log(10.0)
