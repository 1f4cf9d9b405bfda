"""Residual networks of basic blocks (He et al. 2016, arXiv 1512.03385), with a stem for small images."""

import dataclasses
from typing import ClassVar

import keras

from tfssl.models.trunks.family import Family
from tfssl.models.trunks.layers import activate, batch_norm, convolution

SMALL = 64
"""Pixels. Up to here the stem keeps the resolution, as is usual for CIFAR; above it quarters it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet(Family):
    """A residual network of basic blocks without its classifier.

    Up to 64 pixels the stem is a 3x3 convolution; above, 7x7 at stride 2 and a max-pool at stride 2.

    Output shape: float [N, H / 8, W / 8, 8 * width] with the small stem, a quarter of that height and width with the
      large one; rounded up.

    Attributes:
      blocks: (of the class) basic blocks of each stage; stage k (from 0) has width * 2**k channels.

    Settings:
      width: channels of the stem and of the first stage.
    """

    width: int = 64
    blocks: ClassVar[tuple[int, ...]]
    least_size: ClassVar[int] = 8  # three of the four stages halve the resolution

    def body(self, size: int) -> keras.Model:
        width = self.width
        pixels = keras.Input((None, None, 3))
        if size <= SMALL:
            x = activate(convolution(pixels, width, 3))
        else:
            x = activate(convolution(pixels, width, 7, 2))
            x = keras.layers.MaxPooling2D(3, 2, "same")(x)
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                last = index == count - 1
                stride = 2 if stage > 0 and index == 0 else 1
                x = basic_block(x, width * 2**stage, stride, f"stage{stage + 1}" if last else None)
        return keras.Model(pixels, x, name="body")


class ResNet10(ResNet):
    """One basic block a stage."""

    name = "resnet10"
    blocks = (1, 1, 1, 1)


class ResNet18(ResNet):
    """Two basic blocks a stage."""

    name = "resnet18"
    blocks = (2, 2, 2, 2)


class ResNet34(ResNet):
    """Three, four, six and three basic blocks."""

    name = "resnet34"
    blocks = (3, 4, 6, 3)


def basic_block(x: keras.KerasTensor, filters: int, stride: int, name: str | None) -> keras.KerasTensor:
    """Apply two 3x3 convolutions beside a shortcut, activated after the sum.

    The shortcut is a 1x1 projection where the shape changes.
    """
    branch = convolution(activate(convolution(x, filters, 3, stride)), filters, 3)
    branch = batch_norm(branch)
    if stride != 1 or x.shape[-1] != filters:
        x = batch_norm(convolution(x, filters, 1, stride))
    return keras.layers.ReLU(name=name)(keras.layers.Add()([branch, x]))
