"""From encoded bytes to square uint8 pictures, in the graph: crop, scaled decoding, resize, turn upright.

Training, evaluation and serving all come through here. A crop is chosen upright and mapped to the picture as it is
stored, so a JPEG decodes no more than its crop, at 1/2, 1/4 or 1/8 where the crop is that much larger than wanted.
Boxes are int32 [..., 4]: top, left, height, width in pixels.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.pipelines.decoding import formats
from tfssl.pipelines.decoding.headers import Header, read_headers
from tfssl.pipelines.ops import geometry

Decoded = tuple[tf.Tensor, tf.Tensor]


def upright_size(header: Header) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width in pixels, int32 of the header's shape, as the picture is meant to be seen."""
    lying = header.orientation >= 5
    return tf.where(lying, header.width, header.height), tf.where(lying, header.height, header.width)


def centre_box(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """int32 [..., 4]: the largest centred square."""
    side = tf.minimum(height, width)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side], axis=-1)


AREA = (0.35, 1.0)
ASPECT = (3 / 4, 4 / 3)


def random_box(
    height: tf.Tensor,
    width: tf.Tensor,
    seed: tf.Tensor,
    area: tuple[float, float] = AREA,
    aspect: tuple[float, float] = ASPECT,
) -> tf.Tensor:
    """A random box inside each picture, as in Inception (Szegedy et al. 2015, arXiv 1409.4842).

    The area is uniform; the logarithm of the aspect is uniform among those with which a box of that area fits. Nothing
    is drawn twice: where no aspect fits (a very long picture), the box is as large as fits.

    Args:
      height, width: int32 [...], pixels.
      seed: int32 [2].
      area: smallest and largest part of the picture's area.
      aspect: smallest and largest width / height.

    Returns:
      int32 [..., 4].
    """
    tall, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    # One draw gives four independent numbers a picture.
    draw = tf.random.stateless_uniform(tf.concat([tf.shape(height), [4]], 0), seed)
    pixels = (area[0] + (area[1] - area[0]) * draw[..., 0]) * tall * wide
    narrowest = tf.clip_by_value(pixels / (tall * tall), aspect[0], aspect[1])
    widest = tf.maximum(tf.minimum(aspect[1], wide * wide / pixels), narrowest)
    ratio = tf.exp(tf.math.log(narrowest) + draw[..., 1] * tf.math.log(widest / narrowest))
    whole = tf.stack([tall, wide], axis=-1)
    sides = tf.round(tf.sqrt(tf.stack([pixels / ratio, pixels * ratio], axis=-1)))
    sides = tf.minimum(tf.maximum(sides, 1.0), whole)
    corner = tf.minimum(tf.floor(draw[..., 2:] * (whole - sides + 1)), whole - sides)
    return tf.cast(tf.concat([corner, sides], axis=-1), tf.int32)


