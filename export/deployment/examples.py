"""Requests for the signatures of a SavedModel, made up: no picture of the run's own data is among them."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


def input_specs(folder: Path) -> dict[str, dict[str, tf.TensorSpec]]:
    """Return the inputs of each signature in a folder with a saved_model.pb: signature -> input -> type and shape."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return {
        name: {
            key: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))
            for key, info in signature.inputs.items()
        }
        for name, signature in saved.meta_graphs[0].signature_def.items()
        if signature.method_name.endswith("predict")  # not TensorFlow's own, such as __saved_model_init_op
    }


def example(specs: dict[str, tf.TensorSpec], rows: int, picture: tuple[int, int]) -> dict[str, Any]:
    """Make a request for one signature: JPEGs or words where it takes strings, arrays [rows, ...] of noise else.

    Args:
      specs: the specs of its inputs.
      rows: how many.
      picture: height and width of a JPEG in pixels.
    """
    made: dict[str, Any] = {}
    for name, spec in specs.items():
        shape = [rows, *spec.shape[1:]]
        noise = np.random.default_rng(0)
        if spec.dtype == tf.string and not name.endswith("_bytes"):
            made[name] = [b"a word" if name == "sentences" else b"word"] * rows
        elif spec.dtype == tf.string:
            made[name] = [_jpeg(number, picture) for number in range(rows)]
        elif spec.dtype == tf.uint8:
            made[name] = noise.integers(0, 256, shape, np.uint8)
        else:
            made[name] = noise.uniform(-0.1, 0.1, shape).astype(spec.dtype.as_numpy_dtype)
    return made


@functools.cache  # requests of several sizes, for several signatures, begin with the same ones
def _jpeg(number: int, picture: tuple[int, int]) -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3))
    return tf.io.encode_jpeg(tf.cast(tf.image.resize(coarse, picture), tf.uint8), quality=90).numpy()
