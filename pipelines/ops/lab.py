"""Colour: sRGB to CIE Lab and back, in the graph.

L, the lightness, goes from 0 (black) to 100 (white); a from green to red and b from blue to yellow, from -108 to 98 for
the colours that sRGB has, 0 for greys. White is D65. The values are those of scikit-image: IEC 61966-2-1 for sRGB, CIE
15 for Lab.

A batch needs L of every pixel but ab at a quarter of the size only, as the network predicts no more. For a picture of
224 px, on one core, that takes 0.12 ms for L and 0.08 for ab, where decoding the JPEG takes 1.2 and Lab of all pixels
by tensorflow-io as long as decoding. Op by op TensorFlow 2.21 needs four times as long for L alone, by a table of all
colours or by arithmetic: so `lightness` and the steps of `quarter_ab` are compiled by XLA, once for each shape.
"""

import functools

import numpy as np
import tensorflow as tf

WHITE = (0.95047, 1.0, 1.08883)
"""X, Y, Z of D65 for an observer of 2 degrees."""

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""X, Y, Z of the linear red, green and blue of sRGB (rows: X, Y, Z)."""

GRID = 10
GAMUT = {
    -90: (50, 90),
    -80: (20, 90),
    -70: (0, 90),
    -60: (-20, 90),
    -50: (-30, 100),
    -40: (-40, 100),
    -30: (-50, 100),
    -20: (-50, 100),
    -10: (-60, 100),
    0: (-70, 100),
    10: (-80, 90),
    20: (-80, 90),
    30: (-90, 90),
    40: (-100, 90),
    50: (-100, 80),
    60: (-110, 80),
    70: (-110, 80),
    80: (-110, 70),
    90: (-110, 70),
    100: (-90, 0),
}
"""a -> first and last b of the points of a grid over ab, `GRID` apart, that Zhang et al. 2016 (arXiv 1603.08511) call
in gamut: the 313 of the file that came with their code. The paper does not tell the rule. The corners of all cells of
the grid that hold a colour of sRGB are 309 of these and no others; (40, 90), (100, -90), (100, -10) and (100, 0) are
the rest. The points that some colour of sRGB is nearest to are 261 of them: the other 52 only share in colours."""

SHRINK = 4
DARK = 0.008856  # below it, the cube root of Lab is a straight line
SLOPE, OFFSET = 7.787, 16 / 116
DEGREE = 10
BISECTIONS = 8


def quarter(size: int) -> int:
    """Return the pixels of a side at a quarter of the size, rounded up."""
    return -(-size // SHRINK)


def rgb_to_lab(rgb: tf.Tensor) -> tf.Tensor:
    """Convert sRGB [..., 3], uint8 or float from 0 to 255, to Lab, float32 [..., 3]."""
    levels = tf.cast(rgb, tf.float32) / 255
    bright = tf.exp(2.4 * tf.math.log((tf.maximum(levels, 0.04045) + 0.055) / 1.055))  # a power takes twice as long
    linear = tf.where(levels > 0.04045, bright, levels / 12.92)
    red, green, blue = tf.unstack(linear, axis=-1)
    x, y, z = (
        _cube_root((of_red * red + of_green * green + of_blue * blue) / white)
        for (of_red, of_green, of_blue), white in zip(XYZ, WHITE, strict=True)
    )
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab: tf.Tensor) -> tf.Tensor:
    """Convert Lab float [..., 3] to sRGB, uint8 [..., 3].

    A colour that sRGB cannot show is made greyer until it can: its lightness and hue stay, so that a grey picture keeps
    its own lightness whatever colours it is given. L is limited to 0 to 100.
    """
    flat = tf.reshape(tf.cast(lab, tf.float32), [-1, 3])
    flat = tf.concat([tf.clip_by_value(flat[:, :1], 0.0, 100.0), flat[:, 1:]], 1)
    linear = _linear(flat)
    outside = tf.where(~_shows(linear))

    def greyer() -> tf.Tensor:
        return tf.tensor_scatter_nd_update(linear, outside, _greyer(tf.gather_nd(flat, outside)))

    linear = tf.clip_by_value(tf.cond(tf.size(outside) > 0, greyer, lambda: linear), 0.0, 1.0)
    bright = 1.055 * tf.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    levels = tf.where(linear > 0.0031308, bright, linear * 12.92)
    return tf.reshape(tf.cast(tf.round(255 * levels), tf.uint8), tf.shape(lab))


def _linear(lab: tf.Tensor) -> tf.Tensor:
    """Convert Lab [N, 3] to linear red, green and blue, 0 to 1 where sRGB can show them: float32 [N, 3]."""
    y = (lab[:, 0] + 16) / 116
    roots = tf.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], -1)
    parts = tf.where(roots > SLOPE * DARK + OFFSET, roots**3, (roots - OFFSET) / SLOPE)
    return tf.matmul(parts, tf.constant((np.linalg.inv(XYZ) * WHITE).T, tf.float32))


def _shows(linear: tf.Tensor) -> tf.Tensor:
    """Say whether sRGB can show a colour, but for a third of a level: bool [N]."""
    return tf.reduce_all((linear > -1e-4) & (linear < 1 + 1e-4), 1)


def _greyer(lab: tf.Tensor) -> tf.Tensor:
    """Move colours that sRGB cannot show to the nearest of equal lightness and hue that it can.

    Colours are as `_linear` gives them.
    """
    shown, not_shown = tf.zeros_like(lab[:, :1]), tf.ones_like(lab[:, :1])
    for _ in range(BISECTIONS):
        middle = (shown + not_shown) / 2
        fits = _shows(_linear(tf.concat([lab[:, :1], middle * lab[:, 1:]], 1)))[:, None]
        shown, not_shown = tf.where(fits, middle, shown), tf.where(fits, not_shown, middle)
    return _linear(tf.concat([lab[:, :1], shown * lab[:, 1:]], 1))


@tf.function(jit_compile=True, autograph=False)
def lightness(images: tf.Tensor) -> tf.Tensor:
    """Return L of pictures: uint8 [B, H, W, 3] -> uint8 [B, H, W, 1]: L * 255 / 100, rounded (within 0.2 of L).

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
    """Return a and b of pictures at a quarter of their size: uint8 [B, S, S, 3] -> int8 [B, quarter(S), quarter(S), 2].

    Rounded. The colours are those of the mean of 4 x 4 pixels in sRGB, as a picture made smaller has them; where S is
    no multiple of 4 the mirror image of the last pixels fills the last cells.
    """
    # Not one function: XLA would sum up the pixels of a cell again for each of the numbers that Lab makes of them.
    return _round_ab(_sums_of_columns(_sums_of_rows(images)))


