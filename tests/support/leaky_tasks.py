"""Tasks that leak their answers, each in a way that was paid for somewhere in this field; and a lens that leaks."""

import dataclasses
import itertools
import random
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.explicit import explicit
from tfssl.pipelines.ops import geometry, holes, tiles
from tfssl.tasks.audio_visual import AudioVisual
from tfssl.tasks.frame_filling import FrameFilling
from tfssl.tasks.frame_order import FrameOrder
from tfssl.tasks.inpainting import Inpainting
from tfssl.tasks.parts.patches import features_of_tiles, standardise
from tfssl.tasks.parts.undoing import Pieces
from tfssl.tasks.relative_position import RelativePosition
from tfssl.tasks.rotation import Rotation
from tfssl.tasks.shuffle_and_learn import ShuffleAndLearn
from tfssl.tasks.tracking import Tracking


def leak(task):
    """Give a task that leaks a name of its own, so that one audit takes several; its puzzles need no rewriting."""
    task.name = task.__name__
    task.puzzles = explicit(task.puzzles)
    return task


def _turned(images, seed, turns=(0, 1, 2, 3)):
    return tf.reshape(geometry.quarter_turns(geometry.flip_some(images, seed), turns), [-1, *images.shape[1:]])


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class SquashedAfterTurning(Rotation):
    """The picture is no square when it is turned, and is resized to one afterwards: its short side is blurred."""

    def puzzles(self, batch, seed):
        size = batch["image"].shape[1]
        wide = geometry.flip_some(batch["image"], seed)[:, size // 8 : size - size // 8]
        turned = [tf.cast(tf.image.rot90(wide, turn), tf.float32) for turn in range(4)]
        puzzle = tf.stack([tf.image.resize(each, (size, size)) for each in turned], 1)
        _, answer, weight = super().puzzles(batch, seed)
        return tf.cast(tf.round(tf.reshape(puzzle, [-1, size, size, 3])), tf.uint8), answer, weight

    def undone(self, puzzle, answer):
        return None


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class OldKernel(Rotation):
    """Resized by the old kernel without half-pixel centres, whose blur begins in the top left corner, then turned."""

    def puzzles(self, batch, seed):
        side = batch["image"].shape[1] * 4 // 5
        values = tf.cast(batch["image"], tf.float32)
        small = tf.raw_ops.ResizeBilinear(images=values, size=(side, side), half_pixel_centers=False)
        return super().puzzles({"image": tf.cast(tf.round(small), tf.uint8)}, seed)

    def undone(self, puzzle, answer):
        return None


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class OneTurnInterpolates(Rotation):
    """Half a turn is made by an affine map, about half a pixel beside the middle: that class is smoother."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        values = tf.cast(puzzle, tf.float32)
        between = (values + tf.roll(values, 1, 1) + tf.roll(values, 1, 2) + tf.roll(values, [1, 1], [1, 2])) / 4
        chosen = (answer == 2)[:, None, None, None]
        return tf.cast(tf.round(tf.where(chosen, between, values)), tf.uint8), answer, weight


class OneTurnEach(Rotation):
    """Each picture stands in the batch once, turned by its answer, which subclasses draw."""

    def draw(self, count, seed):
        return tf.random.stateless_uniform([count], seed, 0, 4, tf.int32)

    def puzzles(self, batch, seed):
        images = batch["image"]
        count = images.shape[0]
        flip_seed, answer_seed = tf.unstack(tf.random.split(seed, 2))
        answer = self.draw(count, answer_seed)
        turned = _turned(images, flip_seed)
        return tf.gather(turned, tf.range(count) * 4 + answer), answer, tf.ones([count])

    def undone(self, puzzle, answer):
        return None


@leak
class OneSeedForTwo(OneTurnEach):
    """Brightness is drawn with the seed of the answer."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        jitter = tf.random.stateless_uniform(answer.shape, tf.unstack(tf.random.split(seed, 2))[1], 0, 4, tf.int32)
        values = tf.cast(puzzle, tf.float32) * (0.85 + 0.1 * tf.cast(jitter, tf.float32))[:, None, None, None]
        return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8), answer, weight


