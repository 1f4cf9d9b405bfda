"""Tracking: where did each place get its colour from?"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import Trunk
from tfssl.pipelines import batches
from tfssl.pipelines.clips.motion import Window, difference
from tfssl.pipelines.ops import lab
from tfssl.tasks.base import Batch, Encoders, PretextTask, Puzzle, learned_field
from tfssl.tasks.parts import copying, sequences
from tfssl.tasks.parts.decoder import STRIDE_SIZE, ResizedLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

EMBEDDINGS = "tracking_embeddings"
"""Layer of the head: lightness uint8 [N, H, W, 1] -> embeddings float32 [N, H / cell, W / cell, width]."""

FINE = 64  # pixels of a side, up to which cells are of 4 pixels
STATISTICS = 512
STATISTICS_SIZE = 64
POINTS = 50_000
"""Colours that are clustered, as many as the paper took pictures for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracking(PretextTask):
    """Where did each place get its colour from? (Vondrick et al. 2018, arXiv 1806.09594, "Tracking emerges by
    colorizing videos")

    Frames of a clip at equal distances, from a window that is drawn by how much moves in it, cropped and flipped alike,
    are made grey. All but the last show their colours too, as references. Each place of the last one takes its colour
    from the places of the references, by how similar the embeddings are: it can only be right by finding where it was.

    Colours are a and b of CIE Lab, the mean of a cell of `cell` pixels, by the nearest of 16 centres that k-means finds
    in the source, once (`prepared`). Differs from the paper: the trunk is that of all tasks, of pictures, and not a 3-D
    network over the frames; similarities are divided by the root of the embeddings' length; cells are finer in small
    pictures.

    Only the trunk up to `stage` is trained.

    Puzzle: a dict: "lightness" uint8 [B, R + 1, S, S, 1], L * 255 / 100, in the order of time; "colours" int32
      [B, R, h, w], centres of the references' cells, h = w = S / cell, rounded up.
    Answer: int32 [B, h, w, 2], centres of the last frame's cells, and of the same cells of the newest reference.
    Weight: float32 [B, 1, 1], 0 where a clip has too few frames, nothing moves, or all is grey.
    Head: lightness, standardised and three times side by side, through the trunk up to a stage; 1 x 1 to `width`
      numbers, bilinear to the grid of cells; softmax over all places of all references; logarithms of the
      probabilities of centres, [B, h, w, K].
    Metrics: `accuracy`; `stays`, that of taking the colour of the same place in the newest reference; `moved`, the
      accuracy where that is wrong.

    Settings:
      references: R, frames that show their colours.
      gap: seconds between frames.
      colours: how many centres.
      cell: pixels, a multiple of 4; 4 up to crops of 64 pixels and 8 above (as in the paper) where 0.
      stage: the stage of the trunk; the last one that is as fine as the cells where "".
      width: the width of the embeddings.
      least_change: mean difference, 0..1, that neighbours must have.
      grey: in units of ab: a target in which no cell is further from grey has nothing to tell.
      centres: the centres of clusters, as `prepared` computes them.
    """

    references: int = 3
    gap: float = 0.16
    colours: int = 16
    cell: int = 0
    stage: str = ""
    width: int = 64
    least_change: float = 0.005
    grey: float = 5.0
    centres: tuple[tuple[float, float], ...] = learned_field()
    name: ClassVar[str] = "tracking"
    reads: ClassVar[tuple[str, ...]] = ("clip",)

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting, least in {"references": 1, "colours": 2, "width": 1}.items():
            if getattr(self, setting) < least:
                raise UserError(f"tracking: {setting}={getattr(self, setting)} is given, expected {least} or more")
        if not 0 < self.gap < math.inf:
            raise UserError(f"tracking: gap={self.gap} is given, expected seconds, more than 0")
        if self.cell < 0 or self.cell % lab.SHRINK:
            raise UserError(f"tracking: cell={self.cell} is given, expected a multiple of 4 pixels, or 0")
        if not 0 <= self.least_change < 1:
            raise UserError(f"tracking: least_change={self.least_change} is given, expected 0 to below 1")
        if not 0 <= self.grey < 100:
            raise UserError(f"tracking: grey={self.grey} is given, expected 0 to below 100, in units of ab")

    def cell_at(self, size: int) -> int:
        """Return the pixels of a side of a cell, in crops of `size` pixels."""
        return self.cell or (lab.SHRINK if size <= FINE else 2 * lab.SHRINK)

    def prepared(self, source: "AnySource") -> Self:
        """Raise UserError where all is grey; else return the task with its centres filled in."""
        if self.centres:
            return self
        sample = batches.sample(source, STATISTICS, 0)
        colours = []
        for batch in batches.plain(sample, STATISTICS_SIZE, min(STATISTICS, 64)):
            colours.append(tf.boolean_mask(lab.quarter_ab(batch["image"]), batch["valid"]).numpy().reshape(-1, 2))
        points = np.concatenate(colours)
        if np.abs(points.astype(int)).max(initial=0) <= self.grey:
            raise UserError(f"{source.name} is grey only: tracking has no colours to follow")
        return dataclasses.replace(self, centres=_centres(points, self.colours))

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        count = self.references + 1

        def arrange(window: Window, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            del seed
            change = tf.reduce_min(difference(window.pictures[1:], window.pictures[:-1]))
            return tf.range(count), tf.constant(0), change > self.least_change

        shown, _, weight = sequences.sequences(batch, seed, count, self.gap, count, arrange)
        rows, size = shown.shape[0], shown.shape[2]
        images = tf.reshape(shown, [rows * count, size, size, 3])
        ab = self.cells(images)
        side = ab.shape[1]
        strongest = tf.reduce_max(tf.abs(tf.reshape(ab, [rows, count, side * side, 2])[:, -1]), [1, 2])
        weight *= tf.cast(strongest > self.grey, tf.float32)
        nearest = tf.reshape(self.nearest(ab), [rows, count, side, side])
        lightness = tf.reshape(lab.lightness(images), [rows, count, size, size, 1])
        answer = tf.stack([nearest[:, -1], nearest[:, -2]], -1)
        return {"lightness": lightness, "colours": nearest[:, :-1]}, answer, weight[:, None, None]

    def cells(self, images: tf.Tensor) -> tf.Tensor:
        """Return a and b of cells, float32 [N, h, h, 2], of pictures uint8 [N, S, S, 3]."""
        ab = tf.cast(lab.quarter_ab(images), tf.float32)
        more = self.cell_at(images.shape[1]) // lab.SHRINK
        return tf.nn.avg_pool2d(ab, more, more, "SAME") if more > 1 else ab

    def nearest(self, ab: tf.Tensor) -> tf.Tensor:
        """Return the nearest centre, int32 [...], of float32 [..., 2]."""
        centres = tf.constant(self.centres)
        return tf.argmin(tf.reduce_sum((ab[..., None, :] - centres) ** 2, -1), -1, tf.int32)

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        lightness = puzzle["lightness"]
        count, height, width = lightness.shape[1:4]
        embeddings = self._embeddings(encoders["image"], height)
        embedded = embeddings(keras.ops.reshape(lightness, (-1, height, width, 1)))
        embedded = keras.ops.reshape(embedded, (-1, count, *embedded.shape[1:]))
        return copying.CopiedColours(len(self.centres), dtype="float32", name="tracking_copied")(
            [embedded, puzzle["colours"]]
        )

    def _embeddings(self, trunk: Trunk, size: int) -> keras.Model:
        """Compute `EMBEDDINGS`; for pictures of any sides, unless the trunk knows only one."""
        sides = trunk.body.inputs[0].shape[1:3]
        lightness = keras.Input((*sides, 1), dtype="uint8", name="tracking_frames")
        # Lightness of photos has a mean of about 50 and a deviation of 25, of 100.
        x = keras.layers.Rescaling(4 / 255, -2.0, dtype="float32", name="tracking_standardised")(lightness)
        x = keras.layers.Concatenate(dtype="float32", name="tracking_channels")([x] * 3)
        x = stage_of(trunk, self.stage, self.cell_at(size))(x)
        x = keras.layers.Conv2D(self.width, 1, dtype="float32", name="tracking_projection")(x)
        x = ResizedLike(shrink=self.cell_at(size), dtype="float32", name="tracking_cells")([x, lightness])
        return keras.Model(lightness, x, name=EMBEDDINGS)

    def make_loss(self) -> keras.losses.Loss:
        return copying.CopyError()

    def metrics(self) -> list[keras.metrics.Metric]:
        return [
            copying.PlaceAccuracy(name="accuracy"),
            copying.PlaceAccuracy(stays=True, name="stays"),
            copying.PlaceAccuracy(moved=True, name="moved"),
        ]

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        lightness, colours = np.asarray(puzzle["lightness"]), np.asarray(puzzle["colours"])
        answer = np.asarray(answer)
        columns = {
            f"reference {number + 1}": self._colour(lightness[:, number], colours[:, number])
            for number in range(colours.shape[1])
        }
        columns["asked"] = np.repeat(lightness[:, -1], 3, -1)
        columns["its colours"] = self._colour(lightness[:, -1], answer[..., 0])
        if prediction is not None:
            guess = np.asarray(prediction).argmax(-1)
            columns["copied"] = self._colour(lightness[:, -1], guess)
        rows = min(count, len(answer))
        figure = Figure(figsize=(1.6 * len(columns), 1.75 * rows), layout="constrained")
        for row, line in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
            for axes, (title, images) in zip(line, columns.items(), strict=True):
                axes.imshow(images[row])
                axes.set_axis_off()
                axes.set_title("" if row else title, fontsize=9)
            if prediction is not None:
                right = 100 * np.mean(guess[row] == answer[row, ..., 0])
                line[-1].set_title(f"copied, {right:.0f} % right", fontsize=9)
        return figure

    def _colour(self, lightness: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Colour lightness uint8 [N, S, S, 1] with the centres of its cells, int [N, h, w].

        Return sRGB, uint8 [N, S, S, 3].
        """
        size = lightness.shape[1]
        cell = self.cell_at(size)
        ab = np.asarray(self.centres, np.float32)[chosen].repeat(cell, 1).repeat(cell, 2)[:, :size, :size]
        return lab.lab_to_rgb(tf.concat([tf.cast(lightness, tf.float32) / 2.55, ab], -1)).numpy()


def stage_of(trunk: Trunk, stage: str, stride: int) -> keras.Model:
    """Return the body up to a stage, weights shared; up to the last one of at most that stride, in pixels, where "".

    Raises:
      UserError: an unknown stage.
    """
    if stage and stage not in trunk.stages:
        raise UserError(f"tracking: stage={stage!r} is given, the trunk has: {', '.join(trunk.stages)}")
    parts = [
        keras.Model(trunk.body.inputs[0], trunk.body.get_layer(each).output, name="tracking_stage")
        for each in ([stage] if stage else trunk.stages)
    ]
    size = trunk.body.inputs[0].shape[1] or STRIDE_SIZE
    fine = [part for part in parts if part.compute_output_shape((1, size, size, 3))[1] * stride >= size]
    return fine[-1] if fine else parts[0]


def _centres(points: np.ndarray, count: int) -> tuple[tuple[float, float], ...]:
    """Return the centres of clusters of colours, int [N, 2]; fewer where there are fewer colours."""
    from sklearn.cluster import KMeans

    chosen = np.random.default_rng(0).choice(points, min(len(points), POINTS), replace=False).astype(np.float64)
    count = min(count, len(np.unique(chosen, axis=0)))
    centres = KMeans(count, n_init=1, random_state=0).fit(chosen).cluster_centers_
    return tuple(sorted((round(float(a), 3), round(float(b), 3)) for a, b in centres))