@tf.function(jit_compile=True, autograph=False)
def _sums_of_rows(images: tf.Tensor) -> tf.Tensor:
    """Sum every 4 rows, the last ones reflected: uint8 [B, S, S, 3] -> uint16 [B, quarter(S), quarter(S) * 4, 3]."""
    count, size = images.shape[:2]
    side = quarter(size)
    missing = SHRINK * side - size
    if missing:
        images = tf.pad(images, [[0, 0], [0, missing], [0, missing], [0, 0]], "SYMMETRIC")
    rows = tf.cast(tf.reshape(images, [count, side, SHRINK, side * SHRINK, 3]), tf.uint16)
    return sum(rows[:, :, row] for row in range(SHRINK))


@tf.function(jit_compile=True, autograph=False)
def _sums_of_columns(rows: tf.Tensor) -> tf.Tensor:
    """Sum every 4 columns: uint16 [B, s, s * 4, 3] -> [B, s, s, 3]."""
    count, side = rows.shape[:2]
    columns = tf.reshape(rows, [count, side, side, SHRINK, 3])
    return sum(columns[..., column, :] for column in range(SHRINK))


@tf.function(jit_compile=True, autograph=False)
def _round_ab(sums: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(rgb_to_lab(tf.cast(sums, tf.float32) / SHRINK**2)[..., 1:]), tf.int8)


@functools.cache
def gamut_bins() -> np.ndarray:
    """Return the bins of colours of Zhang et al. 2016: float32 [313, 2], a and b, by a, then b. See `GAMUT`."""
    points = [(a, b) for a, (first, last) in GAMUT.items() for b in range(first, last + GRID, GRID)]
    return np.array(points, np.float32)


def _cube_root(value: tf.Tensor) -> tf.Tensor:
    """Return Lab's cube root, of 0 and more."""
    # A power with a variable base takes TensorFlow four times as long.
    root = tf.exp(tf.math.log(tf.maximum(value, DARK)) * (1 / 3))
    return tf.where(value > DARK, root, SLOPE * value + OFFSET)


@functools.cache
def _linear_light() -> tuple[float, ...]:
    """Return coefficients, highest power first and without a constant, of linear light by sRGB level from 0 to 1.

    Least squares over the 256 levels, where each counts as much as it changes L.
    """
    levels = np.arange(256) / 255
    linear = np.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
    importance = np.where(linear > DARK, np.maximum(linear, DARK) ** (-2 / 3) / 3, SLOPE)
    powers = levels[:, None] ** np.arange(DEGREE, 0, -1)
    fitted = np.linalg.lstsq(powers * importance[:, None], linear * importance, rcond=None)[0]
    return tuple(float(value) for value in fitted)
