"""Signatures of dense targets: what is found at places of a picture, of encoded pictures and of pixels.

A network's map becomes what is found by the `Decoder` of its target, in the graph: the same wherever it is measured,
drawn or served.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfssl.export.signatures import limits
from tfssl.export.signatures.encoder import Signature, image_bytes
from tfssl.pipelines.decoding.headers import read_headers
from tfssl.pipelines.decoding.orientation import upright_size

Decoder = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""A map float32 [N, h, w, C] -> what is found, by name, [N, ...] each."""

NAMES = {"keypoints": "keypoints", "segmentation": "segment", "normals": "normals"}
"""Target -> the name of its signature; that of pixels has `_pixels` behind it."""
INPUTS: dict[str, tuple[str, ...]] = {
    f"{name}{behind}": (given,)
    for name in NAMES.values()
    for behind, given in (("", "image_bytes"), ("_pixels", "pixels"))
}
"""The signatures of dense targets, with the names of their inputs."""
WINDOW = 1
"""Places on each side of the likeliest one, whose mean place is the joint's."""


def joints(heat: tf.Tensor) -> dict[str, tf.Tensor]:
    """Find the joints in heat maps, float32 [N, h, w, J], each of sum 1.

    The mean place of the probability in a window of 3 x 3 around the likeliest one: finer than the map.

    Returns:
      "joints" float32 [N, J, 2]: x and y as shares of the picture's sides; "scores" float32 [N, J], 0 .. 1: the
      probability in that window.
    """
    height, width, count = heat.shape[1:]
    flat = tf.transpose(tf.reshape(heat, [-1, height * width, count]), [0, 2, 1])
    best = tf.argmax(flat, -1, tf.int32)
    rows, columns = best // width, best % width
    down, across = tf.range(height), tf.range(width)
    near_rows = tf.cast(tf.abs(down - rows[..., None]) <= WINDOW, heat.dtype)
    near_columns = tf.cast(tf.abs(across - columns[..., None]) <= WINDOW, heat.dtype)
    window = tf.transpose(heat, [0, 3, 1, 2]) * near_rows[..., :, None] * near_columns[..., None, :]
    total = tf.reduce_sum(window, [2, 3])
    safe = tf.maximum(total, 1e-12)
    x = tf.reduce_sum(window * (tf.cast(across, heat.dtype) + 0.5), [2, 3]) / (safe * width)
    y = tf.reduce_sum(window * (tf.cast(down, heat.dtype) + 0.5)[:, None], [2, 3]) / (safe * height)
    return {"joints": tf.stack([x, y], -1), "scores": total}


def class_map(shares: tf.Tensor) -> dict[str, tf.Tensor]:
    """Name each pixel by its most probable class, of probabilities float32 [N, S, S, C].

    Returns:
      "class_map" int32 [N, S, S], and "probability" float32 [N, S, S] of it.
    """
    return {"class_map": tf.argmax(shares, -1, tf.int32), "probability": tf.reduce_max(shares, -1)}


def normals(vectors: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return "normals" as they are: float32 [N, S, S, 3], of length 1; x right, y up, z towards the camera."""
    return {"normals": vectors}


DECODERS: dict[str, Decoder] = {"keypoints": joints, "segmentation": class_map, "normals": normals}
"""Target -> what makes of its map what is found."""


def dense_signatures(network: keras.Model, target: str) -> list[Signature]:
    """Make the signature of a target, of `image_bytes` string [N] and of `pixels` uint8 [N, size, size, 3].

    Both return what the target's decoder gives, and that of bytes `valid` bool [N] too; a row that is no picture gives
    false and zeros. Joints are x and y in pixels: of the picture as it was sent, upright, or of `pixels`. Maps are of
    the centred square, `size` pixels a side.

    Args:
      network: uint8 [N, size, size, 3] -> a map.
    """
    size, decode = int(network.input_shape[1]), DECODERS[target]
    decode_pictures = limits.decoder(size)

    def from_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(images)
        found = decode(network(limits.at_least_one(images, count), training=False))
        if "joints" in found:
            found["joints"] *= float(size)
        return {name: rows[:count] for name, rows in found.items()}

    def from_bytes(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        encoded = limits.at_least_one(encoded, count)
        images, valid = decode_pictures(encoded)
        found = decode(network(images, training=False))
        if "joints" in found:
            found["joints"] = in_picture(found["joints"], *upright_size(read_headers(encoded)))
        for name, rows in found.items():
            is_valid = tf.reshape(valid, [-1] + [1] * (rows.shape.rank - 1))
            found[name] = tf.where(is_valid, rows, tf.zeros([], rows.dtype))
        return {name: rows[:count] for name, rows in (found | {"valid": valid}).items()}

    decoded = tf.TensorSpec([None, size, size, 3], tf.uint8, name="pixels")
    name = NAMES[target]
    return [
        Signature(name, (image_bytes(),), from_bytes),
        Signature(f"{name}_pixels", (decoded,), from_pixels),
    ]


def in_picture(joints: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Convert x and y, float32 [N, J, 2], from shares of the centred square's side to pixels of the whole picture.

    Args:
      height, width: of the pictures, int32 [N].
    """
    side = tf.minimum(height, width)
    corner = tf.stack([(width - side) // 2, (height - side) // 2], -1)
    return joints * tf.cast(side, tf.float32)[:, None, None] + tf.cast(corner, tf.float32)[:, None, :]
