"""Pictures that Python holds: arrays and lists, alone or with labels, as they are passed to `fit`; lists of files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.sources import pixels
from tfssl.pipelines.sources.datasets import from_dataset
from tfssl.pipelines.sources.folders import open_files
from tfssl.pipelines.sources.pictures import PictureSource

NAME = "arrays"
EXPECTED = (
    "expected a folder, 'toy:images' or 'tfds:NAME', or in Python a tf.data.Dataset, arrays x or (x, y), or a list of"
    " files"
)


def open_arrays(data: Any) -> PictureSource:
    """Open arrays of pictures, in memory, or a list of files, which are read when needed.

    Args:
      data: x, a tuple (x, y), or {"image": x, "label": y}. x is pictures [N, H, W, C] or [N, H, W], as an array or a
        tensor, or a list of arrays of one shape: see `datasets.from_dataset`; or a list of encoded pictures, as bytes;
        or of files. y is labels: see `labels.number`.

    Raises:
      UserError: something else; x and y of different lengths; a file that is missing.
    """
    x, y = data, None
    if isinstance(data, dict) and "image" in data:
        x, y = data["image"], data.get("label")
    elif isinstance(data, (list, tuple)) and data and all(isinstance(part, (tuple, tf.data.Dataset)) for part in data):
        # As of `load_data()`, and of `image_dataset_from_directory(subset="both")`.
        raise UserError(
            f"{len(data)} data sets are given as one; give what to train on as data, what to test on as test"
        )
    elif isinstance(data, tuple):
        if len(data) != 2:
            raise UserError(f"a tuple of {len(data)} is given; {EXPECTED}")
        x, y = data
    if isinstance(x, tf.data.Dataset):
        raise UserError(
            f"a tf.data.Dataset is given beside {_describe(y)}; give it alone, with its labels inside of it"
        )
    if not (isinstance(x, list) or tf.is_tensor(x) or hasattr(x, "__array__")):
        raise UserError(f"{_describe(x)} is given; {EXPECTED}")
    rows = _rows(x)
    if y is not None:
        y = y if isinstance(y, (list, tuple)) else np.atleast_1d(y)
        if len(y) != len(rows):
            raise UserError(f"{len(rows)} pictures are given with {len(y)} labels; expected one each")
    if not len(rows):
        raise UserError(f"no picture in {NAME}; expected at least one")
    if isinstance(rows, list) and isinstance(rows[0], Path):
        return open_files(rows, y)
    with tf.device("CPU"):  # or all of it goes to a GPU first
        return from_dataset(tf.data.Dataset.from_tensor_slices(rows), NAME, labels=y)


def _rows(x: Any) -> Any:
    """Return files as a list of paths, or pictures as something that has them along its first dimension."""
    if not isinstance(x, list):
        array = np.asarray(x)
        if array.dtype.kind not in "OSU" or array.ndim != 1:
            _check_shape(array)
            return array
        x = array.tolist()
    if all(isinstance(each, (str, os.PathLike)) for each in x):
        return [Path(each) for each in x]
    if all(isinstance(each, bytes) for each in x):
        return tf.constant(x)  # not by NumPy, whose strings lose zeros at their end
    odd = [each for each in x if not (isinstance(each, np.ndarray) or tf.is_tensor(each))]
    if odd:
        raise UserError(f"{_describe(odd[0])} is given in a list; {EXPECTED}")
    shapes = sorted({tuple(each.shape) for each in x})
    if len(shapes) > 1 or len(shapes[0]) not in (2, 3):
        shown = " and ".join(str(list(shape)) for shape in shapes[:2])
        raise UserError(f"a list of arrays {shown} is given; expected pictures of one size, and labels as (x, y)")
    return np.stack([np.asarray(each) for each in x])


def _check_shape(array: np.ndarray) -> None:
    """Refuse what is one picture, or none."""
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in pixels.CHANNELS):
        raise pixels.refusal(NAME, array.dtype, array.shape)
    if array.ndim == 3 and array.shape[-1] in pixels.CHANNELS:
        raise UserError(
            f"an array {list(array.shape)} is given, which is one picture; expected [pictures, ...]: x[None]"
        )


def _describe(thing: Any) -> str:
    """Name what something is, without what it holds."""
    if thing is None:
        return "None"
    kind = type(thing).__name__
    kind = f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"
    return f"{kind}, which can be read once," if hasattr(thing, "__next__") else kind
