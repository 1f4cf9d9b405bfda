"""Colorization: what colours has this grey picture?"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.ops import geometry, lab
from tfssl.tasks.base import Batch, Encoders, PretextTask, Puzzle, learned_field
from tfssl.tasks.parts import colour_bins, colour_head, colour_losses, regression
from tfssl.tasks.parts.colourer import Colourer
from tfssl.tasks.parts.served import Served, ServedNetwork, Trained
from tfssl.tasks.parts.undoing import Pieces, Undoable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

LOSSES = ("classification", "regression")
STATISTICS = 256
STATISTICS_SIZE = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colorization(PretextTask, Undoable, Served):
    """What colours has this grey picture? (Zhang et al. 2016, arXiv 1603.08511; code richzhang/colorization)

    Every picture is mirrored or not, then the trunk sees its lightness L and the head tells a and b (CIE Lab, see
    `tfssl.pipelines.ops.lab`) at a quarter of the size.

    With loss="classification" the head gives a distribution over bins of colours. What is right is a Gaussian over the
    nearest bins (10 as in the code; 5 in the paper). Pixels of rare colours count more, by how common colours are in
    pictures of the source, which `prepared` counts; a task that is not prepared lets all count alike. As a picture the
    distribution is its mean at a temperature of 0.38.

    With loss="regression" it gives a and b, by their squared error: the mean of all answers, which is greyish.

    With diverse=K it gives a and b as well, but a code of K numbers decides between the possible colourings: a
    conditional variational autoencoder over ab (Deshpande et al. 2017, arXiv 1612.01958; there K is 64, the code is
    drawn by a network of its own, and ab goes through a fixed basis; here codes are drawn from the normal
    distribution). While it learns, the code comes from the true ab, which is a part of the puzzle for this; afterwards
    it is drawn: `draws`. So accuracy in training tells how well a code describes a picture, not how well the trunk
    guesses, and the trunk is asked for less than by the other two.

    Pictures in which no a or b is beyond `grey` have nothing to tell and get weight 0.

    Puzzle: uint8 [B, S, S, 1], L * 255 / 100. With diverse=K a dict: "lightness", that; "reference", int8, the answer;
      "noise" float32 [B, K], standard normal; "draw" float32 [B, 1], 0, or 1 to take the noise for the code.
    Answer: int8 [B, S / 4, S / 4, 2], a and b of the mean of 4 x 4 pixels, rounded. S / 4 is rounded up.
    Weight: float32 [B, 1, 1], 0 for grey pictures.
    Head: L, standardised and three times side by side, through the body of the trunk; a decoder of at most 128 channels
      that doubles the map until it has a quarter of the size; a 1 x 1 convolution. float32 [B, S / 4, S / 4, Q], Q =
      313, or [B, S / 4, S / 4, 2], a and b in units of 25. With diverse=K the code's means and
      logarithms of variances stand behind a and b at each place, [B, S / 4, S / 4, 2 + 2 K].

    Attributes:
      loss: "classification" or "regression".
      neighbours, sigma: how many bins a colour is divided among, and the deviation of that Gaussian in units of ab.
      rebalance: part of the uniform distribution in the statistics that weights come from; 1 counts all colours alike.
      temperature: that of the annealed mean.
      diverse: K, numbers of the code; 0 for none. It replaces the loss.
      beta: with diverse, the weight of a nat of the code beside the mean squared error of a picture.
      grey: in units of ab.
      shares: how common each bin is, as `prepared` counts it.
    """

    loss: str = "classification"
    neighbours: int = 10
    sigma: float = 5.0
    rebalance: float = 0.5
    temperature: float = 0.38
    diverse: int = 0
    beta: float = 0.01
    grey: float = 5.0
    shares: tuple[float, ...] = learned_field()
    name: ClassVar[str] = "colorization"
    signature: ClassVar[str] = "colorize"

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
        if self.diverse < 0:
            raise UserError(f"colorization: diverse={self.diverse} is given, expected 0, or the numbers of a code")
        if not 0 < self.beta < float("inf"):
            raise UserError(f"colorization: beta={self.beta} is given, expected more than 0")
        if not 0 <= self.grey < 100:
            raise UserError(f"colorization: grey={self.grey} is given, expected 0 to below 100, in units of ab")
        if self.shares and len(self.shares) != len(lab.gamut_bins()):
            raise UserError(
                f"colorization: colour statistics of {len(self.shares)} bins are given, as earlier versions made them,"
                f" expected {len(lab.gamut_bins())}; train anew, or use the version that the run was made with"
            )

    @property
    def bins(self) -> bool:
        """Whether the head tells bins of colours apart; else it gives a and b themselves."""
        return self.loss == "classification" and not self.diverse

    def prepared(self, source: "AnySource") -> Self:
        if self.shares or not self.bins:
            return self
        sample = batches.sample(source, STATISTICS, 0)
        counts = np.zeros(len(lab.gamut_bins()))
        for batch in batches.plain(sample, STATISTICS_SIZE, min(STATISTICS, 64)):
            ab = lab.quarter_ab(batch["image"])
            coloured = batch["valid"] & (self._weights(ab)[:, 0, 0] > 0)
            bins = colour_bins.nearest_bin(tf.boolean_mask(ab, coloured))
            counts += np.bincount(bins.numpy().reshape(-1), minlength=len(counts))
        if not counts.any():
            raise UserError(f"{source.name} has grey pictures only: colorization has nothing to learn from")
        shares = colour_bins.shares_of_bins(counts)
        return dataclasses.replace(self, shares=tuple(float(f"{share:.6g}") for share in shares))

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        flip_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
        puzzle, ab = _flip_some(batch["image"], flip_seed)
        if self.diverse:
            count = ab.shape[0]
            noise = tf.random.stateless_normal([count, self.diverse], noise_seed)
            puzzle = {"lightness": puzzle, "reference": ab, "noise": noise, "draw": tf.zeros([count, 1])}
        return puzzle, ab, self._weights(ab)

    def draws(self, puzzle: Any, seed: int) -> Any:
        """Make a puzzle, or the lightness alone, that asks for a colouring by a code drawn by a seed, not the true one.

        Args:
          puzzle: as `puzzles` makes it, or uint8 [B, H, W, 1].
          seed: other seeds draw other codes. Without a code there is one colouring only, and it changes nothing.
        """
        lightness = tf.convert_to_tensor(_lightness(puzzle))
        if not self.diverse:
            return lightness
        static, dynamic = lightness.shape[:3], tf.unstack(tf.shape(lightness)[:3])
        count, height, width = (one if side is None else side for side, one in zip(static, dynamic, strict=True))
        # One code for all rows: the frames of a film then go together.
        noise = tf.random.stateless_normal([1, self.diverse], [seed, 0])
        return {
            "lightness": lightness,
            "reference": tf.zeros([count, lab.quarter(height), lab.quarter(width), 2], tf.int8),
            "noise": tf.tile(noise, [count, 1]),
            "draw": tf.ones([count, 1]),
        }

    def _weights(self, ab: tf.Tensor) -> tf.Tensor:
        """Return weights float32 [B, 1, 1]: 0 for grey pictures."""
        strongest = tf.reduce_max(tf.abs(tf.cast(ab, tf.int32)), [1, 2, 3])
        return tf.cast(tf.cast(strongest, tf.float32) > self.grey, tf.float32)[:, None, None]

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        trunk, lightness = encoders["image"], _lightness(puzzle)
        x = trunk.body(colour_head.seen(lightness))
        if self.diverse:
            x, numbers = colour_head.with_code(x, puzzle, self.diverse)
        x = colour_head.upsample(x, lightness, trunk)
        name = "colorization_colours"
        if self.bins:
            return keras.layers.Conv2D(len(lab.gamut_bins()), 1, dtype="float32", name=name)(x)
        x = regression.numbers(x, 2, 1, name)
        return (
            colour_head.BesideEachPlace(dtype="float32", name="colorization_all")([x, numbers]) if self.diverse else x
        )

    def make_loss(self) -> keras.losses.Loss:
        if not self.bins:
            return colour_losses.SquaredColour(self.diverse, self.beta)
        shares = np.asarray(self.shares)
        weights = colour_bins.rebalancing(shares, self.rebalance) if self.shares else None
        return colour_losses.SoftBins(self.neighbours, self.sigma, weights)

    def metrics(self) -> list[keras.metrics.Metric]:
        error = colour_losses.ColourError(self.bins, self.temperature, name="ab_rmse")
        if self.bins:
            return [colour_losses.BinAccuracy(name="accuracy"), error]
        return [error, colour_losses.CodeDivergence(name="nats")] if self.diverse else [error]

    def ab(self, prediction: Any) -> np.ndarray:
        """Convert what the head gives [..., h, w, c] to a and b as a picture shows them, float32 [..., h, w, 2]."""
        return colour_losses.predicted_ab(tf.convert_to_tensor(prediction), self.bins, self.temperature).numpy()

    def served(self, run: Trained) -> ServedNetwork:
        """Serve the colours of each picture, as the command `colorize` does.

        The picture is upright, at its own size, and keeps its lightness.
        """
        return ServedNetwork(Colourer(run, self).painted, at_own_size=True)

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        lightness = _lightness(puzzle)
        size = lightness.shape[1]
        return Pieces(coloured(lightness, answer)[:, None], np.array([[0, 0, size, size]]))

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        """Draw as in `PretextTask`. The prediction may also be a list, of several colourings that `draws` asked for."""
        from matplotlib.figure import Figure

        rows = min(count, len(answer))
        lightness, answer = np.asarray(_lightness(puzzle))[:rows], np.asarray(answer)[:rows]
        columns = {"grey": coloured(lightness, np.zeros_like(answer)), "picture": coloured(lightness, answer)}
        several = isinstance(prediction, (list, tuple))
        guesses = (
            [] if prediction is None else [self.ab(each[:rows]) for each in (prediction if several else [prediction])]
        )
        names = [f"draw {number + 1}" for number in range(len(guesses))] if several else ["coloured"]
        columns |= {name: coloured(lightness, guess) for name, guess in zip(names, guesses, strict=False)}
        figure = Figure(figsize=(1.6 * len(columns), 1.65 * rows), layout="constrained")
        for row, line in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
            for axes, (title, images) in zip(line, columns.items(), strict=True):
                axes.imshow(images[row])
                axes.set_axis_off()
                axes.set_title("" if row else title, fontsize=9)
            if len(guesses) == 1:
                error = np.sqrt(np.mean((guesses[0][row] - answer[row].astype(np.float32)) ** 2))
                line[-1].set_title(f"coloured, off by {error:.0f}", fontsize=9)
        return figure


def _flip_some(images: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror each picture's lightness, and ab at a quarter of the size, with probability one half."""
    if images.shape[1] % lab.SHRINK:  # then the cells of a mirrored picture are others
        images = geometry.flip_some(images, seed)
        return lab.lightness(images), lab.quarter_ab(images)
    flipped = tf.random.stateless_uniform([images.shape[0]], seed) < 0.5
    lightness, ab = lab.lightness(images), lab.quarter_ab(images)
    return geometry.mirror_where(flipped, lightness), geometry.mirror_where(flipped, ab)


def _lightness(puzzle: Any) -> Any:
    return puzzle["lightness"] if isinstance(puzzle, dict) else puzzle


def coloured(lightness: Any, ab: Any) -> np.ndarray:
    """Join L as in a puzzle, uint8 [B, S, S, 1], with a and b at a quarter of the size: sRGB, uint8 [B, S, S, 3].

    a and b are made larger bilinearly.
    """
    height, width = lightness.shape[1:3]
    ab = tf.convert_to_tensor(ab)
    large = tf.image.resize(ab, [lab.SHRINK * side for side in ab.shape[1:3]])[:, :height, :width]
    return lab.lab_to_rgb(tf.concat([tf.cast(lightness, tf.float32) / 2.55, large], -1)).numpy()
