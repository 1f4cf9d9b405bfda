"""Residual networks of basic blocks (He et al. 2016, arXiv 1512.03385), with a stem for small images."""

from collections.abc import Sequence

import keras

from tfssl.models.trunks.layers import activated, batch_norm, convolution

SMALL = 64
"""Pixels. Up to here the stem keeps the resolution, as is usual for CIFAR; above it quarters it."""

LEAST_SIZE = 8
"""Pixels. Three of the four stages halve the resolution."""


def resnet(blocks: Sequence[int], size: int, width: int) -> keras.Model:
    """A residual network without its classifier.

    Args:
      blocks: basic blocks of each stage; stage k (from 0) has width * 2**k channels.
      size: pixels of a side. Up to 64 the stem is a 3x3 convolution; above, 7x7 at stride 2 and a max-pool at stride 2.
      width: channels of the stem and of the first stage.

    Input shape: float [N, H, W, 3].
    Output shape: float [N, H / 8, W / 8, 8 * width] with the small stem, a quarter of that height and width with the
      large one; rounded up.
    """
    pixels = keras.Input((None, None, 3))
    if size <= SMALL:
        x = activated(convolution(pixels, width, 3))
    else:
        x = activated(convolution(pixels, width, 7, 2))
        x = keras.layers.MaxPooling2D(3, 2, "same")(x)
    for stage, count in enumerate(blocks):
        for index in range(count):
            last = index == count - 1
            stride = 2 if stage > 0 and index == 0 else 1
            x = basic_block(x, width * 2**stage, stride, f"stage{stage + 1}" if last else None)
    return keras.Model(pixels, x, name="body")


def basic_block(x: keras.KerasTensor, filters: int, stride: int, name: str | None) -> keras.KerasTensor:
    """Two 3x3 convolutions beside a shortcut, activated after the sum; a 1x1 projection where the shape changes."""
    branch = convolution(activated(convolution(x, filters, 3, stride)), filters, 3)
    branch = batch_norm(branch)
    if stride != 1 or x.shape[-1] != filters:
        x = batch_norm(convolution(x, filters, 1, stride))
    return keras.layers.ReLU(name=name)(keras.layers.Add()([branch, x]))
