"""AlexNet's convolutions with batch norm."""

import dataclasses
from typing import ClassVar

import keras

from tfssl.models.trunks.family import Family
from tfssl.models.trunks.layers import activate, convolution


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlexNet(Family):
    """Five convolutions, each with batch norm and ReLU, as RotNet and its followers compare on.

    Follows `architectures/AlexNet.py` of gidariss/FeatureLearningRotNet, that is Krizhevsky 2014 (arXiv 1404.5997)
    without local response normalisation; the pool behind the fifth convolution is left to the head.

    Output shape: float [N, H', W', 4 * width]; 13 x 13 of 224 x 224 pixels.

    Settings:
      width: channels of the first stage, 64 in the paper; the stages have 1, 3, 6, 4 and 4 times as many.
    """

    width: int = 64
    name: ClassVar[str] = "alexnet"
    least_size: ClassVar[int] = 31  # the smallest of which both max-pools have a whole window left

    def body(self, size: int) -> keras.Model:
        del size
        width = self.width
        pixels = keras.Input((None, None, 3))
        # Padding 'same' would divide the border differently for each size; this is the paper's, whatever the size.
        x = keras.layers.Conv2D(width, 11, 4, use_bias=False)(keras.layers.ZeroPadding2D(2)(pixels))
        x = activate(x, "stage1")
        x = activate(convolution(keras.layers.MaxPooling2D(3, 2)(x), 3 * width, 5), "stage2")
        x = activate(convolution(keras.layers.MaxPooling2D(3, 2)(x), 6 * width, 3), "stage3")
        x = activate(convolution(x, 4 * width, 3), "stage4")
        x = activate(convolution(x, 4 * width, 3), "stage5")
        return keras.Model(pixels, x, name="body")