class MoreUpright(OneTurnEach):
    """Four in ten pictures stand upright, two in ten each other way. Its puzzles are drawn by the seed of rotation."""

    def draw(self, count, seed):
        number = tf.random.stateless_uniform([count], seed, 0, 5, tf.int32)
        return number % 4


@leak
class SameInEachEpoch(OneTurnEach):
    """A seed that was written down: every epoch shows the same puzzles."""

    def puzzles(self, batch, seed):
        return super().puzzles(batch, tf.constant([1, 2]) + 0 * seed)


@leak
class FrozenAtTracing(OneTurnEach):
    """Python's random numbers: drawn once, when the function is traced."""

    def draw(self, count, seed):
        return tf.constant([random.randrange(4) for _ in range(count)])


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class WrongLabels(Rotation):
    """Turned clockwise, labelled counter-clockwise."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        return puzzle, -answer % 4, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class NoGap(RelativePosition):
    """Patches that touch: cells are as large as the tiles, and the picture goes on from one to the next."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        tile = puzzle["tiles"].shape[2]
        side = self.grid * tile
        images = batch["image"][:, :side, :side]
        cells = tf.reshape(images, [-1, self.grid, tile, self.grid, tile, 3])
        touching = tf.reshape(tf.transpose(cells, [0, 1, 3, 2, 4, 5]), [-1, self.grid**2, tile, tile, 3])
        return puzzle | {"tiles": touching}, answer, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffled(Rotation):
    """A jigsaw of 2 x 2 tiles in all 24 orders, which leaks nothing: the answer is the order's number."""

    orders: ClassVar[np.ndarray] = np.array(list(itertools.permutations(range(4))))

    def cut(self, images, seed):
        return tiles.cut(images, 2, seed)

    def puzzles(self, batch, seed):
        cut_seed, order_seed = tf.unstack(tf.random.split(seed, 2))
        cut = self.cut(batch["image"], cut_seed)
        answer = tf.random.stateless_uniform([cut.shape[0]], order_seed, 0, len(self.orders), tf.int32)
        shown = tf.gather(cut, tf.gather(tf.constant(self.orders), answer), batch_dims=1)
        return shown, answer, tf.ones([cut.shape[0]])

    def head(self, encoders, puzzle):
        return features_of_tiles(encoders["image"], standardise(puzzle), self.name)

    @property
    def choices(self):
        return len(self.orders)

    def undone(self, puzzle, answer):
        back = np.argsort(self.orders[answer], 1)
        return Pieces(np.take_along_axis(puzzle, back[:, :, None, None, None], 1), tiles.boxes(puzzle.shape[2], 2))


