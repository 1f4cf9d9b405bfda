"""Network in network (Lin et al. 2014, arXiv 1312.4400) as RotNet has it for CIFAR."""

import dataclasses
from typing import ClassVar

import keras

from tfssl.base.errors import UserError
from tfssl.models.trunks.family import Family
from tfssl.models.trunks.layers import activate, convolution


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkInNetwork(Family):
    """Blocks of one spatial and two 1x1 convolutions.

    Follows `architectures/NetworkInNetwork.py` of gidariss/FeatureLearningRotNet, except for the initialiser: the
    first block narrows from 192 over 160 to 96 channels, the first two end with a pool at stride 2 (a maximum, then an
    average over a border of zeros).

    Output shape: float [N, H / 4, W / 4, width], rounded up.

    Settings:
      blocks: 3, 4 or 5; each is a stage.
      width: channels of a block, 192 in the paper.
    """

    blocks: int = 4
    width: int = 192
    name: ClassVar[str] = "nin"
    least_size: ClassVar[int] = 4  # two blocks halve the resolution

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 3 <= self.blocks <= 5:
            raise UserError(f"trunk nin: blocks={self.blocks} is given, expected 3, 4 or 5")

    def body(self, size: int) -> keras.Model:
        del size
        width = self.width
        pixels = keras.Input((None, None, 3))
        x = block(pixels, (width, width * 5 // 6, width // 2), 5)
        x = keras.layers.MaxPooling2D(3, 2, name="stage1")(keras.layers.ZeroPadding2D(1)(x))
        x = block(x, (width,) * 3, 5)
        x = keras.layers.AveragePooling2D(3, 2, name="stage2")(keras.layers.ZeroPadding2D(1)(x))
        for stage in range(3, self.blocks + 1):
            x = block(x, (width,) * 3, 3, f"stage{stage}")
        return keras.Model(pixels, x, name="body")


def block(
    x: keras.KerasTensor, filters: tuple[int, int, int], kernel: int, name: str | None = None
) -> keras.KerasTensor:
    """Apply convolutions of kernel x kernel, 1x1, 1x1, each with batch norm and ReLU."""
    first, second, third = filters
    x = activate(convolution(x, first, kernel))
    x = activate(convolution(x, second, 1))
    return activate(convolution(x, third, 1), name)
