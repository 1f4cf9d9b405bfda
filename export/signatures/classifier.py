"""Signatures of a classifier: the name of the class beside its probability, of encoded pictures and of pixels."""

import keras
import tensorflow as tf

from tfssl.export.signatures import limits
from tfssl.export.signatures.encoder import Signature, image_bytes

INPUTS: dict[str, tuple[str, ...]] = {"classify": ("image_bytes",), "classify_pixels": ("pixels",)}
"""The signatures of classifiers, with the names of their inputs."""
PIXELS = "classify_pixels"
LIKELY = 0.5
"""Probability from which a picture has a label, where it may have several."""


def tensors_of(kind: str) -> tuple[str, str]:
    """Return the names of the input and of the output of a file for other runtimes, by the signature that it is."""
    # That of "waveform" and of "numbers" have the name of their signature.
    return ("pixels", "probabilities") if kind == PIXELS else (kind, "embedding")


def classifier_signatures(network: keras.Model, classes: tuple[str, ...], several: bool) -> list[Signature]:
    """Make `classify` and `classify_pixels`.

    Both return `label` string [N], `probability` float32 [N] of it, `probabilities` float32 [N, C] in the order of
    `classes`, and `classify` also `valid` bool [N]; a row that is no picture gives false, "" and zeros. Where a picture
    may have several labels, `label` has all that are at least as likely as not, with ; between them, "" for none, and
    `probability` is the largest of all.

    Args:
      network: uint8 [N, size, size, 3] -> probabilities float32 [N, C].
    """
    size = int(network.input_shape[1])
    names, decode = tf.constant(classes), limits.decoder(size)

    def answers(shares: tf.Tensor) -> dict[str, tf.Tensor]:
        if several:
            each = tf.where(shares >= LIKELY, names, "")
            # Names have no ; in them: it stands between labels in the table that they are from.
            label = tf.strings.regex_replace(tf.strings.reduce_join(each, -1, separator=";"), ";+", ";")
            label = tf.strings.regex_replace(label, "^;|;$", "")
        else:
            label = tf.gather(names, tf.argmax(shares, -1))
        return {"label": label, "probability": tf.reduce_max(shares, -1), "probabilities": shares}

    def from_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(images)
        made = answers(network(limits.at_least_one(images, count), training=False))
        return {name: rows[:count] for name, rows in made.items()}

    def from_bytes(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        images, valid = decode(limits.at_least_one(encoded, count))
        made = answers(network(images, training=False))
        made["label"] = tf.where(valid, made["label"], "")
        made["probability"] = tf.where(valid, made["probability"], 0.0)
        made["probabilities"] = tf.where(valid[:, None], made["probabilities"], 0.0)
        return {name: rows[:count] for name, rows in (made | {"valid": valid}).items()}

    decoded = tf.TensorSpec([None, size, size, 3], tf.uint8, name="pixels")
    return [
        Signature("classify", (image_bytes(),), from_bytes),
        Signature(PIXELS, (decoded,), from_pixels),
    ]
