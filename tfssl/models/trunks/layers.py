"""The two layers that every trunk of this package is made of."""

import keras

from tfssl.models.batch_norm import BatchNormalization


def convolution(inputs: keras.KerasTensor, filters: int, kernel: int, stride: int = 1) -> keras.KerasTensor:
    """Apply a convolution, padding 'same', no bias, for batch norm to follow: [N, H, W, C] -> [N, H', W', filters]."""
    if kernel == 1 and stride > 1:
        # Only the pixels that it would look at: in the gradient of a strided 1x1 convolution of 4 or 8 channels over
        # 48 pixels and more, oneDNN writes past its memory (TensorFlow 2.21: "malloc(): unaligned tcache chunk").
        inputs, stride = keras.layers.AveragePooling2D(1, stride, "same")(inputs), 1
    return keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False)(inputs)


def batch_norm(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Apply batch norm with statistics over all replicas: the same shape and dtype."""
    return BatchNormalization()(inputs)


def activate(inputs: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
    """Apply batch norm, then ReLU."""
    return keras.layers.ReLU(name=name)(batch_norm(inputs))
