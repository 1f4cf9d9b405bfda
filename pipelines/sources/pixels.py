"""Pictures as people have them in Python, encoded or as arrays of any kind; as encoded bytes."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfssl.base.errors import UserError

EXPECTED = "expected encoded bytes, or arrays [height, width, 3], one by one or in batches, of 0..255 or of 0..1"
CHANNELS = (1, 2, 3, 4)
"""Of PNG: grey, with transparency, colour, with transparency."""
OVERSHOOT = 0.25
"""Share of the range by which interpolation (bicubic, Lanczos) may leave it; what is beyond was scaled otherwise."""
BYTE = 255.0


class Kind(NamedTuple):
    """What the pictures of a data set are.

    Attributes:
      dtype: of their numbers; string where they are encoded.
      batched: whether an element holds several.
      grey: whether they have no channels: [H, W].
    """

    dtype: tf.DType
    batched: bool
    grey: bool


def kind_of(name: str, image: Any, label: Any = None) -> Kind:
    """Say what pictures are by the specification of an element: of its picture and, where there is one, its label.

    Args:
      name: of the data, for errors.

    Raises:
      UserError: no tensors, an unknown shape, or one that is not that of pictures.
    """
    for what, spec in (("images", image), ("labels", label)):
        if spec is not None and not isinstance(spec, tf.TensorSpec):
            raise UserError(f"{name}: {what} are a {type(spec).__name__}; {EXPECTED}")
    shape, dtype = image.shape, image.dtype
    if dtype == tf.string:
        if shape.rank not in (0, 1):
            raise refusal(name, dtype, shape)
        kind = Kind(dtype, shape.rank == 1, False)
    else:
        if shape.rank is None:
            raise UserError(
                f"{name}: images have no known shape; call set_shape([None, None, 3]) on them, if they have it"
            )
        if shape.rank not in (2, 3, 4) or not (dtype.is_floating or dtype.is_integer):
            raise refusal(name, dtype, shape)
        grey = shape.rank == 2 or (shape.rank == 3 and shape[-1] not in (*CHANNELS, None))
        # [N, H, W] as of MNIST in batches, and not one picture with its channels first.
        alike = label is not None and label.shape.rank and label.shape[0] == shape[0]
        batch_of_grey = shape[0] is None or (alike and shape[0] not in CHANNELS)
        if (shape.rank == 4 and shape[-1] not in (*CHANNELS, None)) or (grey and shape.rank == 3 and not batch_of_grey):
            raise refusal(name, dtype, shape)
        kind = Kind(dtype, shape.rank == (3 if grey else 4), grey)
    if kind.batched and label is not None and label.shape.rank == 0:
        raise UserError(f"{name}: pictures {shape} come in batches, but each with one label only; {EXPECTED}")
    return kind


def refusal(name: str, dtype: Any, shape: Any) -> UserError:
    """Make the line that says what pictures are, and what they should be."""
    return UserError(f"{name}: images are {dtype.name} {shape}; {EXPECTED}")


def find_scale(name: str, dataset: tf.data.Dataset, kind: Kind) -> float:
    """Return what numbers are multiplied with to be 0..255, from the least and the largest of all pictures.

    Not from each alone, or a dark picture would become a bright one. So floats are read twice.

    Raises:
      UserError: numbers that are not finite, or of another range, as -1..1 or with a mean taken away.
    """
    if kind.dtype in (tf.string, tf.uint8):
        return 1.0

    def extremes(image: tf.Tensor, *label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        del label
        values = tf.cast(image, tf.float32)
        return tf.reduce_min(values), tf.reduce_max(values), tf.reduce_all(tf.math.is_finite(values))

    def merge(before: tuple[tf.Tensor, ...], new: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        return tf.minimum(before[0], new[0]), tf.maximum(before[1], new[1]), before[2] & new[2]

    each = dataset.map(extremes, num_parallel_calls=tf.data.AUTOTUNE)
    low, high, finite = (value.numpy() for value in each.reduce((0.0, 0.0, True), merge))
    if not finite:
        raise UserError(f"{name}: images hold numbers that are not finite; {EXPECTED}")
    allowed = OVERSHOOT if kind.dtype.is_floating else 0.0
    for top, scale in ((1.0, BYTE), (BYTE, 1.0)) if kind.dtype.is_floating else ((BYTE, 1.0),):
        # Of 0..255 something is bright: what ends at 3 has had a mean taken away.
        bright = top == 1.0 or not allowed or high >= BYTE / 4
        if bright and -allowed * top <= low and high <= (1 + allowed) * top:
            return scale
    raise UserError(
        f"{name}: images hold numbers from {low:g} to {high:g}; expected 0..255, or floats 0..1: give them before any"
        " preprocessing, which is a part of the encoder here"
    )


def encode(image: tf.Tensor, kind: Kind, scale: float) -> tf.Tensor:
    """Encode a picture as PNG, in the graph; leave one that is encoded as it is."""
    if kind.dtype == tf.string:
        return image
    if kind.dtype != tf.uint8:
        image = tf.cast(tf.round(tf.clip_by_value(tf.cast(image, tf.float32) * scale, 0.0, BYTE)), tf.uint8)
    return tf.io.encode_png(image[..., tf.newaxis] if kind.grey else image)
