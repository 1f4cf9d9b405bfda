"""A trunk for tests of what is not about trunks: maps and stages of `resnet10`, and a third of its layers to trace."""

import dataclasses
from typing import ClassVar

import keras

from tfssl.models.trunks.family import Family
from tfssl.models.trunks.layers import activate, convolution
from tfssl.models.trunks.resnet import SMALL


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain(Family):
    """One convolution with batch norm a stage; a name in `--trunk` for the process of the tests alone."""

    width: int = 4
    name: ClassVar[str] = "plain"
    least_size: ClassVar[int] = 8

    def body(self, size: int) -> keras.Model:
        pixels = keras.Input((None, None, 3))
        x = activate(convolution(pixels, self.width, 3, 1 if size <= SMALL else 4), "stage1")
        for stage in (1, 2, 3):
            x = activate(convolution(x, self.width * 2**stage, 3, 2), f"stage{stage + 1}")
        return keras.Model(pixels, x, name="body")
