"""AlexNet's convolutions with batch norm."""

import keras

from tfssl.models.trunks.layers import activated, convolution

LEAST_SIZE = 31
"""Pixels. The smallest of which both max-pools have a whole window left."""


def alexnet(width: int) -> keras.Model:
    """Five convolutions, each with batch norm and ReLU, as RotNet and its followers compare on.

    Follows `architectures/AlexNet.py` of gidariss/FeatureLearningRotNet, that is Krizhevsky 2014 (arXiv 1404.5997)
    without local response normalisation; the pool behind the fifth convolution is left to the head.

    Args:
      width: channels of the first stage, 64 in the paper; the stages have 1, 3, 6, 4 and 4 times as many.

    Input shape: float [N, H, W, 3].
    Output shape: float [N, H', W', 4 * width]; 13 x 13 of 224 x 224 pixels.
    """
    pixels = keras.Input((None, None, 3))
    # Padding 'same' would divide the border differently for each size; this is the paper's, whatever the size.
    x = keras.layers.Conv2D(width, 11, 4, use_bias=False)(keras.layers.ZeroPadding2D(2)(pixels))
    x = activated(x, "stage1")
    x = activated(convolution(keras.layers.MaxPooling2D(3, 2)(x), 3 * width, 5), "stage2")
    x = activated(convolution(keras.layers.MaxPooling2D(3, 2)(x), 6 * width, 3), "stage3")
    x = activated(convolution(x, 4 * width, 3), "stage4")
    x = activated(convolution(x, 4 * width, 3), "stage5")
    return keras.Model(pixels, x, name="body")
