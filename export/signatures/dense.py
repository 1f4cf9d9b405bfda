"""Signatures of dense targets: what is found at places of a picture, of encoded pictures and of pixels.

A network's map becomes what is found by the `Decoder` of its target, in the graph: the same wherever it is measured,
drawn or served.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfssl.export.signatures import limits
from tfssl.export.signatures.encoder import Signature, image_bytes
from tfssl.pipelines.decoding.headers import read_headers
from tfssl.pipelines.decoding.orientation import upright_size

Decoder = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""A map float32 [N, h, w, C] -> what is found, by name, [N, ...] each."""

NAMES = {"keypoints": "keypoints", "segmentation": "segment", "normals": "normals", "detection": "detect"}
"""Target -> the name of its signature; that of pixels has `_pixels` behind it."""
INPUTS: dict[str, tuple[str, ...]] = {
    f"{name}{behind}": (given,)
    for name in NAMES.values()
    for behind, given in (("", "image_bytes"), ("_pixels", "pixels"))
}
"""The signatures of dense targets, with the names of their inputs."""
PLACES = ("joints", "boxes")
"""What consists of pairs of x and y."""
DETECTIONS = 100
"""Boxes of a picture at most, as COCO counts them."""
CONSIDERED = 300
"""Boxes of the highest probability among which they are chosen."""
LEAST_SCORE, OVERLAP = 0.01, 0.5
"""Least probability of a box, and the largest intersection over union of two of a class."""
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


def boxes(map_: tf.Tensor) -> dict[str, tf.Tensor]:
    """Choose among boxes, float32 [N, A, 1, 4 + C]: x, y of the middle, width, height as shares; probabilities.

    Those of the highest probability, of two of a class that overlap the better one: non-maximum suppression.

    Returns:
      "boxes" float32 [N, 100, 4]: left, top, right, bottom as shares of the picture's sides, the best first, then
      zeros; "classes" int32 [N, 100]; "scores" float32 [N, 100]; "count" int32 [N]: how many there are.
    """
    flat = map_[:, :, 0]
    best = tf.math.top_k(tf.reduce_max(flat[..., 4:], -1), min(CONSIDERED, flat.shape[1])).indices
    chosen = tf.gather(flat, best, batch_dims=1)
    x, y, width, height = tf.unstack(chosen[..., :4], axis=-1)
    corners = tf.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], -1)
    kept = tf.image.combined_non_max_suppression(
        corners[:, :, None], chosen[..., 4:], DETECTIONS, DETECTIONS, OVERLAP, LEAST_SCORE
    )
    return {
        "boxes": tf.gather(kept.nmsed_boxes, [1, 0, 3, 2], axis=2),
        "classes": tf.cast(kept.nmsed_classes, tf.int32),
        "scores": kept.nmsed_scores,
        "count": kept.valid_detections,
    }


DECODERS: dict[str, Decoder] = {
    "keypoints": joints,
    "segmentation": class_map,
    "normals": normals,
    "detection": boxes,
}
"""Target -> what makes of its map what is found."""


def dense_signatures(network: keras.Model, target: str, names: Sequence[str] = ()) -> list[Signature]:
    """Make the signature of a target, of `image_bytes` string [N] and of `pixels` uint8 [N, size, size, 3].

    Both return what the target's decoder gives, and that of bytes `valid` bool [N] too; a row that is no picture gives
    false and zeros. Joints and corners of boxes are x and y in pixels: of the picture as it was sent, upright, or of
    `pixels`. Of boxes `labels` string [N, 100] has the names, "" behind the last box. Maps are of the centred square,
    `size` pixels a side.

    Args:
      network: uint8 [N, size, size, 3] -> a map.
      names: of the classes of boxes.
    """
    size, find = int(network.input_shape[1]), DECODERS[target]
    decode_pictures = limits.decoder(size)

    def decode(images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = find(network(images, training=False))
        if "classes" in found:
            found["labels"] = tf.where(are_there(found), tf.gather(tf.constant(names), found.pop("classes")), "")
        return found

    def from_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(images)
        found = decode(limits.at_least_one(images, count))
        found |= {name: found[name] * float(size) for name in PLACES if name in found}
        return {name: rows[:count] for name, rows in found.items()}

    def from_bytes(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        encoded = limits.at_least_one(encoded, count)
        images, valid = decode_pictures(encoded)
        found, sides = decode(images), upright_size(read_headers(encoded))
        found |= {name: in_picture(found[name], *sides) for name in PLACES if name in found}
        if "boxes" in found:
            found["boxes"] = tf.where(are_there(found)[..., None], found["boxes"], 0.0)
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


def are_there(found: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return which of the boxes that were found are any, bool [N, 100]; behind them are zeros."""
    return tf.range(found["scores"].shape[1]) < found["count"][:, None]


def in_picture(places: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Convert x and y from shares of the centred square's side to pixels of the whole picture.

    Args:
      places: float32 [N, J, 2], or [N, J, 4] of corners.
      height, width: of the pictures, int32 [N].
    """
    side = tf.minimum(height, width)
    corner = tf.stack([(width - side) // 2, (height - side) // 2], -1)
    corners = tf.tile(tf.cast(corner, tf.float32), [1, places.shape[-1] // 2])
    return places * tf.cast(side, tf.float32)[:, None, None] + corners[:, None, :]
