"""Decoded pictures kept in memory: each is decoded once, and every crop of a training stream is cut from its pixels.

Where all pictures of a source are small (CIFAR), their squares are kept, a pixel in one int32: a batch of shifted
squares is one gather. Else whole pictures are kept, as stored and at the scales at which `pixels` would decode their
random boxes: a crop is a slice and a resize.

A source that would take more memory than it may is decoded anew each time. Whether it does is worked out from the sizes
of its pictures alone, not from the memory that is free, so the same run gives the same batches everywhere.

Squares are the pixels that decoding gives. Boxes of a JPEG differ at their sides, within one or two pixels, where the
decoder of a crop lacks the neighbours that it smooths colour with: there the kept picture is the better one.
"""

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tfssl.base.explicit import explicit
from tfssl.pipelines.decoding import formats, picture_crops, random_crops
from tfssl.pipelines.decoding.headers import JPEG, Header
from tfssl.pipelines.decoding.orientation import stored_box, turn_upright, upright_size
from tfssl.pipelines.ops import geometry
from tfssl.pipelines.progress import Progress

MEMORY = 1 << 30
"""Bytes that the decoded pictures of a source may take: CIFAR at 32 pixels takes 0.2 GB, 1800 photos at 224 take 1."""

BLOCK = 1 << 21
"""Bytes that come out of TensorFlow at once while pictures are decoded into memory."""

PIECE = 1 << 14
"""Bytes of a piece, of which pictures are put together that may differ in size."""

MOST = 256
"""Squares or pieces that come at once, at most, where these are small: so that progress is steady."""


class Pictures(Protocol):
    """What is read of a source of pictures, see `sources.pictures.PictureSource`."""

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def header(self) -> np.ndarray: ...
    def reader(self) -> Any: ...


Crops = Callable[[tf.Tensor, tf.Tensor, bool], picture_crops.Decoded]
_kept: "weakref.WeakKeyDictionary[Pictures, tuple[int, Crops]]" = weakref.WeakKeyDictionary()


def training_crops(source: Pictures, size: int, memory: int = MEMORY, verbose: int = 1) -> Crops:
    """Make what cuts random crops from pictures of a source, by the recipe of `random_crops`.

    The first call for a source and a size decodes all pictures, if they fit; they stay as long as the source does, or
    until crops of another size are asked for.

    Args:
      size: side of the crops, pixels.
      memory: bytes that decoded pictures may take; 0 to decode anew each time.
      verbose: 1 says on standard error how far decoding is, where that takes more than a moment; 0 nothing.

    Returns:
      In the graph, (index int64 [B], seed int32 [2], reflect) -> uint8 [B, S, S, 3] and bool [B], False where a picture
      cannot be decoded; that row is black.
    """
    if not fits(source, size, memory):
        return _decode_each_time(source, size)
    if source not in _kept or _kept[source][0] != size:
        _kept.pop(source, None)  # gone before the next ones come
        kind = Boxes if random_crops.is_large(_headers(source), size).numpy().any() else Squares
        _kept[source] = size, kind(source, size, verbose)
    return _kept[source][1]


def fits(source: Pictures, size: int, memory: int = MEMORY) -> bool:
    """Say whether the decoded pictures of a source are kept when crops have `size` pixels."""
    return bytes_needed(source, size) <= memory


def bytes_needed(source: Pictures, size: int) -> int:
    """Return the bytes that the decoded pictures of a source take when crops have `size` pixels."""
    header = _headers(source)
    if not random_crops.is_large(header, size).numpy().any():
        return source.count * size * size * 4
    return int(_layout(header, size).bytes.sum())


def _decode_each_time(source: Pictures, size: int) -> Crops:
    reader = source.reader()

    def crops(index: tf.Tensor, seed: tf.Tensor, reflect: bool = True) -> picture_crops.Decoded:
        rows, header = reader.rows(index)
        return picture_crops.training_crops(reader.read, rows, header, seed, size, reflect=reflect, kinds=reader.kinds)

    return crops


class Squares:
    """Crops of a source of which all pictures are small: their centred squares, shifted."""

    def __init__(self, source: Pictures, size: int, verbose: int = 1):
        self._size = size
        pixels, good = np.zeros([source.count, size * size], np.int32), np.zeros([source.count], bool)
        with _progress(source, verbose) as progress:
            for number, packed in _squares(source, size):
                pixels[number], good[number] = packed, True
                progress.add(len(number))
        self._pixels = _variable(pixels.ravel())
        with tf.device("CPU"):
            self._valid = tf.constant(good)

    def __call__(self, index: tf.Tensor, seed: tf.Tensor, reflect: bool = True) -> picture_crops.Decoded:
        area = self._size**2
        place = random_crops.draw_places(tf.shape(index)[0], self._size, seed, reflect)
        # A place in all pictures of a source may be past what an int32 holds.
        first = index * area
        packed = tf.gather(self._pixels, first[:, None, None] + tf.cast(place, tf.int64))
        return geometry.unpack(packed), tf.gather(self._valid, index)


