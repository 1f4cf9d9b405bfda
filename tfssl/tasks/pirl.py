"""PIRL: which of these turned or cut up pictures is this one?"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.ops import geometry, tiles
from tfssl.tasks.base import Batch, Encoders, Puzzle, learned_field
from tfssl.tasks.parts.agreement import NTXent, PartnerAccuracy
from tfssl.tasks.parts.memory_bank import MemoryBank, Remembering, with_number
from tfssl.tasks.parts.patches import features_of_tiles, standardise
from tfssl.tasks.parts.two_views import TwoViews, answers, project

if TYPE_CHECKING:
    from tfssl.pipelines.sources.any_source import AnySource

TRANSFORMS = ("rotation", "jigsaw")
TURNS = 4
BANK = 1912
"""Folded into a seed for what is drawn of the bank: views are those of `bank=0`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pirl(TwoViews, Remembering):
    """Which of these turned or cut up pictures is this one? (Misra and van der Maaten 2020, arXiv 1912.01991, "PIRL")

    The bridge from pretext tasks to contrastive ones: where `rotation` and `jigsaw` ask what was done to a picture, so
    that features must tell it, here features must not: a picture and its turned or cut up self must agree, and be told
    from all others. Both are views of their own, as of `contrastive`, before one of them is turned by 0, 90, 180 or 270
    degrees, or cut into tiles, whose order is drawn anew for each picture.

    With `bank=0` others are those of the batch, on all devices together: what was changed is told from pictures, and a
    picture from what was changed of others. With `bank=32000` there is the paper's memory bank: an entry for each
    picture of the source, an average of what the network said of it whenever it came, of which `momentum` stays; both
    rows must agree with the own entry, and are told from as many entries of others, drawn anew for each step. What
    differs from the paper's code there is said at `tfssl.tasks.parts.memory_bank.MemoryBank`. The bank is part of the
    checkpoint, so a run that is resumed has it; encoders, solvers and exports do not, and a run that begins with these
    weights fills its own. It takes 4 * projection bytes a picture, in memory and in each of the two checkpoints
    that are kept: 24 MiB for 50,000 pictures, 626 MiB for ImageNet. A step takes 8 * B * bank * projection operations
    more: with 32,000 entries about a twentieth of one of 64 pictures of 32 px in `resnet10(width=32)`. Pictures are
    numbered as the source lists them, so a source has to have an end, as all sources have here.

    Differs from the paper: tiles lie apart and each is standardised, as in `jigsaw`.

    Puzzle: of rotation uint8 [2B, S, S, 3], a picture and the turned one side by side; of jigsaw {"picture": uint8
      [B, S, S, 3], "tiles": uint8 [B, n, t, t, 3], n = grid * grid, shuffled}.
    Answer, weight, metrics: as of all tasks of two views (`tfssl.tasks.parts.two_views`); with a bank the answer is
      int32 [2B, 4], and has the picture's number and the step's seed beside where the partner stands.
    Head: average of the trunk's map; of pictures `layers` fully connected layers to `projection` numbers, of turned
      ones as many of their own; of each tile one to `projection`, the same for all, these side by side, and `layers` on
      top; float32 [2B, projection]. All but the last have batch norm and ReLU. The paper's heads are linear, layers=1.
    Loss: NT-Xent, cross-entropy of the partner among all of the other side, by cosine over temperature: ln(B) for
      embeddings that are all alike. With a bank the same of the own entry among those drawn, in training: about
      ln(bank) at first. Accuracy is among the other side of the batch with a bank too, and chance 1 / B.

    Settings, beside those of all tasks of two views:
      of: "rotation" or "jigsaw".
      grid: (jigsaw) 2 or 3.
      temperature: what cosines are divided by.
      layers: of the head, 1 to 3.
      bank: how many entries of the memory bank a step compares with; the paper has 32,000. 0 for none. All there are
        where the source has no more pictures.
      momentum: part of an entry that stays when its picture comes again, 0 to below 1.
    """

    of: str = "rotation"
    grid: int = 3
    temperature: float = 0.07
    layers: int = 1
    bank: int = 0
    momentum: float = 0.5
    pictures: tuple[int, ...] = learned_field()
    name: ClassVar[str] = "pirl"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.of not in TRANSFORMS:
            raise UserError(f"pirl: of={self.of!r} is given, expected one of {', '.join(TRANSFORMS)}")
        if self.grid not in (2, 3):
            raise UserError(f"pirl: grid={self.grid} is given, expected 2 or 3")
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"pirl: temperature={self.temperature} is given, expected more than 0")
        if not 1 <= self.layers <= 3:
            raise UserError(f"pirl: layers={self.layers} is given, expected 1 to 3")
        if self.bank < 0:
            raise UserError(f"pirl: bank={self.bank} is given, expected a count of entries, or 0 for none")
        if not 0 <= self.momentum < 1:
            raise UserError(f"pirl: momentum={self.momentum} is given, expected 0 to below 1")

    def prepared(self, source: "AnySource") -> Self:
        return dataclasses.replace(self, pictures=(source.count,)) if self.bank else self

    def make_bank(self) -> MemoryBank | None:
        if not self.bank:
            return None
        if not self.pictures:
            raise UserError(f"{self} does not know of how many pictures its bank is; give prepared(source) of it")
        (pictures,) = self.pictures
        return MemoryBank(pictures, self.projection, self.bank, self.temperature, self.momentum, name="pirl_bank")

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        said = tiles.degenerate(self.name, size, self.grid) if self.of == "jigsaw" else []
        if self.bank and source is not None:
            mebibytes = 4 * source.count * self.projection / 2**20
            compared = f"{self.bank:,} of them, drawn anew" if self.bank < source.count else "all of them"
            said.append(
                f"the memory bank holds {self.projection} numbers of each of {source.count:,} {source.items},"
                f" {mebibytes:,.1f} MiB in memory and in each checkpoint; a step compares with {compared}"
            )
        return said

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        puzzle, answer, weight = self._without_number(batch, seed)
        if self.bank:
            answer = with_number(answer, batch, tf.random.fold_in(seed, BANK))
        return puzzle, answer, weight

    def _without_number(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        view_seed, cut_seed, order_seed = tf.unstack(tf.random.split(seed, 3))
        size = batch["image"].shape[1]
        pairs = tf.reshape(self.views(batch["image"], view_seed), [-1, 2, size, size, 3])
        plain, other = pairs[:, 0], pairs[:, 1]
        if self.of == "jigsaw":
            return {"picture": plain, "tiles": self._cut(other, cut_seed, order_seed)}, *answers(batch)
        both = tf.stack([plain, _turned(other, order_seed)], 1)
        return tf.reshape(both, [-1, size, size, 3]), *answers(batch)

    def _cut(self, images: tf.Tensor, cut_seed: tf.Tensor, order_seed: tf.Tensor) -> tf.Tensor:
        """Cut uint8 [B, S, S, 3] into tiles and shuffle each picture's: uint8 [B, n, t, t, 3]."""
        cut = tiles.cut(images, self.grid, cut_seed)
        count, number = cut.shape[:2]
        order = tf.argsort(tf.random.stateless_uniform([count, number], order_seed))
        places = tf.range(count)[:, None] * number + order
        return tf.reshape(tf.gather(tf.reshape(cut, [count * number, -1]), places), cut.shape)

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        trunk = encoders["image"]
        pool = keras.layers.GlobalAveragePooling2D(name="pirl_pool")
        if self.of == "rotation":
            features = pool(trunk(puzzle))
            features = keras.ops.reshape(features, (-1, 2, features.shape[-1]))
            plain, changed = features[:, 0], features[:, 1]
        else:
            plain = pool(trunk(puzzle["picture"]))
            seen = StandardisedTiles(name="pirl_tiles_seen")(puzzle["tiles"])
            changed = features_of_tiles(trunk, seen, "pirl_tiles")
            changed = keras.layers.Dense(self.projection, use_bias=False, name="pirl_each")(changed)
            changed = keras.layers.Flatten(name="pirl_side_by_side")(changed)
        both = [self.projected(plain), self._project(changed, "changed")]
        return keras.ops.reshape(keras.ops.stack(both, 1), (-1, self.projection))

    def projected(self, features: Any) -> Any:
        return self._project(features, "plain")

    def _project(self, features: Any, side: str) -> Any:
        return project(features, self.layers, self.hidden, self.projection, f"pirl_{side}")

    def make_loss(self) -> keras.losses.Loss:
        return NTXent(self.temperature, across=True)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [PartnerAccuracy(across=True, name="accuracy")]

    def chance_accuracy(self, batch_size: int) -> float | None:
        return 1 / (self.batch or batch_size)

    def sides(self, puzzle: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.of == "rotation":
            return super().sides(puzzle)
        plain, cut = np.asarray(puzzle["picture"]), np.asarray(puzzle["tiles"])
        count, _, tile = cut.shape[:3]
        grid = cut.reshape(count, self.grid, self.grid, tile, tile, 3).transpose(0, 1, 3, 2, 4, 5)
        whole = grid.reshape(count, self.grid * tile, self.grid * tile, 3)
        place = np.arange(plain.shape[1]) * whole.shape[1] // plain.shape[1]
        return plain, whole[:, place][:, :, place]


class StandardisedTiles(keras.layers.Layer):
    """Tiles uint8 [B, n, t, t, 3], each standardised on its own: float32 of the same shape."""

    def __init__(self, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)

    def call(self, given: Any) -> Any:
        """Apply `standardise`."""
        return standardise(given)


def _turned(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turn each picture, uint8 [B, S, S, 3], by 0, 90, 180 or 270 degrees, all alike probable."""
    count, size = images.shape[:2]
    turns = tf.random.stateless_uniform([count], seed, 0, TURNS, tf.int32)
    every = geometry.quarter_turns(images, tuple(range(TURNS)))
    rows = tf.reshape(every, [count * TURNS, size * size * 3])  # whole pictures are copied
    return tf.reshape(tf.gather(rows, tf.range(count) * TURNS + turns), [count, size, size, 3])
