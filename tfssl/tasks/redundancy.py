"""Redundancy: what do two views of a picture share, said in numbers that do not repeat each other?"""

import dataclasses
from typing import Any, ClassVar

import keras

from tfssl.base.errors import UserError
from tfssl.tasks.base import Encoders
from tfssl.tasks.parts.redundancy_losses import BarlowTwins, VICReg
from tfssl.tasks.parts.two_views import TwoViews, project

LOSSES = ("barlow", "vicreg")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Redundancy(TwoViews):
    """What do two views share, in numbers that do not repeat each other? (Zbontar et al. 2021, arXiv 2103.03230,
    "Barlow Twins"; Bardes et al. 2022, arXiv 2105.04906, "VICReg")

    As `contrastive`, on the same views, but without negatives: embeddings of both views must be alike, and over the
    batch their dimensions must differ from picture to picture and from each other. So a batch may be small, and a
    second picture of the same thing is nobody's negative.

    Differs from the papers: losses are divided by the width of the embeddings (barlow) and by the sum of the weights
    (vicreg), which other optimizers than LARS need; the head is narrower (512 for 8,192), and its views are those of
    `contrastive` on both sides (the papers' second one is also solarised).

    Puzzle: uint8 [2B, S, S, 3], both views of a picture side by side.
    Answer, weight, metrics: as of all tasks of two views (`tfssl.tasks.parts.two_views`).
    Head: average of the trunk's map; `layers` fully connected layers, all but the last with batch norm and ReLU;
      float32 [2B, projection].
    Loss: see `tfssl.tasks.parts.redundancy_losses`. It is one number for a batch, on all devices together.

    Settings, beside those of all tasks of two views:
      loss: "barlow" or "vicreg".
      off_diagonal: (barlow) the weight of what two dimensions have in common.
      invariance, variance, covariance: (vicreg) the weights of its three terms.
      layers: of the head, 1 to 3.
    """

    projection: int = 512
    hidden: int = 512
    loss: str = "barlow"
    off_diagonal: float = 0.0051
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    layers: int = 3
    name: ClassVar[str] = "redundancy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in LOSSES:
            raise UserError(f"redundancy: loss={self.loss!r} is given, expected one of {', '.join(LOSSES)}")
        for setting in ("off_diagonal", "invariance", "variance", "covariance"):
            if not 0 <= getattr(self, setting) < float("inf"):
                raise UserError(f"redundancy: {setting}={getattr(self, setting)} is given, expected 0 or more")
        if self.loss == "vicreg" and not self.invariance + self.variance + self.covariance:
            raise UserError("redundancy: invariance, variance and covariance are 0; expected one above")
        if not 1 <= self.layers <= 3:
            raise UserError(f"redundancy: layers={self.layers} is given, expected 1 to 3")

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        features = keras.layers.GlobalAveragePooling2D(name="redundancy_pool")(encoders["image"](puzzle))
        return self.projected(features)

    def projected(self, features: Any) -> Any:
        return project(features, self.layers, self.hidden, self.projection, self.name)

    def make_loss(self) -> keras.losses.Loss:
        if self.loss == "barlow":
            return BarlowTwins(self.off_diagonal)
        return VICReg(self.invariance, self.variance, self.covariance)
