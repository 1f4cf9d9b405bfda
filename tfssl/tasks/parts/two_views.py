"""Tasks of two views: a picture is seen twice, and what the network says of both must agree."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.ops import views
from tfssl.tasks.base import Batch, PretextTask, Puzzle
from tfssl.tasks.parts.agreement import PartnerAccuracy, first_of_each, partners, precise
from tfssl.tasks.parts.classification import hidden

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoViews(PretextTask):
    """A task whose puzzle shows every picture twice, and whose head gives an embedding of each view.

    Views are drawn independently of each other: a random part of the picture, enlarged; mirrored or not; brightness,
    contrast, saturation and hue jittered in a random order; grey; blurred. They are cut out of the run's crops, not of
    the whole photo, and both pass through the trunk in one batch, so batch norm takes the statistics of all.

    Answer: int32 [2B], where the partner stands, in rows from here: 1, -1, 1, -1, ...; 0 for both views of a picture
      that was in the batch before, as one does that stands in for a broken file.
    Weight: float32 [2B], 0 there: such rows are nobody's partner and nobody's negative.
    Head: float32 [2B, D].
    Metrics: `accuracy`, the share of views whose partner is the nearest of the batch by cosine; chance is 1 / (2B - 1).

    Settings:
      projection: D, the width of the embeddings that are compared. The layers that make them are a head, and are left
        behind at export.
      hidden: width of the layers before; 0 for that of the trunk's map.
      area: smallest part of the crop that a view shows, up to 1.
      strength: of the colour jitter, 1 as the paper has for ImageNet, 0.5 for CIFAR-10.
      jitter: probability that the colours of a view are jittered.
      grey: probability that it is grey.
      blur: share of the views of a step that are blurred; up to 32 px none is.
    """

    projection: int = 128
    hidden: int = 0
    area: float = 0.08
    strength: float = 0.5
    jitter: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    least_batch: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.projection < 1:
            raise UserError(f"{self.name}: projection={self.projection} is given, expected at least 1")
        if self.hidden < 0:
            raise UserError(f"{self.name}: hidden={self.hidden} is given, expected at least 1, or 0 for the trunk's")
        if not 0 < self.area <= 1:
            raise UserError(f"{self.name}: area={self.area} is given, expected more than 0, up to 1")
        if not 0 <= self.strength <= 2:
            raise UserError(f"{self.name}: strength={self.strength} is given, expected 0 to 2")
        for setting in ("jitter", "grey", "blur"):
            if not 0 <= getattr(self, setting) <= 1:
                raise UserError(f"{self.name}: {setting}={getattr(self, setting)} is given, expected a probability")

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        return self.views(batch["image"], seed), *answers(batch)

    def views(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draw both views of pictures uint8 [B, S, S, 3], side by side: uint8 [2B, S, S, 3]."""
        settings = {"area": self.area, "strength": self.strength, "jitter": self.jitter}
        return views.draw(images, 2, seed, **settings, grey=self.grey, blurred=self.blur)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [PartnerAccuracy(name="accuracy")]

    def chance_accuracy(self, batch_size: int) -> float | None:
        return 1 / (2 * (self.batch or batch_size) - 1)

    @abc.abstractmethod
    def projected(self, features: Any) -> Any:
        """Apply the head to the mean over the map of plain pictures, [N, C] -> [N, projection], by layers of its names.

        It is left behind at export; `evaluate --projection` measures what comes behind it.
        """

    def sides(self, puzzle: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return both sides of each picture as pictures, uint8 [B, h, w, 3] each."""
        puzzle = np.asarray(puzzle)
        return puzzle[::2], puzzle[1::2]

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        sides = self.sides(puzzle)
        rows = min(count, len(sides[0]))
        figure = Figure(figsize=(3.2, 1.75 * rows), layout="constrained")
        for row, places in enumerate(figure.subplots(rows, 2, squeeze=False)):
            for axes, side in zip(places, sides, strict=True):
                axes.imshow(side[row])
                axes.set_axis_off()
            if prediction is not None:
                text, is_right = _words(np.asarray(prediction), np.asarray(answer), 2 * row)
                places[0].set_title(text, fontsize=9, loc="left", color="tab:green" if is_right else "tab:red")
        return figure


def answers(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the answer and the weight of two rows a picture: int32 [2B] and float32 [2B]."""
    count = batch["image"].shape[0]
    counts = first_of_each(batch["index"]) if "index" in batch else tf.ones([count], tf.bool)
    answer = partners(tf.ensure_shape(counts, [count]))
    return answer, tf.cast(tf.abs(answer), tf.float32)


def project(features: Any, layers: int, width: int, outputs: int, name: str) -> Any:
    """Apply layers - 1 hidden ones, with batch norm and ReLU, and a linear one: [N, C] -> float32 [N, outputs].

    Args:
      features: [N, C].
      layers: how many in all.
      width: of the hidden ones; 0 for C.
      outputs: of the last.
      name: what names of layers begin with.
    """
    for layer in range(1, layers):
        features = hidden(features, width or features.shape[-1], f"{name}_{layer}")
    return keras.layers.Dense(outputs, use_bias=False, dtype=precise(), name=f"{name}_projection")(features)


def _words(prediction: np.ndarray, answer: np.ndarray, row: int) -> tuple[str, bool]:
    """Say how alike the embeddings of a picture's views are, and whether the partner is the nearest of those drawn."""
    unit = prediction / np.maximum(np.linalg.norm(prediction, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit[row]
    partner = row + int(np.ravel(answer[row])[0] or 1)
    others = np.delete(cosines, [row, partner])
    is_right = bool(not len(others) or cosines[partner] > others.max())
    return f"{cosines[partner]:.2f}, {'nearest' if is_right else f'another {others.max():.2f}'}", is_right