class Boxes:
    """Crops of a source with large pictures: boxes of these, resized, and shifted squares of small ones."""

    def __init__(self, source: Pictures, size: int, verbose: int = 1):
        self._size = size
        header = _headers(source)
        layout = _layout(header, size)
        with tf.device("CPU"):
            self._header = tf.stack(header, 1)
            self._start, self._width = tf.constant(layout.start), tf.constant(layout.width)
        pixels, good = np.zeros([layout.bytes.sum()], np.uint8), np.zeros([source.count], bool)
        start = layout.start.min(1)
        with _progress(source, verbose) as progress:
            for number, offset, pieces in _pieces(source, layout, size):
                length = np.minimum(layout.bytes[number] - offset, pieces.shape[1])
                for place, part, piece in zip((start[number] + offset).tolist(), length.tolist(), pieces, strict=True):
                    pixels[place : place + part] = piece[:part]
                good[number] = True
                progress.add(int(np.count_nonzero(offset + length == layout.bytes[number])))
        self._pixels = _variable(pixels)
        with tf.device("CPU"):
            self._valid = tf.constant(good)

    def __call__(self, index: tf.Tensor, seed: tf.Tensor, reflect: bool = True) -> picture_crops.Decoded:
        size = self._size
        header = Header(*tf.unstack(tf.gather(self._header, index), num=len(Header._fields), axis=1))
        large = random_crops.is_large(header, size)
        box = stored_box(header, random_crops.draw_boxes(header, seed, size))
        planned = formats.plan(header, box, size)
        level = tf.where(large & (planned.format == JPEG), planned.branch, 0)
        window = tf.where(large[:, None], planned.window, [0, 0, size, size])
        start, width = (tf.gather(tf.gather(of, index), level, batch_dims=1) for of in (self._start, self._width))

        def cut(row: Any) -> tf.Tensor:
            window, width, start, branch = row
            top, left, tall, wide = tf.unstack(window)
            # Lines of bytes, as slices of two dimensions are copies of memory.
            first = start + tf.cast(top * width * 3, tf.int64)
            lines = tf.slice(self._pixels.read_value(), [first], [tf.cast(tall * width * 3, tf.int64)])
            inside = tf.slice(tf.reshape(lines, [tall, width * 3]), [0, left * 3], [tall, wide * 3])
            return formats.shrink_and_resize(tf.reshape(inside, [tall, wide, 3]), branch, size)

        images, _ = picture_crops.decode_rows(cut, (window, width, start, planned.branch), size)
        images = turn_upright(images, header.orientation)
        return random_crops.shift_small(images, header, seed, reflect), tf.gather(self._valid, index)


class _Layout(NamedTuple):
    """Where the pixels of each picture lie.

    Attributes:
      start: int64 [N, 4], the first byte of each level, by index into `decoding.RATIOS`.
      width: int32 [N, 4], pixels of a row of each level.
      first, last: int32 [N], which levels there are.
      bytes: int64 [N], of all levels of a picture, one behind another.
    """

    start: np.ndarray
    width: np.ndarray
    first: np.ndarray
    last: np.ndarray
    bytes: np.ndarray


