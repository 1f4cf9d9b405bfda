"""Colour: sRGB to CIE Lab and back, in the graph.

L, the lightness, goes from 0 (black) to 100 (white); a from green to red and b from blue to yellow, from -108 to 98 for
the colours that sRGB has, 0 for greys. White is D65. The values are those of scikit-image: IEC 61966-2-1 for sRGB, CIE
15 for Lab.

A batch needs L of every pixel but ab at a quarter of the size only, as the network predicts no more. Of a picture of
224 px, on one core, that takes 70 us for L and 60 us for ab, where decoding the JPEG takes 1000 us and Lab of every
pixel by tensorflow-io 7000. Op by op TensorFlow 2.21 needs 320 us for L, whether by a table of all colours or by
arithmetic: so `lightness` and `quarter_ab` are compiled by XLA, as one loop over the pixels, once for each shape.
"""

import functools

import numpy as np
import tensorflow as tf

WHITE = (0.95047, 1.0, 1.08883)
"""X, Y, Z of D65 for an observer of 2 degrees."""

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""X, Y, Z of the linear red, green and blue of sRGB (rows: X, Y, Z)."""

SHRINK = 4
DARK = 0.008856  # below it, the cube root of Lab is a straight line
SLOPE, OFFSET = 7.787, 16 / 116
DEGREE = 10


def quarter(size: int) -> int:
    """Pixels of a side at a quarter of the size, rounded up."""
    return -(-size // SHRINK)


def rgb_to_lab(rgb: tf.Tensor) -> tf.Tensor:
    """sRGB [..., 3], uint8 or float from 0 to 255 -> Lab, float32 [..., 3]."""
    levels = tf.cast(rgb, tf.float32) / 255
    bright = ((tf.maximum(levels, 0.04045) + 0.055) / 1.055) ** 2.4
    linear = tf.where(levels > 0.04045, bright, levels / 12.92)
    red, green, blue = tf.unstack(linear, axis=-1)
    x, y, z = (
        _cube_root((of_red * red + of_green * green + of_blue * blue) / white)
        for (of_red, of_green, of_blue), white in zip(XYZ, WHITE, strict=True)
    )
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab: tf.Tensor) -> tf.Tensor:
    """Lab float [..., 3] -> sRGB, uint8 [..., 3]. What sRGB cannot show is cut off, each channel at its limit."""
    lightness, a, b = tf.unstack(tf.cast(lab, tf.float32), axis=-1)
    y = (lightness + 16) / 116
    roots = (y + a / 500, y, y - b / 200)
    edge = SLOPE * DARK + OFFSET
    xyz = [
        tf.where(root > edge, root**3, (root - OFFSET) / SLOPE) * white
        for root, white in zip(roots, WHITE, strict=True)
    ]
    back = np.linalg.inv(np.array(XYZ))
    linear = tf.stack([sum(float(f) * part for f, part in zip(row, xyz, strict=True)) for row in back], -1)
    bright = 1.055 * tf.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    levels = tf.where(linear > 0.0031308, bright, linear * 12.92)
    return tf.cast(tf.round(255 * tf.clip_by_value(levels, 0.0, 1.0)), tf.uint8)


@tf.function(jit_compile=True, autograph=False)
def lightness(images: tf.Tensor) -> tf.Tensor:
    """L of pictures, uint8 [B, H, W, 3] -> uint8 [B, H, W, 1]: L * 255 / 100, rounded (within 0.2 of L).

    What a level of sRGB is in linear light is a polynomial here, of which L is off by less than 0.04.
    """
    levels = tf.cast(images, tf.float32) * (1 / 255)
    first, *rest = _linear_light()
    linear = first * levels
    for coefficient in rest:
        linear = (linear + coefficient) * levels
    luminance = sum(share * linear[..., channel] for channel, share in enumerate(XYZ[1]))
    level = (116 * _cube_root(luminance) - 16) * 2.55
    return tf.cast(tf.clip_by_value(level, 0.0, 255.0) + 0.5, tf.uint8)[..., None]


def quarter_ab(images: tf.Tensor) -> tf.Tensor:
    """a and b of pictures at a quarter of their size: uint8 [B, S, S, 3] -> int8 [B, quarter(S), quarter(S), 2].

    Rounded. The colours are those of the mean of 4 x 4 pixels in sRGB, as a picture made smaller has them; where S is
    no multiple of 4 the last pixels count several times.
    """
    size = images.shape[1]
    missing = SHRINK * quarter(size) - size
    if missing:
        images = tf.pad(images, [[0, 0], [0, missing], [0, missing], [0, 0]], "SYMMETRIC")
    return _rounded_ab(tf.nn.avg_pool2d(tf.cast(images, tf.float32), SHRINK, SHRINK, "VALID"))


@tf.function(jit_compile=True, autograph=False)
def _rounded_ab(rgb: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(rgb_to_lab(rgb)[..., 1:]), tf.int8)


@functools.cache
def gamut_bins(grid: int) -> np.ndarray:
    """The points of a grid over ab that some colour of sRGB rounds to.

    With a grid of 10 these are 261. The 313 of Zhang et al. 2016 are fixed points in a file of theirs, made by a rule
    that the paper does not tell: a hull around these, with bins that no colour of sRGB is nearest to.

    Args:
      grid: distance of the points along a and b.

    Returns:
      float32 [Q, 2], by a, then b. No colour is further than grid / sqrt(2) from the nearest.
    """
    levels = np.arange(256)
    first, second = (side.reshape(-1) for side in np.meshgrid(levels, levels))
    # What lies inside the cube of colours lies, seen along L, inside of what its faces cover.
    faces = [np.insert(np.stack([first, second], 1), axis, end, 1) for axis in range(3) for end in (0, 255)]
    ab = rgb_to_lab(tf.constant(np.concatenate(faces)))[:, 1:].numpy()
    return (np.unique(np.rint(ab / grid).astype(int), axis=0) * grid).astype(np.float32)


def _cube_root(value: tf.Tensor) -> tf.Tensor:
    """Lab's cube root, of 0 and more."""
    # A power with a variable base takes TensorFlow four times as long.
    root = tf.exp(tf.math.log(tf.maximum(value, DARK)) * (1 / 3))
    return tf.where(value > DARK, root, SLOPE * value + OFFSET)


@functools.cache
def _linear_light() -> tuple[float, ...]:
    """Coefficients, highest power first and without a constant, of linear light by sRGB level from 0 to 1.

    Least squares over the 256 levels, where each counts as much as it changes L.
    """
    levels = np.arange(256) / 255
    linear = np.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
    importance = np.where(linear > DARK, np.maximum(linear, DARK) ** (-2 / 3) / 3, SLOPE)
    powers = levels[:, None] ** np.arange(DEGREE, 0, -1)
    fitted = np.linalg.lstsq(powers * importance[:, None], linear * importance, rcond=None)[0]
    return tuple(float(value) for value in fitted)
