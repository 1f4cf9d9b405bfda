"""Whole pictures at their own size, one at a time: for commands that hand pictures back, not for training."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.pipelines import decoding, headers, sources

_NEVER_SHRUNK = 2**29


class Listed(NamedTuple):
    """A picture that was named, or lies in a folder that was.

    Attributes:
      path: of the file.
      name: where a PNG made of it belongs, relative to the folder of the results: "sub/old.png".
    """

    path: Path
    name: Path


def list_pictures(given: str | Path | Iterable[str | Path]) -> list[Listed]:
    """The pictures of files and folders (any depth), in order. Files are taken as they are, whatever their ending.

    Of pictures that would have the same name, as old.jpg and old.png, each keeps its ending: "old.jpg.png".

    Raises:
      UserError: something that is not there, or no picture at all.
    """
    found: list[tuple[Path, Path]] = []
    for one in [given] if isinstance(given, (str, Path)) else given:
        place = Path(one)
        if place.is_dir():
            found += [(place / inside, Path(inside)) for inside in sources.walk(place)[0]]
        elif place.is_file():
            found.append((place, Path(place.name)))
        else:
            raise UserError(f"{place} does not exist; expected a picture or a folder of pictures")
    if not found:
        raise UserError(f"no picture in {given}; expected files that end in {', '.join(sources.ENDINGS)}")
    found = list(dict.fromkeys(found))
    count = Counter(inside.with_suffix(".png") for _, inside in found)
    named = [
        (path, inside.with_suffix(".png") if count[inside.with_suffix(".png")] == 1 else Path(f"{inside}.png"))
        for path, inside in found
    ]
    for name, times in Counter(name for _, name in named).items():
        if times > 1:
            both = " and ".join(str(path) for path, each in named if each == name)
            raise UserError(f"{both} would both become {name}; give them in two calls, with another --to")
    return [Listed(path, name) for path, name in named]


def decode(data: bytes) -> np.ndarray:
    """One encoded picture (JPEG, PNG, GIF, BMP, WebP; the first frame of a film) as it is meant to be seen.

    Turned upright by its EXIF orientation, colours over white where it is transparent: the pixels that `pixels` crops.

    Args:
      data: the bytes of a file.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: no picture, a broken or an enormous one. The message goes on from the file's name: "is no picture".
    """
    kind, height, width, orientation, problem = _header_reader()(data).numpy()
    if problem:
        raise ValueError(headers.PROBLEMS[problem])
    try:
        stored = _decoder()(data, kind, [0, 0, height, width]).numpy()
    except tf.errors.OpError as error:
        raise ValueError("cannot be decoded to its end") from error
    return upright(stored, int(orientation))


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """A picture [h, w, ...] as stored -> as its EXIF orientation, 1 to 8, says that it is meant to be seen."""
    turned = stored.swapaxes(0, 1) if orientation >= 5 else stored
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return np.ascontiguousarray(turned)


@functools.cache
def _header_reader() -> Callable[..., tf.Tensor]:
    def read(data: tf.Tensor) -> tf.Tensor:
        return tf.stack(headers.read_header(data))

    return tf.function(read, input_signature=[tf.TensorSpec([], tf.string)])


@functools.cache
def _decoder() -> Callable[..., tf.Tensor]:
    def read(data: tf.Tensor, kind: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        # The accurate transform, as in `decoding`: the pixels that Pillow gives too.
        return tf.cond(
            kind == headers.JPEG,
            lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
            lambda: decoding.decode_other(data, kind, window, _NEVER_SHRUNK),
        )

    specs = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32), tf.TensorSpec([4], tf.int32)]
    return tf.function(read, input_signature=specs)
