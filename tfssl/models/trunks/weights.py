"""Files of weights of Keras, read into a network without its classifier; the file may have one."""

import hashlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np

TROUBLES = (ValueError, OSError, KeyError, UserWarning, zipfile.BadZipFile)
"""What Keras raises where a file holds something else."""


def read(model: keras.Model, path: str | Path, with_top: Callable[[int], keras.Model] | None = None) -> None:
    """Read weights into a network without its classifier.

    Files of Keras 3 ('.weights.h5', '.keras') count the layers of each kind, so those of a classifier, which come last,
    are not looked at. Older ones ('.h5', as Keras's downloads are) have all layers in a row, and must have as many.

    Args:
      model: built.
      path: what `Model.save_weights` or `Model.save` wrote, or what Keras downloads.
      with_top: makes the network with a classifier of so many classes; None where there is none.

    Raises:
      one of TROUBLES: something else is in the file. Some of the model's weights may be the file's then.
    """
    try:
        _load(model, path)
    except TROUBLES:
        classes = None if with_top is None else _classes(path)
        if with_top is None or classes is None:
            raise
        whole = with_top(classes)
        _load(whole, path)
        rows = ([layer for layer in each.layers if layer.weights] for each in (model, whole))
        for layer, other in zip(*rows, strict=False):  # names of layers may count on from network to network
            layer.set_weights(other.get_weights())


def _load(model: keras.Model, path: str | Path) -> None:
    with warnings.catch_warnings():
        # For some files of another network Keras only warns, and leaves layers with random weights.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)


def _classes(path: str | Path) -> int | None:
    """Return how many outputs the last layer has in a file whose layers stand in a row; None of other files."""
    try:
        with h5py.File(path) as file:
            group = file if "layer_names" in file.attrs else file["model_weights"]
            layers = [group[name] for name in group.attrs["layer_names"]]
            last = [layer for layer in layers if len(layer.attrs["weight_names"])][-1]
            return int(last[last.attrs["weight_names"][0]].shape[-1])
    except (OSError, KeyError, IndexError):
        return None


def of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file, as `sha256sum` says it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_model(model: keras.Model) -> str:
    """Return a SHA-256 of a model's weights, in their order."""
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
