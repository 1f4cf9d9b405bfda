"""Contrastive: which of all these views is of the same picture?"""

import dataclasses
from typing import Any, ClassVar

import keras

from tfssl.base.errors import UserError
from tfssl.tasks.base import Encoders
from tfssl.tasks.parts.agreement import NTXent
from tfssl.tasks.parts.two_views import TwoViews, project


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive(TwoViews):
    """Which of all these views is of the same picture? (Chen et al. 2020, arXiv 2002.05709, "SimCLR")

    No pretext task but the stronger reference: two views of each picture, and the network must tell the partner of each
    from all other views of the batch, on all devices together. So it learns the more, the larger the batch: the paper
    has 256 to 8,192 pictures, and of CIFAR-10 a temperature of 0.5.

    What would find the partner otherwise, and what is done:
      a colour histogram: jitter, and a fifth of the views is grey (section 3.2 of the paper; `audit` measures it).
      the same pixels at the same place: crops of `area` to 1 of the picture.

    Differs from the paper: hue is turned in YIQ; the last layer of the head has no batch norm; weights decay as told.

    Puzzle: uint8 [2B, S, S, 3], both views of a picture side by side.
    Answer, weight, metrics: as of all tasks of two views (`tfssl.tasks.parts.two_views`).
    Head: average of the trunk's map; `layers` fully connected layers, all but the last with batch norm and ReLU;
      float32 [2B, projection].
    Loss: NT-Xent, cross-entropy of the partner by cosine over temperature; ln(2B - 1) where all embeddings are alike.

    Settings, beside those of all tasks of two views:
      temperature: what cosines are divided by.
      layers: of the head, 1 to 3.
    """

    temperature: float = 0.5
    layers: int = 2
    name: ClassVar[str] = "contrastive"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"contrastive: temperature={self.temperature} is given, expected more than 0")
        if not 1 <= self.layers <= 3:
            raise UserError(f"contrastive: layers={self.layers} is given, expected 1 to 3")

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        features = keras.layers.GlobalAveragePooling2D(name="contrastive_pool")(encoders["image"](puzzle))
        return self.projected(features)

    def projected(self, features: Any) -> Any:
        return project(features, self.layers, self.hidden, self.projection, self.name)

    def make_loss(self) -> keras.losses.Loss:
        return NTXent(self.temperature)