def _layout(header: Header, size: int) -> _Layout:
    large = random_crops.is_large(header, size).numpy()[:, None]
    scaled = large & (header.format == JPEG).numpy()[:, None]
    shortest = random_crops.shortest_side(header.height, header.width)
    first = formats.scale(shortest, size).numpy()[:, None] * scaled
    last = formats.scale(tf.minimum(header.height, header.width), size).numpy()[:, None] * scaled
    ratios = np.asarray(formats.RATIOS)
    height, width = (np.where(large, -(-side.numpy()[:, None] // ratios), size) for side in header[1:3])
    there = (first <= np.arange(len(ratios))) & (np.arange(len(ratios)) <= last)
    length = 3 * height.astype(np.int64) * width * there
    end = np.cumsum(length.ravel()).reshape(length.shape)
    return _Layout(end - length, width.astype(np.int32), first[:, 0], last[:, 0], length.sum(1))


def _squares(source: Pictures, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Make batches of the pictures that can be decoded, in any order.

    Returns:
      Their numbers, int64 [n], and their centred squares, int32 [n, S * S], a pixel in each number.
    """
    reader = source.reader()
    rows, header = reader.rows(tf.range(source.count))
    planned = _plan_squares(header, size)

    def decode(way: list[int], number: tf.Tensor, row: Any) -> tuple[tf.Tensor, tf.Tensor]:
        name, window = row
        image = formats.decode(reader.read(name), formats.Plan(way[0], way[1], window), size)
        return number, tf.ensure_shape(image, [size, size, 3])

    @explicit
    def pack(number: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = turn_upright(images, tf.gather(header.orientation, number))
        return number, tf.reshape(geometry.pack(images), [-1, size * size])

    for decoded in _in_ways(planned[:2], (rows, planned.window), decode):
        yield from decoded.batch(_at_once(4 * size * size)).map(pack).prefetch(1).as_numpy_iterator()


def _pieces(source: Pictures, layout: _Layout, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Make batches of pieces of the pictures that can be decoded, in any order.

    Pictures of any size are cut into pieces of one size, so a batch has about `BLOCK` bytes whatever is in a folder.

    Returns:
      The number of the picture of each piece, int64 [n]; the byte of its picture that it begins with, int64 [n]; and
      its bytes, uint8 [n, piece], of which the last piece of a picture has more than are left.
    """
    reader = source.reader()
    rows, header = reader.rows(tf.range(source.count))
    planned = _plan_squares(header, size)
    large = random_crops.is_large(header, size)
    piece = int(min(PIECE, layout.bytes.max()))

    def decode(way: list[int], number: tf.Tensor, row: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        large, branch, kind, first, last = way
        name, header, window, length = row
        data = reader.read(name)
        if large:
            block = formats.levels(data, header._replace(format=kind), first, last)
        else:
            block = tf.reshape(formats.decode(data, formats.Plan(branch, kind, window), size), [-1])
        # Raises where a header promised another size than its picture has: no crop of it would be right.
        block = tf.reshape(block, length[None])
        count = -(-length // piece)
        pieces = tf.reshape(tf.pad(block, [[0, count * piece - length]]), [count, piece])
        return tf.fill([count], number), tf.range(count) * piece, pieces

    ways = (large, tf.where(large, 0, planned.branch), planned.format, layout.first, layout.last)
    for decoded in _in_ways(ways, (rows, header, planned.window, layout.bytes), decode):
        yield from decoded.rebatch(_at_once(piece)).prefetch(1).as_numpy_iterator()


def _in_ways(
    ways: Sequence[Any], rows: Any, decode: Callable[[list[int], tf.Tensor, Any], Any]
) -> Iterator[tf.data.Dataset]:
    """Decode pictures one by one in a parallel map, for each way of decoding; broken ones are missing.

    Args:
      ways: int [N] each; together they tell how a picture is decoded, by a function without branches: see
        `decoding.Plan`.
      rows: nested structure of tensors [N, ...].
      decode: a way, the number of a picture and its row of `rows` -> what is made of it; may raise in the graph.
    """
    table = np.stack(ways, 1).astype(np.int32)
    for way in np.unique(table, axis=0):
        chosen = np.flatnonzero((table == way).all(1))
        own = tf.nest.map_structure(lambda column, chosen=chosen: tf.gather(column, chosen), rows)
        numbered = tf.data.Dataset.from_tensor_slices((chosen, own))
        function = explicit(functools.partial(decode, way.tolist()))
        yield numbered.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).ignore_errors()


def _plan_squares(header: Header, size: int) -> formats.Plan:
    """Plan how the centred squares are decoded."""
    return formats.plan(header, stored_box(header, random_crops.centre_box(*upright_size(header))), size)


def _at_once(size: int) -> int:
    """Say how many rows of so many bytes come out of TensorFlow at once."""
    return min(max(BLOCK // size, 1), MOST)


def _headers(source: Pictures) -> Header:
    with tf.device("CPU"):
        return Header(*tf.unstack(tf.constant(source.header), num=len(Header._fields), axis=1))


def _variable(values: np.ndarray) -> tf.Variable:
    """Make a variable, as tf.data copies large constants that its functions capture (TensorFlow 2.21).

    It is written once and whole: reading one of which a part was ever assigned copies it.
    """

    def make() -> tf.Variable:
        with tf.device("CPU"):
            return tf.Variable(values, trainable=False)

    # In the scope of a strategy it would be mirrored on each replica; a scope holds for one thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result()


def _progress(source: Pictures, verbose: int) -> Progress:
    return Progress("pictures decoded into memory", source.name, source.count, verbose)
