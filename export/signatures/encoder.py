"""What an export answers to: each signature is a function of named inputs, within the limits of `export.limits`."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from tfssl.export.signatures import limits

INPUTS: dict[str, tuple[str, ...]] = {
    "serving_default": ("image_bytes",),
    "pixels": ("pixels",),
    "waveform": ("waveform",),
}
"""The signatures of encoders, with the names of their inputs."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature of an encoder, or of a head: see `export.signatures.heads`.

    Attributes:
      name: the name of the signature.
      inputs: their types and shapes; N of each is the same, and unknown.
      function: maps these tensors to outputs by name, [N, ...] each. It may be called with the tensors as they are.
    """

    name: str
    inputs: tuple[tf.TensorSpec, ...]
    function: Callable[..., dict[str, tf.Tensor]]


def image_bytes() -> tf.TensorSpec:
    """Make the input of encoded pictures: string [N]."""
    return tf.TensorSpec([None], tf.string, name="image_bytes")


def waveform(samples: int) -> tf.TensorSpec:
    """Make the input of windows of sound: float32 [N, samples]."""
    return tf.TensorSpec([None, samples], tf.float32, name="waveform")


def encoder_signatures(encoder: keras.Model, size: int, sound: keras.Model | None = None) -> list[Signature]:
    """Make `serving_default` and `pixels`, and `waveform` where there is a sound encoder.

    Args:
      encoder: uint8 [N, size, size, 3] -> float32 [N, D].
      size: pixels of a side.
      sound: float32 [N, samples] -> float32 [N, D].
    """
    decode = limits.decoder(size)

    def from_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(images)
        return {"embedding": encoder(limits.at_least_one(images, count), training=False)[:count]}

    def from_bytes(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        images, valid = decode(limits.at_least_one(encoded, count))
        embedding = tf.where(valid[:, None], encoder(images, training=False), 0.0)
        return {"embedding": embedding[:count], "valid": valid[:count]}

    def from_waveform(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(rows)
        waves, valid = limits.waveforms(limits.at_least_one(rows, count))
        embedding = tf.where(valid[:, None], sound(waves, training=False), 0.0)  # type: ignore[misc]
        return {"embedding": embedding[:count], "valid": valid[:count]}

    decoded = tf.TensorSpec([None, size, size, 3], tf.uint8, name="pixels")
    signatures = [
        Signature("serving_default", (image_bytes(),), from_bytes),
        Signature("pixels", (decoded,), from_pixels),
    ]
    if sound is not None:
        signatures.append(Signature("waveform", (waveform(sound.input_shape[1]),), from_waveform))
    return signatures