def shortest_side(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """int32 [...]: pixels that no side of a `random_box` of such pictures is shorter than."""
    pixels = AREA[0] * tf.cast(height, tf.float32) * tf.cast(width, tf.float32)
    side = tf.cast(tf.sqrt(pixels * min(ASPECT[0], 1 / ASPECT[1])), tf.int32) - 1  # a pixel for rounding
    return tf.minimum(tf.minimum(height, width), side)


def decode_boxes(
    read: Callable[[Any], tf.Tensor], rows: Any, header: Header, box: tf.Tensor, size: int, parallel: int | None = None
) -> Decoded:
    """Decodes a box of each picture and resizes it.

    Args:
      read: one row of `rows` -> string scalar, the encoded picture; may raise in the graph.
      rows: nested structure of tensors [N, ...].
      header: of these pictures, int32 [N] each; one with a problem is not decoded.
      box: int32 [N, 4], in the upright picture.
      size: side of the results in pixels.
      parallel: as in `decode_rows`.

    Returns:
      uint8 [N, size, size, 3], upright, and bool [N]; a row that cannot be decoded gives zeros and False.
    """
    planned = formats.plan(header, stored_box(header, box), size)

    def one(row: Any) -> tf.Tensor:
        return formats.decode(read(row[0]), row[1], size)

    images, valid = decode_rows(one, (rows, planned), size, parallel)
    return turn_upright(images, header.orientation), valid


def centre_crops(
    read: Callable[[Any], tf.Tensor], rows: Any, header: Header, size: int, parallel: int | None = None
) -> Decoded:
    """The largest centred square of each picture; arguments and results as in `decode_boxes`."""
    return decode_boxes(read, rows, header, centre_box(*upright_size(header)), size, parallel)


def training_crops(
    read: Callable[[Any], tf.Tensor],
    rows: Any,
    header: Header,
    seed: tf.Tensor,
    size: int,
    parallel: int | None = None,
    reflect: bool = True,
) -> Decoded:
    """A random crop of each picture; it is not flipped, as tasks flip.

    Pictures whose short side is at least 1.25 x `size` give a `random_box`. Smaller ones (CIFAR) give their centred
    square at `size`, with a reflected border of size // 8 pixels, from which a random square is cut. A mirrored edge
    tells a patch its place, so without `reflect` they give the square itself.

    Args:
      seed: int32 [2], for the batch.
      read, rows, header, size, parallel: as in `decode_boxes`.
      reflect: whether small pictures are moved.

    Returns:
      As `decode_boxes`.
    """
    box_seed, shift_seed = tf.unstack(tf.random.split(seed, 2))
    box = training_boxes(header, box_seed, size)
    images, valid = decode_boxes(read, rows, header, box, size, parallel)
    return shift(images, ~is_large(header, size), shift_seed, border_of(size, reflect)), valid


def pictures(data: tf.Tensor, size: int, parallel: int | None = None) -> Decoded:
    """The centred squares of encoded pictures: what evaluation, embedding and serving all see.

    Args:
      data: string [N], encoded pictures.
      size: side in pixels.
      parallel: as in `decode_rows`.

    Returns:
      uint8 [N, size, size, 3] and bool [N]; a row that is no picture gives zeros and False.
    """
    return centre_crops(lambda one: one, data, read_headers(data), size, parallel)


def decode_rows(function: Callable[[Any], tf.Tensor], rows: Any, size: int, parallel: int | None = None) -> Decoded:
    """Maps a decoder over rows; one that fails leaves its neighbours alone.

    Sequential unless told otherwise: callers run it inside a parallel map over batches.

    Args:
      function: one row of `rows` -> uint8 [size, size, 3]; may raise in the graph. It is set up anew for each batch,
        so it should be small.
      rows: nested structure of tensors [N, ...].
      size: side of the pictures in pixels.
      parallel: how many rows are decoded at once; for callers that have one batch at a time, as a server.

    Returns:
      uint8 [N, size, size, 3], zeros where a row failed, and bool [N], False there.
    """
    first = tf.nest.flatten(rows)[0]
    count = tf.shape(first)[0]
    order = {} if parallel is None else {"num_parallel_calls": parallel, "deterministic": True}
    numbered = tf.data.Dataset.from_tensor_slices((tf.range(count), rows))
    decoded = numbered.map(
        lambda number, row: (number, tf.ensure_shape(function(row), [size, size, 3])), **order
    ).ignore_errors()
    # One more row, so that a batch exists even if every row failed; it also is what failed rows show.
    blank = tf.data.Dataset.from_tensors((count, tf.zeros([size, size, 3], tf.uint8)))
    batch = decoded.concatenate(blank).batch(tf.cast(count, tf.int64) + 1)
    numbers, images = made_for_a_batch(batch).get_single_element()
    last = tf.shape(numbers)[0] - 1
    place = tf.tensor_scatter_nd_update(tf.fill([count + 1], last), numbers[:, None], tf.range(last + 1))[:-1]
    # Nearly always no row failed: then nothing need be moved.
    images = tf.cond(tf.equal(last, count), lambda: images[:-1], lambda: tf.gather(images, place))
    images = tf.ensure_shape(images, [first.shape[0], size, size, 3])
    return images, tf.ensure_shape(place < last, [first.shape[0]])


def made_for_a_batch(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset that is made anew for each batch: rewriting its graph would cost more than it gains."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return dataset.with_options(options)


def is_large(header: Header, size: int) -> tf.Tensor:
    """bool [N]: which pictures give a random box when crops have `size` pixels, and not a shifted square."""
    return 4 * tf.minimum(header.height, header.width) >= 5 * size


def training_boxes(header: Header, seed: tf.Tensor, size: int) -> tf.Tensor:
    """int32 [N, 4]: the boxes that `training_crops` decodes, upright."""
    height, width = upright_size(header)
    large = is_large(header, size)[:, None]
    return tf.where(large, random_box(height, width, seed), centre_box(height, width))


def stored_box(header: Header, box: tf.Tensor) -> tf.Tensor:
    """Upright boxes [N, 4] in the coordinates of the pictures as stored: undoes `turn_upright`."""
    height, width = upright_size(header)
    down, right = _mirrored(header.orientation)
    top, left, tall, wide = tf.unstack(box, axis=1)
    top = tf.where(down, height - top - tall, top)
    left = tf.where(right, width - left - wide, left)
    lying = (header.orientation >= 5)[:, None]
    return tf.where(lying, tf.stack([left, top, wide, tall], 1), tf.stack([top, left, tall, wide], 1))


def turn_upright(images: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """uint8 [N, S, S, 3] as stored -> upright: first transposed (EXIF 5 to 8), then mirrored."""

    def turned() -> tf.Tensor:
        down, right = (flag[:, None, None] for flag in _mirrored(orientation))
        packed = geometry.pack(images)
        packed = tf.where((orientation >= 5)[:, None, None], tf.transpose(packed, [0, 2, 1]), packed)
        packed = tf.where(down, packed[:, ::-1], packed)
        return geometry.unpack(tf.where(right, packed[:, :, ::-1], packed))

    return tf.cond(tf.reduce_all(orientation == 1), lambda: images, turned)


def _mirrored(orientation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """bool [N]: whether rows, and whether columns, come in reverse order."""
    down = tf.reduce_any(orientation[:, None] == [3, 4, 7, 8], axis=1)
    return down, tf.reduce_any(orientation[:, None] == [2, 3, 6, 7], axis=1)


def border_of(size: int, reflect: bool) -> int:
    """Pixels by which small pictures are moved each way: an eighth of the side, none where nothing may be reflected."""
    return size // 8 if reflect else 0


def shift(images: tf.Tensor, chosen: tf.Tensor, seed: tf.Tensor, border: int) -> tf.Tensor:
    """Moves chosen square pictures by up to `border` pixels each way; at the edge comes in what the edge reflects.

    Args:
      images: uint8 [N, S, S, 3].
      chosen: bool [N].
      seed: int32 [2].
      border: pixels, less than S.

    Returns:
      uint8 [N, S, S, 3].
    """

    def shifted() -> tf.Tensor:
        rows = tf.where(chosen)
        index = shift_index(tf.shape(rows)[0], images.shape[1], seed, border)
        moved = geometry.gather(tf.gather(images, rows[:, 0]), index)
        return tf.tensor_scatter_nd_update(images, rows, moved)

    moved = tf.cond(tf.reduce_any(chosen), shifted, lambda: images)
    return tf.ensure_shape(moved, images.shape)


def shift_index(count: tf.Tensor, size: int, seed: tf.Tensor, border: int) -> tf.Tensor:
    """int32 [count, size, size]: which pixel of its picture, row by row, comes to each place when `shift` moves it."""
    offset = tf.random.stateless_uniform([2, count, 1], seed, -border, border + 1, tf.int32)
    place = tf.abs(tf.range(size) + offset)
    row, column = tf.unstack(size - 1 - tf.abs(size - 1 - place))
    return row[:, :, None] * size + column[:, None, :]
