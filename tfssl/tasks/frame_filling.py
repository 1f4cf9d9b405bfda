"""Frame filling: what was between these two frames?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import Trunk
from tfssl.pipelines.clips.motion import Window, changed
from tfssl.tasks.base import Batch, Encoders, PretextTask, Puzzle
from tfssl.tasks.parts import sequences
from tfssl.tasks.parts.decoder import ResizedLike, activated_convolution, normed_convolution
from tfssl.tasks.parts.metrics import PictureMean
from tfssl.tasks.parts.warping import UNITS, MatchedDisplacement, WarpedBetween

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNELS = 32
EMBEDDING = 8
REACH = 2
"""Places of the finest map, of `MatchedDisplacement`."""
FINE = 64
"""Places of a side of the finest map that is matched and decoded: finer ones cost more than the trunk."""
HEAT = 2.0
LEAST_MOTION = 1e-4
"""Squared error of colours from -1 to 1, added to that of copying: of 1.3 grey levels."""
LEAST_ERROR = 1e-6
"""Mean squared error, of a range of 1, that counts 60 dB: a quarter of a grey level."""
STRETCH = 4
"""By how much errors are brightened to be drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameFilling(PretextTask):
    """What was between these two frames? (Long et al. 2016, arXiv 1603.06041, learn to match from the frame between
    two; Liu et al. 2017, arXiv 1702.02463, "Deep voxel flow", warp and blend the two)

    Three frames at equal distances, from a window of the clip that is drawn by how much moves in it, cropped and
    flipped alike: the first and the last are shown, and the head says where each pixel of the one in the middle lies in
    both. A clip counts only where the middle frame can be told from both.

    Copying is a strong answer where little moves. So the answer has the mean of the neighbours beside the middle frame,
    and metrics say what it scores: `copied_psnr` beside `psnr`, and `gain`, in dB. The network begins with that mean.

    Puzzle: uint8 [B, 2, S, S, 3], first and last frame.
    Answer: uint8 [B, S, S, 6], the middle frame, then the mean of its neighbours, rounded.
    Weight: float32 [B], 0 where a clip has fewer than three frames or nothing moves.
    Head: both frames through the trunk, up to the end of each stage whose map has 64 places a side at most. From the
      coarsest to the finest, maps of both are put side by side, narrowed to at most 32 channels and joined with what
      came before. The finest are also matched, by 8 numbers a place: the softmax of similarities over displacements of
      at most 2 places each way and frame (`MatchedDisplacement`). Of both, five numbers a place, resized to the
      picture: a flow into each frame, and how much each counts. The frames, warped and blended: float32 [B, S, S, 3],
      colours from -1 (0) to 1 (255). In 64 px a `resnet`'s places are pixels, and in 224 px they are of 4: motion of
      about a thirtieth of the side in `gap` seconds is matched, more must be known from what things are.
    Loss: squared error, divided by that of the mean of the neighbours, for each picture.

    Settings:
      gap: seconds between neighbours. In twice the default, things of the toy world that hop and sway have turned.
      least_change: mean difference, 0..1, that neighbours must have.
    """

    gap: float = 0.08
    least_change: float = 0.005
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

        shown, _, weight = sequences.sequences(batch, seed, 3, self.gap, 3, arrange)
        neighbours = tf.gather(shown, [0, 2], axis=1)
        return neighbours, tf.concat([shown[:, 1], mean_of(neighbours)], -1), weight

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        height, width = puzzle.shape[2:4]
        maps = [
            keras.ops.reshape(each, (-1, 2, *each.shape[1:]))
            for each in _maps(encoders["image"], keras.ops.reshape(puzzle, (-1, height, width, 3)))
        ]
        maps = [each for each in maps[:-1] if max(each.shape[2:4]) <= FINE] + maps[-1:]
        numbers = keras.layers.Concatenate(dtype="float32", name="frame_filling_seen")(
            [_scaled(_decoded(maps)), _matched(maps[0])]
        )
        # From zero: the network begins with nothing moved, both neighbours alike.
        numbers = keras.layers.Conv2D(5, 1, kernel_initializer="zeros", dtype="float32", name="frame_filling_numbers")(
            numbers
        )
        numbers = ResizedLike(dtype="float32", name="frame_filling_flow")([numbers, puzzle[:, 0]])
        return WarpedBetween(name="frame_filling_picture")([puzzle, numbers])

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
    """Return the mean of two frames: uint8 [B, 2, S, S, 3] -> uint8 [B, S, S, 3], halves rounded up."""
    return tf.cast((tf.reduce_sum(tf.cast(neighbours, tf.int32), 1) + 1) // 2, tf.uint8)


def _error(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return np.clip(STRETCH * np.abs(truth.astype(int) - guess), 0, 255).astype(np.uint8)


def _maps(trunk: Trunk, images: Any) -> list[Any]:
    """Return the maps of all stages of images uint8 [N, H, W, 3], finest first, the end of the trunk for the last."""
    body = trunk.body
    ends = [body.get_layer(stage).output for stage in trunk.stages[:-1]] + [body.outputs[0]]
    stages = keras.Model(body.inputs[0], ends, name="frame_filling_stages")
    return keras.tree.flatten(stages(trunk.pixels(images)))


def _decoded(maps: list[Any]) -> Any:
    """Decode maps of both frames, [B, 2, h, w, C] each, finest first, to one of the finest size, up to 32 channels."""
    x = None
    for level, each in reversed(list(enumerate(maps))):
        channels, name = min(2 * each.shape[-1], CHANNELS), f"frame_filling_{level}"
        both = keras.layers.Concatenate(name=f"{name}_both")([each[:, 0], each[:, 1]])
        both = activated_convolution(both, channels, 1, f"{name}_narrow")
        if x is not None:
            x = ResizedLike(name=f"{name}_grown")([x, both])
            both = keras.layers.Concatenate(name=f"{name}_joined")([both, x])
        x = activated_convolution(both, channels, 3, name)
    return x


def _scaled(features: Any) -> Any:
    """Divide features, as in `regression.numbers`, by the root of their number, for what follows to be stable.

    The loss is relative to that of copying and warped pictures are bounded, so they may be twice as large: at ten times
    the first steps lost 4 dB at half of the default rate, at twice they gain at all of it.
    """
    scale = HEAT / math.sqrt(features.shape[-1])
    return keras.layers.Rescaling(scale, dtype="float32", name="frame_filling_features")(features)


def _matched(maps: Any) -> Any:
    """Match both frames' maps [B, 2, h, w, C] by `MatchedDisplacement`.

    The result is in units of `WarpedBetween`: float32 [B, h, w, 3].
    """
    rows, columns, channels = maps.shape[2:]
    flat = keras.ops.reshape(maps, (-1, rows, columns, channels))
    embedded = normed_convolution(flat, EMBEDDING, 1, "frame_filling_embedding")
    embedded = keras.ops.reshape(embedded, (-1, 2, rows, columns, EMBEDDING))
    matched = MatchedDisplacement(REACH, name="frame_filling_match")([embedded[:, 0], embedded[:, 1]])
    return keras.layers.Rescaling([UNITS / rows, UNITS / columns, 1.0], dtype="float32", name="frame_filling_units")(
        matched
    )


def _colours(levels: tf.Tensor) -> tf.Tensor:
    return tf.cast(levels, tf.float32) / 127.5 - 1.0


def _painted(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the middle frame, and what the head painted, colours from -1 to 1."""
    return _colours(y_true[..., :3]), tf.clip_by_value(tf.cast(y_pred, tf.float32), -1.0, 1.0)


def _copied(y_true: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the middle frame, and the mean of its neighbours, colours from -1 to 1."""
    return _colours(y_true[..., :3]), _colours(y_true[..., 3:])


def _mean_error(truth: tf.Tensor, guess: tf.Tensor, power: int) -> tf.Tensor:
    """Return the mean of |error| to a power: colours from -1 to 1, [B, S, S, 3] -> float32 [B]; their range is 1."""
    return tf.reduce_mean((tf.abs(truth - guess) / 2) ** power, [1, 2, 3])


def psnr(truth: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """Return 10 log10(1 / mean squared error), at most 60 dB: colours from -1 to 1, [B, S, S, 3] -> float32 [B], dB."""
    error = tf.maximum(_mean_error(truth, guess, 2), LEAST_ERROR)
    return -10 * tf.math.log(error) / math.log(10.0)


class FrameError(keras.losses.Loss):
    """Squared error, divided by that of the mean of the neighbours, [B]: 1 for what copies.

    So a picture in which little moves counts as much as another, as it does in the metric `gain`, and the gradient has
    the size of other tasks', where a squared error of all pixels, most of them still, has a hundredth of it.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        middle, mean = _copied(y_true)
        of_mean = tf.reduce_mean(tf.square(mean - middle), [1, 2, 3])
        return tf.reduce_mean(tf.square(tf.cast(y_pred, tf.float32) - middle), [1, 2, 3]) / (of_mean + LEAST_MOTION)


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
