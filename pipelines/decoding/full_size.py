"""Whole pictures at their own size, one at a time: for commands that hand pictures back, not for training."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.explicit import explicit
from tfssl.pipelines.decoding import formats, headers
from tfssl.pipelines.sources import folders, walking

_NEVER_SHRUNK = 2**29


class Listed(NamedTuple):
    """A picture that was named, or lies in a folder that was.

    Attributes:
      path: the path of the file.
      name: where what is made of it belongs, relative to the folder of the results: "sub/old.png", or "sub/old.mp4".
    """

    path: Path
    name: Path


def list_pictures(given: str | Path | Iterable[str | Path], also: tuple[str, ...] = ()) -> list[Listed]:
    """List the pictures of files and folders (any depth), in order. Files are taken whatever the ending of their name.

    Of files that would have the same name, as old.jpg and old.png, each keeps its ending: "old.jpg.png". Files that end
    in one of `also`, which are films, come last, and MP4 is made of them: "old.mp4".

    Raises:
      UserError: something that is not there, or no picture at all.
    """
    pictures: list[tuple[Path, Path]] = []
    others: list[tuple[Path, Path]] = []
    holds = ""
    places = [given] if isinstance(given, (str, Path)) else list(given)
    for one in places:
        place = Path(one)
        if os.path.isdir(place):
            found = walking.walk(place, (*folders.ENDINGS, *also))
            walking.say_unread(place, found)
            holds = holds or walking.only_unread(found)
            inside = [Path(path) for path in found.paths]
        elif os.path.lexists(place):
            place, inside = place.parent, [Path(place.name)]
        else:
            raise UserError(f"{place} {walking.problem_of(place)}; expected a picture or a folder of pictures")
        for path in inside:
            (others if path.suffix.lower() in also else pictures).append((place / path, path))
    if not pictures and not others:
        endings = ", ".join((*folders.ENDINGS, *also))
        raise UserError(f"no picture in {', '.join(map(str, places))}{holds}; expected files that end in {endings}")
    named = [*_named(pictures, ".png"), *_named(others, ".mp4")]
    for name, times in Counter(name for _, name in named).items():
        if times > 1:
            both = " and ".join(str(path) for path, each in named if each == name)
            raise UserError(f"{both} would both become {name}; give them in two calls, with another --out")
    return [Listed(path, name) for path, name in named]


def _named(given: list[tuple[Path, Path]], ending: str) -> list[tuple[Path, Path]]:
    """Return each path once, with the name of what is made of it. Pairs are a path and where it lies in its folder."""
    once = list(dict.fromkeys(given))
    count = Counter(inside.with_suffix(ending) for _, inside in once)
    return [
        (path, inside.with_suffix(ending) if count[inside.with_suffix(ending)] == 1 else Path(f"{inside}{ending}"))
        for path, inside in once
    ]


def decode(data: bytes) -> np.ndarray:
    """Decode one picture (JPEG, PNG, GIF, BMP, WebP; the first frame of a film) as it is meant to be seen.

    Turned upright by its EXIF orientation, colours over white where it is transparent: the pixels that `pixels` crops.

    Args:
      data: the bytes of a file.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: no picture, a broken or an enormous one. The message follows the file's name: "is no picture".
    """
    header = _header_reader()(data)
    if header.problem:
        raise ValueError(headers.PROBLEMS[int(header.problem)])
    try:
        return _decoder()(data, header).numpy()
    except tf.errors.OpError as error:
        raise ValueError("cannot be decoded to its end") from error


def decode_in_graph(data: tf.Tensor, header: headers.Header) -> tf.Tensor:
    """Do `decode` in the graph, where it raises: string scalar and header, int32 scalars -> uint8 [height, width, 3].

    One whose header has a problem is not decoded.
    """
    kind = tf.where(header.problem == 0, header.format, headers.UNKNOWN)
    # The accurate transform, as in `decoding`: the pixels that Pillow gives too.
    stored = tf.cond(
        kind == headers.JPEG,
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: formats.decode_other(data, kind, tf.stack([0, 0, header.height, header.width]), _NEVER_SHRUNK),
    )
    return upright(stored, header.orientation)


def upright(stored: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn a picture uint8 [h, w, 3], as stored, as its EXIF orientation, 1 to 8, says that it is meant to be seen."""
    turned = tf.cond(orientation >= 5, lambda: tf.transpose(stored, [1, 0, 2]), lambda: stored)
    down, right = (tf.reduce_any(orientation == which) for which in ([3, 4, 7, 8], [2, 3, 6, 7]))
    turned = tf.cond(down, lambda: turned[::-1], lambda: turned)
    return tf.cond(right, lambda: turned[:, ::-1], lambda: turned)


def over_pictures(data: tf.Tensor, header: headers.Header, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Map a function over whole pictures, in the graph, one after another; one that is broken leaves the rest alone.

    Args:
      data: string [N].
      header: the header of these, int32 [N] each.
      function: uint8 [height, width, 3] -> string scalar.

    Returns:
      string [N], empty for what cannot be decoded.
    """

    @explicit
    def one(row: tuple[tf.Tensor, headers.Header]) -> tf.Tensor:
        image, valid = _decoder_of_any()(*row)
        return tf.cond(valid, lambda: function(tf.ensure_shape(image, [None, None, 3])), lambda: "")

    return tf.map_fn(one, (data, header), parallel_iterations=1, fn_output_signature=tf.TensorSpec([], tf.string))


@functools.cache
def _header_reader() -> Callable[..., headers.Header]:
    specs = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda data: headers.read_header(data), input_signature=specs, autograph=False)


@functools.cache
def _decoder() -> Callable[..., tf.Tensor]:
    number = tf.TensorSpec([], tf.int32)
    specs = [tf.TensorSpec([], tf.string), headers.Header(*[number] * 5)]
    return tf.function(decode_in_graph, input_signature=specs, autograph=False)


@functools.cache
def _decoder_of_any() -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Do `_decoder`, and say whether it could: a graph made once, where eager code would make one for each picture."""

    def decode_any(data: tf.Tensor, header: headers.Header) -> tuple[tf.Tensor, tf.Tensor]:
        row = tf.data.Dataset.from_tensors((data, header))
        decoded = row.map(explicit(lambda *each: (decode_in_graph(*each), True))).ignore_errors()
        blank = tf.data.Dataset.from_tensors((tf.zeros([1, 1, 3], tf.uint8), False))
        return decoded.concatenate(blank).take(1).get_single_element()

    number = tf.TensorSpec([], tf.int32)
    specs = [tf.TensorSpec([], tf.string), headers.Header(*[number] * 5)]
    return tf.function(decode_any, input_signature=specs, autograph=False)
