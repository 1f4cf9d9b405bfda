"""Frame filling: what was between these two frames?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.batch_norm import BatchNormalization
from tfssl.errors import UserError
from tfssl.pipelines.motion import Window, changed
from tfssl.task import Batch, Encoders, PretextTask, Puzzle
from tfssl.tasks import frames
from tfssl.tasks.colour_head import activated_convolution
from tfssl.tasks.inpainting import ResizedLike
from tfssl.tasks.picture_mean import PictureMean
from tfssl.trunks import Trunk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS = 128
STRIDE_SIZE = 256
LEAST_ERROR = 1e-6
"""Mean squared error, of a range of 1, that counts 60 dB: a quarter of a grey level."""
STRETCH = 4
"""By how much errors are brightened to be drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameFilling(PretextTask):
    """What was between these two frames? (a context encoder in time: Pathak et al. 2016, arXiv 1604.07379, has the
    encoder and decoder; Long et al. 2016, arXiv 1603.06041, learn from the frame between two)

    Three frames at equal distances, from a window of the clip that is drawn by how much moves in it, cropped and
    flipped alike: the first and the last are shown, and the head paints the one in the middle. A clip counts only
    where the middle frame can be told from both.

    Copying is a strong answer where little moves. So the answer has the mean of the neighbours beside the middle frame,
    and metrics say what it scores: `copied_psnr` beside `psnr`, and `gain`, in dB.

    Puzzle: uint8 [B, 2, S, S, 3], first and last frame.
    Answer: uint8 [B, S, S, 6], the middle frame, then the mean of its neighbours, rounded.
    Weight: float32 [B], 0 where a clip has fewer than three frames or nothing moves.
    Head: both frames through the trunk; their maps side by side, narrowed to at most 128 channels; a decoder that
      doubles them (nearest neighbours, then a convolution) until it has about half of the picture's resolution;
      bilinear resizing. float32 [B, S, S, 3], colours from -1 (0) to 1 (255). With copied=True the decoder paints what
      is to be added to the mean of the neighbours, and begins with nothing: it is asked about what moves only.
    Loss: squared error of colours from -1 to 1, the mean of each picture.

    Settings:
      gap: seconds between neighbours.
      least_change: mean difference, 0..1, that neighbours must have.
      copied: whether the mean of the neighbours is given to the head's result.
    """

    gap: float = 0.16
    least_change: float = 0.005
    copied: bool = False
    name: ClassVar[str] = "frame_filling"
    reads: ClassVar[tuple[str, ...]] = ("clip",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gap < math.inf:
            raise UserError(f"frame_filling: gap={self.gap} is given, expected seconds, more than 0")
        if not 0 <= self.least_change < 1:
            raise UserError(f"frame_filling: least_change={self.least_change} is given, expected 0 to below 1")

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        def arrange(window: Window, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            del seed
            told = tf.reduce_min(changed(window.pictures[1:], window.pictures[:-1]))
            return tf.constant([0, 1, 2]), tf.constant(0), told > self.least_change

        shown, _, weight = frames.sequences(batch, seed, 3, self.gap, 3, arrange)
        neighbours = tf.gather(shown, [0, 2], axis=1)
        return neighbours, tf.concat([shown[:, 1], mean_of(neighbours)], -1), weight

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        trunk = encoders["image"]
        height, width = puzzle.shape[2:4]
        maps = trunk(keras.ops.reshape(puzzle, (-1, height, width, 3)))
        rows, columns, channels = maps.shape[1:]
        both = keras.ops.reshape(maps, (-1, 2, rows, columns, channels))
        both = keras.layers.Concatenate(name="frame_filling_both")([both[:, 0], both[:, 1]])
        x = _decoded(both, min(channels, CHANNELS), max(0, round(math.log2(_stride(trunk))) - 1))
        start = "zeros" if self.copied else "glorot_uniform"
        colours = keras.layers.Conv2D(
            3, 3, padding="same", kernel_initializer=start, dtype="float32", name="frame_filling_colours"
        )(x)
        painted = ResizedLike(dtype="float32", name="frame_filling_picture")([colours, puzzle[:, 0]])
        if not self.copied:
            return painted
        mean = Mean(dtype="float32", name="frame_filling_mean")(puzzle)
        return keras.layers.Add(dtype="float32", name="frame_filling_added")([painted, mean])

    def make_loss(self) -> keras.losses.Loss:
        return FrameError()

    def metrics(self) -> list[keras.metrics.Metric]:
        return [
            FrameL1(name="l1"),
            FrameL2(name="l2"),
            FramePSNR(name="psnr"),
            CopiedPSNR(name="copied_psnr"),
            Gain(name="gain"),
        ]

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        puzzle, answer = np.asarray(puzzle), np.asarray(answer)
        middle, mean = answer[..., :3], answer[..., 3:]
        columns = {"before": puzzle[:, 0], "middle": middle, "after": puzzle[:, 1], "mean of both": mean}
        columns["its error x4"] = _error(middle, mean)
        if prediction is not None:
            painted = np.clip(np.round((np.asarray(prediction, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
            columns |= {"painted": painted, "error x4": _error(middle, painted)}
        rows = min(count, len(puzzle))
        figure = Figure(figsize=(1.6 * len(columns), 1.75 * rows), layout="constrained")
        for row, line in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
            for axes, (title, images) in zip(line, columns.items(), strict=True):
                axes.imshow(images[row])
                axes.set_axis_off()
                axes.set_title("" if row else title, fontsize=9)
            truth = tf.constant(answer[row : row + 1])
            scores = {4: psnr(*_copied(truth))}
            if prediction is not None:
                scores[len(columns) - 1] = psnr(*_painted(truth, tf.constant(prediction[row : row + 1])))
            for place, score in scores.items():
                title = "" if row else list(columns)[place] + "\n"
                line[place].set_title(f"{title}{float(score[0]):.1f} dB", fontsize=9)
        return figure


def mean_of(neighbours: tf.Tensor) -> tf.Tensor:
    """uint8 [B, 2, S, S, 3] -> their mean, uint8 [B, S, S, 3], halves rounded up."""
    return tf.cast((tf.reduce_sum(tf.cast(neighbours, tf.int32), 1) + 1) // 2, tf.uint8)


def _error(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return np.clip(STRETCH * np.abs(truth.astype(int) - guess), 0, 255).astype(np.uint8)


def _decoded(x: Any, channels: int, doublings: int) -> Any:
    """Two maps side by side -> one whose sides were doubled so often, as the decoder of `Inpainting` does it."""
    x = keras.layers.Conv2D(channels, 1, use_bias=False, name="frame_filling_narrow_convolution")(x)
    x = BatchNormalization(name="frame_filling_narrow_norm")(x)
    x = keras.layers.ReLU(name="frame_filling_narrow_activation")(x)
    for level in range(doublings + 1):
        if level:
            x = keras.layers.UpSampling2D(name=f"frame_filling_double{level}")(x)
        x = activated_convolution(x, max(channels // 2**level, 16), f"frame_filling_{level}")
    return x


def _stride(trunk: Trunk) -> float:
    """Pixels of a place of the trunk's map."""
    size = trunk.body.inputs[0].shape[1] or STRIDE_SIZE
    return size / trunk.body.compute_output_shape((1, size, size, 3))[1]


@keras.saving.register_keras_serializable("tfssl")
class Mean(keras.layers.Layer):
    """Frames uint8 [N, 2, H, W, 3] -> the mean of both, colours from -1 to 1, float32 [N, H, W, 3]."""

    def call(self, frames: tf.Tensor) -> tf.Tensor:
        return _colours(mean_of(frames))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], *input_shape[2:])


def _colours(levels: tf.Tensor) -> tf.Tensor:
    return tf.cast(levels, tf.float32) / 127.5 - 1.0


def _painted(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The middle frame, and what the head painted, colours from -1 to 1."""
    return _colours(y_true[..., :3]), tf.clip_by_value(tf.cast(y_pred, tf.float32), -1.0, 1.0)


def _copied(y_true: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The middle frame, and the mean of its neighbours, colours from -1 to 1."""
    return _colours(y_true[..., :3]), _colours(y_true[..., 3:])


def _mean_error(truth: tf.Tensor, guess: tf.Tensor, power: int) -> tf.Tensor:
    """Colours from -1 to 1, [B, S, S, 3] -> float32 [B]: mean of |error| to a power; their range is 1."""
    return tf.reduce_mean((tf.abs(truth - guess) / 2) ** power, [1, 2, 3])


def psnr(truth: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """Colours from -1 to 1, [B, S, S, 3] -> float32 [B], dB: 10 log10(1 / mean squared error), at most 60."""
    error = tf.maximum(_mean_error(truth, guess, 2), LEAST_ERROR)
    return -10 * tf.math.log(error) / math.log(10.0)


class FrameError(keras.losses.Loss):
    """Squared error of colours between -1 and 1, the mean of each picture, [B]."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.square(tf.cast(y_pred, tf.float32) - _colours(y_true[..., :3])), [1, 2, 3])


class FrameL1(PictureMean):
    """Mean absolute error, per cent of the range of colours."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return 100 * _mean_error(*_painted(y_true, y_pred), 1)


class FrameL2(PictureMean):
    """Mean squared error, per cent of the squared range of colours."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return 100 * _mean_error(*_painted(y_true, y_pred), 2)


class FramePSNR(PictureMean):
    """Peak signal-to-noise ratio of each picture, dB."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return psnr(*_painted(y_true, y_pred))


class CopiedPSNR(PictureMean):
    """The same of the mean of the neighbours, in place of what was painted."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return psnr(*_copied(y_true))


class Gain(PictureMean):
    """By how many dB what was painted is better than the mean of the neighbours."""

    def values(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return psnr(*_painted(y_true, y_pred)) - psnr(*_copied(y_true))
