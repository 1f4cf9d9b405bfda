"""From encoded bytes to square uint8 pictures, in the graph: crop, scaled decoding, resize, turn upright.

Training, evaluation and serving all come through here. A crop is chosen upright and mapped to the picture as it is
stored, so a JPEG decodes no more than its crop, at 1/2, 1/4 or 1/8 where the crop is that much larger than wanted.
Boxes are int32 [..., 4]: top, left, height, width in pixels.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.pipelines.decoding import formats, random_crops
from tfssl.pipelines.decoding.headers import FORMATS, Header, read_headers
from tfssl.pipelines.decoding.orientation import stored_box, turn_upright, upright_size

Decoded = tuple[tf.Tensor, tf.Tensor]


def decode_boxes(
    read: Callable[[Any], tf.Tensor],
    rows: Any,
    header: Header,
    box: tf.Tensor,
    size: int,
    parallel: int | None = None,
    kinds: tuple[int, ...] = FORMATS,
) -> Decoded:
    """Decode a box of each picture and resize it.

    Args:
      read: one row of `rows` -> string scalar, the encoded picture; may raise in the graph.
      rows: nested structure of tensors [N, ...].
      header: the header of these pictures, int32 [N] each; one with a problem is not decoded.
      box: int32 [N, 4], in the upright picture.
      size: side of the results in pixels.
      parallel: as in `decode_rows`.
      kinds: the formats that occur among the pictures: see `formats.decode`.

    Returns:
      uint8 [N, size, size, 3], upright, and bool [N]; a row that cannot be decoded gives zeros and False.
    """
    planned = formats.plan(header, stored_box(header, box), size)

    def one(row: Any) -> tf.Tensor:
        return formats.decode(read(row[0]), row[1], size, kinds)

    images, valid = decode_rows(one, (rows, planned), size, parallel)
    return turn_upright(images, header.orientation), valid


def centre_crops(
    read: Callable[[Any], tf.Tensor],
    rows: Any,
    header: Header,
    size: int,
    parallel: int | None = None,
    kinds: tuple[int, ...] = FORMATS,
) -> Decoded:
    """Decode the largest centred square of each picture; arguments and results as in `decode_boxes`."""
    return decode_boxes(read, rows, header, random_crops.centre_box(*upright_size(header)), size, parallel, kinds)


def training_crops(
    read: Callable[[Any], tf.Tensor],
    rows: Any,
    header: Header,
    seed: tf.Tensor,
    size: int,
    parallel: int | None = None,
    reflect: bool = True,
    kinds: tuple[int, ...] = FORMATS,
) -> Decoded:
    """Cut a random crop of each picture, by the recipe of `random_crops`.

    Args:
      seed: int32 [2], for the batch.
      read, rows, header, size, parallel, kinds: as in `decode_boxes`.
      reflect: as in `random_crops.shift_small`.

    Returns:
      As `decode_boxes`.
    """
    box = random_crops.draw_boxes(header, seed, size)
    images, valid = decode_boxes(read, rows, header, box, size, parallel, kinds)
    return random_crops.shift_small(images, header, seed, reflect), valid


def pictures(data: tf.Tensor, size: int, parallel: int | None = None) -> Decoded:
    """Decode the centred squares of encoded pictures: what evaluation, embedding and serving all see.

    Args:
      data: string [N], encoded pictures.
      size: side in pixels.
      parallel: as in `decode_rows`.

    Returns:
      uint8 [N, size, size, 3] and bool [N]; a row that is no picture gives zeros and False.
    """
    return centre_crops(lambda one: one, data, read_headers(data), size, parallel)


def decode_rows(function: Callable[[Any], tf.Tensor], rows: Any, size: int, parallel: int | None = None) -> Decoded:
    """Map a decoder over rows; one that fails leaves its neighbours alone.

    Sequential by default: callers run it inside a parallel map over batches.

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
    """Make a dataset that is made anew for each batch: rewriting its graph would cost more than it gains."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return dataset.with_options(options)