@leak
class ShuffledNoGap(Shuffled):
    """Tiles that touch."""

    def cut(self, images, seed):
        tile = tiles.tile_size(images.shape[1], 2)
        rows = [images[:, y : y + tile, x : x + tile] for y in (0, tile) for x in (0, tile)]
        return tf.stack(rows, 1)


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class SharperFirst(RelativePosition):
    """Tiles are sharpened by their row in the grid, as if one row came from another decoder."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        sharp = tf.cast(puzzle["tiles"], tf.float32)
        smooth = (sharp + tf.roll(sharp, 1, 2) + tf.roll(sharp, 1, 3)) / 3
        first = (tf.range(sharp.shape[1]) < self.grid)[None, :, None, None, None]
        return puzzle | {"tiles": tf.cast(tf.where(first, sharp, smooth), tf.uint8)}, answer, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class NotStandardised(RelativePosition):
    """The head sees the tiles' own brightness and contrast."""

    def head(self, encoders, puzzle):
        seen = keras.ops.cast(puzzle["tiles"], "float32") / 127.5 - 1
        features = encoders["image"].body(keras.ops.reshape(seen, (-1, *seen.shape[2:])))
        pooled = keras.ops.reshape(keras.ops.mean(features, (1, 2)), (-1, seen.shape[1] * features.shape[-1]))
        return keras.layers.Dense(128, name="relative_position_logits")(pooled)


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class HoleShinesThrough(Inpainting):
    """The hole is filled with the picture's own mean, hidden pixels included."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        _, hole_seed = tf.unstack(tf.random.split(seed, 2))
        images = batch["image"]
        rows, columns = holes.random_blocks(images.shape[0], images.shape[1], hole_seed)
        hidden = holes.mask(rows, holes.channel_wise(columns))
        hidden = tf.reshape(hidden, images.shape) > 0
        mean = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2], keepdims=True)
        return tf.where(hidden, tf.cast(mean, tf.uint8), puzzle), answer, weight


def through_a_lens(images, strength=0.03):
    """Pictures uint8 [N, S, S, 3] as a lens makes them: red is larger and blue smaller, about the middle."""
    size = images.shape[1]
    made = np.array(images)
    middle = (size - 1) / 2
    for channel, factor in ((0, 1 - strength), (2, 1 + strength)):
        place = np.clip((np.arange(size) - middle) * factor + middle, 0, size - 1)
        low = np.minimum(place.astype(int), size - 2)
        part = place - low
        plane = images[..., channel].astype(np.float64)
        plane = plane[:, low] * (1 - part)[:, None] + plane[:, low + 1] * part[:, None]
        plane = plane[:, :, low] * (1 - part) + plane[:, :, low + 1] * part
        made[..., channel] = np.round(plane)
    return made


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundFromAnywhere(AudioVisual):
    """Sound that fits lies around times of frames, sound that does not begins at any sample: two grids."""

    def time_of_other(self, clip, place, seed):
        apart = (clip.times[-1] - clip.times[0]) / tf.cast(clip.count - 1, tf.float32)
        return clip.times[place] + apart * tf.random.stateless_uniform([], seed, -0.5, 0.5)


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherSoundFromTheBeginning(AudioVisual):
    """On the grid of frames, but sound that does not fit is always the first of its clip."""

    def time_of_other(self, clip, place, seed):
        return clip.times[0] + self.seconds / 2


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class LouderWhereItFits(AudioVisual):
    """Sound that fits is played 3 dB louder."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        gain = tf.where(answer == 1, 1.4, 1.0)[:, None]
        return puzzle | {"sound": tf.clip_by_value(puzzle["sound"] * gain, -1, 1)}, answer, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class MiddleEncodedTwice(ShuffleAndLearn):
    """The middle frame of those out of order was written to JPEG once more."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)

        def again(picture):
            return tf.io.decode_jpeg(tf.io.encode_jpeg(picture, quality=50), channels=3)

        middle = tf.map_fn(again, puzzle[:, 1])
        middle = tf.where((answer == 1)[:, None, None, None], puzzle[:, 1], tf.reshape(middle, puzzle[:, 1].shape))
        return tf.stack([puzzle[:, 0], middle, puzzle[:, 2]], 1), answer, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class OrdersLost(FrameOrder):
    """Frames are shuffled once more, after the answer was written down."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        return tf.where(seed[0] % 2 == 0, puzzle, tf.gather(puzzle, [1, 0, 2], axis=1)), answer, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class MiddleShinesThrough(FrameFilling):
    """The frame that is asked for is blended into its neighbours, as slow shutters do."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        middle = tf.cast(answer[:, None, ..., :3], tf.float32)
        blended = tf.cast(tf.round(0.8 * tf.cast(puzzle, tf.float32) + 0.2 * middle), tf.uint8)
        return blended, answer, weight


@leak
@dataclasses.dataclass(frozen=True, kw_only=True)
class ColoursToldToo(Tracking):
    """In place of its lightness, the frame that is asked for shows the numbers of its colours as greys."""

    def puzzles(self, batch, seed):
        puzzle, answer, weight = super().puzzles(batch, seed)
        hint = tf.image.resize(tf.cast(answer[..., :1] * 16, tf.uint8), puzzle["lightness"].shape[2:4], "nearest")
        lightness = tf.concat([puzzle["lightness"][:, :-1], hint[:, None]], 1)
        return puzzle | {"lightness": lightness}, answer, weight
