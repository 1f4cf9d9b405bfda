"""Colorization: what colours has this grey picture?"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.pipelines import batches, colour, geometry
from tfssl.task import Batch, Encoders, Pieces, PretextTask, Puzzle, learned_field
from tfssl.tasks import colour_bins, colour_head, colour_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources import Source

GRID = 10
LOSSES = ("classification", "regression")
STATISTICS = 256
STATISTICS_SIZE = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colorization(PretextTask):
    """What colours has this grey picture? (Zhang et al. 2016, arXiv 1603.08511; code richzhang/colorization)

    Every picture is mirrored or not, then the trunk sees its lightness L and the head tells a and b (CIE Lab, see
    `tfssl.pipelines.colour`) at a quarter of the size.

    With loss="classification" the head gives a distribution over bins of colours. What is right is a Gaussian over the
    nearest bins (10 as in the code; 5 in the paper). Pixels of rare colours count more, by how common colours are in
    pictures of the source, which `prepared` counts; a task that is not prepared lets all count alike. As a picture the
    distribution is its mean at a temperature of 0.38.

    With loss="regression" it gives a and b, by their squared error: the mean of all answers, which is greyish.

    Pictures in which no a or b is beyond `grey` have nothing to tell and get weight 0.

    Puzzle: uint8 [B, S, S, 1], L * 255 / 100.
    Answer: int8 [B, S / 4, S / 4, 2], a and b of the mean of 4 x 4 pixels, rounded. S / 4 is rounded up.
    Weight: float32 [B, 1, 1], 0 for grey pictures.
    Head: L, standardised and three times side by side, through the body of the trunk; a decoder of at most 128 channels
      that doubles the map until it has a quarter of the size; a 1 x 1 convolution. float32 [B, S / 4, S / 4, Q], Q =
      261 with a grid of 10, or [B, S / 4, S / 4, 2] in units of 110.

    Attributes:
      loss: "classification" or "regression". Called, it gives the loss of the contract, which has this name too.
      neighbours, sigma: how many bins a colour is divided among, and the deviation of that Gaussian in units of ab.
      rebalance: part of the uniform distribution in the statistics that weights come from; 1 counts all colours alike.
      temperature: of the annealed mean.
      grey: in units of ab.
      shares: how common each bin is, as `prepared` found it.
    """

    loss: str = "classification"  # type: ignore[assignment]
    neighbours: int = 10
    sigma: float = 5.0
    rebalance: float = 0.5
    temperature: float = 0.38
    grey: float = 5.0
    shares: tuple[float, ...] = learned_field()
    name: ClassVar[str] = "colorization"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in LOSSES:
            raise UserError(f"colorization: loss={self.loss!r} is given, expected one of {', '.join(LOSSES)}")
        if self.neighbours < 1:
            raise UserError(f"colorization: neighbours={self.neighbours} is given, expected 1 or more")
        for setting in ("sigma", "temperature"):
            if not 0 < getattr(self, setting) < float("inf"):
                raise UserError(f"colorization: {setting}={getattr(self, setting)} is given, expected more than 0")
        if not 0 < self.rebalance <= 1:
            raise UserError(f"colorization: rebalance={self.rebalance} is given, expected above 0, at most 1")
        if not 0 <= self.grey < 100:
            raise UserError(f"colorization: grey={self.grey} is given, expected 0 to below 100, in units of ab")
        object.__setattr__(self, "loss", LossName(self.loss, self._loss))

    @property
    def grid(self) -> int:
        """Distance of the bins that the head tells apart, in units of ab; 0 where it gives a and b themselves."""
        return GRID if self.loss == "classification" else 0

    def prepared(self, source: "Source") -> Self:
        if self.shares or not self.grid:
            return self
        sample = batches.sample(source, STATISTICS, 0)
        counts = np.zeros(len(colour.gamut_bins(self.grid)))
        for batch in batches.plain(sample, STATISTICS_SIZE, min(STATISTICS, 64)):
            ab = colour.quarter_ab(batch["image"])
            coloured = batch["valid"] & (self._weights(ab)[:, 0, 0] > 0)
            found = colour_bins.nearest_bin(tf.boolean_mask(ab, coloured), self.grid)
            counts += np.bincount(found.numpy().reshape(-1), minlength=len(counts))
        if not counts.any():
            raise UserError(f"{source.name} has grey pictures only: colorization has nothing to learn from")
        shares = colour_bins.shares_of_bins(counts, self.grid)
        return dataclasses.replace(self, shares=tuple(float(f"{share:.6g}") for share in shares))

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        images = geometry.flip_some(batch["image"], seed)
        ab = colour.quarter_ab(images)
        return colour.lightness(images), ab, self._weights(ab)

    def _weights(self, ab: tf.Tensor) -> tf.Tensor:
        """float32 [B, 1, 1]: 0 for grey pictures."""
        strongest = tf.reduce_max(tf.abs(tf.cast(ab, tf.int32)), [1, 2, 3])
        return tf.cast(tf.cast(strongest, tf.float32) > self.grey, tf.float32)[:, None, None]

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        trunk = encoders["image"]
        x = colour_head.upsampled(trunk.body(colour_head.seen(puzzle)), puzzle, trunk)
        outputs = len(colour.gamut_bins(self.grid)) if self.grid else 2
        return keras.layers.Conv2D(outputs, 1, dtype="float32", name="colorization_colours")(x)

    def _loss(self) -> keras.losses.Loss:
        if not self.grid:
            return colour_scores.SquaredColour()
        shares = np.asarray(self.shares)
        weights = colour_bins.rebalancing(shares, self.rebalance) if self.shares else None
        return colour_scores.SoftBins(self.grid, self.neighbours, self.sigma, weights)

    def metrics(self) -> list[keras.metrics.Metric]:
        error = colour_scores.ColourError(self.grid, self.temperature, name="ab_rmse")
        return [colour_scores.BinAccuracy(self.grid, name="accuracy"), error] if self.grid else [error]

    def ab(self, prediction: Any) -> np.ndarray:
        """What the head gives [..., h, w, c] -> a and b as a picture shows them, float32 [..., h, w, 2]."""
        return colour_scores.predicted_ab(tf.convert_to_tensor(prediction), self.grid, self.temperature).numpy()

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        size = puzzle.shape[1]
        return Pieces(coloured(puzzle, answer)[:, None], np.array([[0, 0, size, size]]))

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        rows = min(count, len(puzzle))
        puzzle, answer = np.asarray(puzzle)[:rows], np.asarray(answer)[:rows]
        columns = {"grey": coloured(puzzle, np.zeros_like(answer)), "picture": coloured(puzzle, answer)}
        if prediction is not None:
            guess = self.ab(np.asarray(prediction)[:rows])
            columns["coloured"] = coloured(puzzle, guess)
        figure = Figure(figsize=(1.6 * len(columns), 1.65 * rows), layout="constrained")
        for row, line in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
            for axes, (title, images) in zip(line, columns.items(), strict=True):
                axes.imshow(images[row])
                axes.set_axis_off()
                axes.set_title("" if row else title, fontsize=9)
            if prediction is not None:
                error = np.sqrt(np.mean((guess[row] - answer[row].astype(np.float32)) ** 2))
                line[-1].set_title(f"coloured, off by {error:.0f}", fontsize=9)
        return figure


class LossName(str):
    """The name of a loss, which gives the loss where it is called: a setting and a method of a task share a name."""

    def __new__(cls, name: str, make: Callable[[], keras.losses.Loss]) -> "LossName":
        made = super().__new__(cls, name)
        made.make = make
        return made

    def __call__(self) -> keras.losses.Loss:
        return self.make()


def coloured(lightness: Any, ab: Any) -> np.ndarray:
    """L as in a puzzle, uint8 [B, S, S, 1], with a and b at a quarter of the size -> sRGB, uint8 [B, S, S, 3].

    a and b are made larger bilinearly.
    """
    height, width = lightness.shape[1:3]
    ab = tf.convert_to_tensor(ab)
    large = tf.image.resize(ab, [colour.SHRINK * side for side in ab.shape[1:3]])[:, :height, :width]
    return colour.lab_to_rgb(tf.concat([tf.cast(lightness, tf.float32) / 2.55, large], -1)).numpy()
