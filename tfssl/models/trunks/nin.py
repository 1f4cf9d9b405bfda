"""Network in network (Lin et al. 2014, arXiv 1312.4400) as RotNet has it for CIFAR."""

import keras

from tfssl.models.trunks.layers import activated, convolution

LEAST_SIZE = 4
"""Pixels. Two blocks halve the resolution."""


def nin(blocks: int, width: int) -> keras.Model:
    """Blocks of one spatial and two 1x1 convolutions.

    Follows `architectures/NetworkInNetwork.py` of gidariss/FeatureLearningRotNet, except for the initialiser: the
    first block narrows from 192 over 160 to 96 channels, the first two end with a pool at stride 2 (a maximum, then an
    average over a border of zeros).

    Args:
      blocks: 3, 4 or 5; each is a stage.
      width: channels of a block, 192 in the paper.

    Input shape: float [N, H, W, 3].
    Output shape: float [N, H / 4, W / 4, width], rounded up.
    """
    pixels = keras.Input((None, None, 3))
    x = block(pixels, (width, width * 5 // 6, width // 2), 5)
    x = keras.layers.MaxPooling2D(3, 2, name="stage1")(keras.layers.ZeroPadding2D(1)(x))
    x = block(x, (width,) * 3, 5)
    x = keras.layers.AveragePooling2D(3, 2, name="stage2")(keras.layers.ZeroPadding2D(1)(x))
    for stage in range(3, blocks + 1):
        x = block(x, (width,) * 3, 3, f"stage{stage}")
    return keras.Model(pixels, x, name="body")


def block(
    x: keras.KerasTensor, filters: tuple[int, int, int], kernel: int, name: str | None = None
) -> keras.KerasTensor:
    """kernel x kernel, 1x1, 1x1, each with batch norm and ReLU."""
    first, second, third = filters
    x = activated(convolution(x, first, kernel))
    x = activated(convolution(x, second, 1))
    return activated(convolution(x, third, 1), name)
