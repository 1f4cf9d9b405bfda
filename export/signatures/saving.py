"""Signatures as a SavedModel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfssl.export.quietly import only_errors_logged
from tfssl.export.signatures.encoder import Signature


def write_saved_model(signatures: Sequence[Signature], folder: Path, tracked: Sequence[Any] = ()) -> None:
    """Write a SavedModel that answers to these signatures.

    Args:
      tracked: what they look up beside variables: dictionaries.
    """
    # `keras.export.ExportArchive` traces each signature twice and writes each weight twice (Keras 3.15).
    traced = {
        each.name: tf.function(each.function, input_signature=each.inputs, autograph=False).get_concrete_function()
        for each in signatures
    }
    module = tf.Module()
    for name, function in traced.items():
        setattr(module, name, function)
    module.weights = list({id(weight): weight for each in traced.values() for weight in each.variables}.values())
    module.tracked = list(tracked)
    with only_errors_logged():
        tf.saved_model.save(module, str(folder), signatures=traced)
