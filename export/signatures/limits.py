"""What strangers may send to an export: checked in the graph of every signature, before anything is decoded.

A row that cannot be answered gives `valid` false and zeros, and leaves its neighbours alone: a batching server merges
the requests of strangers. A request that is too long is an error of its own.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from tfssl.export.signatures.bounds import MAX_BYTES, MAX_ROWS
from tfssl.pipelines.decoding import full_size, picture_crops
from tfssl.pipelines.decoding.headers import JPEG, TOO_LARGE, UNKNOWN, Header, read_headers

MAX_PIXELS = 2**24
"""Pixels of a picture: 4096 x 4096. Decoding a PNG with alpha takes some 40 bytes a pixel.

JPEG is decoded at a fraction of its size, so it may have as many as `headers.MAX_PIXELS`. For an animated GIF the first
frame alone is decoded, and animated WebP is refused, so no number of frames counts.
"""

FEW_PIXELS = 2**22
"""Where a picture of a request has more pixels than this, its pictures are decoded one after another."""

MAX_SCANNED = 2**29
"""Pixels of a JPEG times its scans: progressive ones have some ten, and each goes over all pixels at 0.8 ns.

A file of 400 KB with 200 empty scans took 10 s.
"""

MAX_SCANS = 100

MAX_PAINTED = 2**26
"""Pixels of all pictures of a request whose answers have their own size: 256 of 512 x 512, or 4 of 4096 x 4096."""

LOUDEST = 8.0
"""Largest amplitude of a waveform, which ought to be in -1..1: filters overshoot, but integers are a mistake."""

PARALLEL = 8
"""Rows of a request that are decoded at once; a server with fewer cores shares them."""


def count_rows(rows: tf.Tensor) -> tf.Tensor:
    """Count the rows of a request, int32 scalar. Raise InvalidArgumentError in the graph for more than MAX_ROWS."""
    count = tf.shape(rows)[0]
    message = [f"a request may have at most {MAX_ROWS} rows; send several requests. Rows given:", count]
    with tf.control_dependencies([tf.debugging.Assert(count <= MAX_ROWS, message)]):
        return tf.identity(count)


def at_least_one(rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Return the rows of a request as they are; one row of zeros, or of no bytes, where it is empty.

    TensorFlow 2.21 on CPU fails on the convolutions of an empty batch. Answers are cut to `count` rows.

    Args:
      rows: [N, ...], all but N static.
      count: int32 scalar, of `count_rows`: nothing is read before it has passed.
    """
    blank = tf.zeros([1, *rows.shape[1:]], rows.dtype)
    return tf.ensure_shape(tf.cond(count > 0, lambda: rows, lambda: blank), rows.shape)


@functools.cache
def decoder(size: int) -> Callable[[tf.Tensor], picture_crops.Decoded]:
    """Return `picture_crops.pictures` within these limits, as a graph that is made once for a process.

    Signatures call it and hold no copy. Its ops are most of those of a signature: to make them anew for each took most
    of the time of an export.

    Args:
      size: side in pixels.

    Returns:
      A function of encoded pictures, string [N]: JPEG, PNG, GIF, BMP or WebP by their first bytes. It returns uint8
      [N, size, size, 3] and bool [N]; a row that is no picture, or too large a one, gives zeros and False.
    """

    def decode(data: tf.Tensor) -> picture_crops.Decoded:
        shown, header = _within_limits(data, JPEG)
        area = tf.where(header.problem == 0, header.height * header.width, 0)  # at most 2**26: no overflow
        parallel = tf.where(tf.reduce_any(area > FEW_PIXELS), tf.constant(1, tf.int64), PARALLEL)
        return picture_crops.centre_crops(_with_few_scans, (shown, _most_scans(header)), header, size, parallel)

    data = tf.TensorSpec([None], tf.string)
    return tf.function(decode, input_signature=[data], autograph=False).get_concrete_function()


def _most_scans(header: Header) -> tf.Tensor:
    """Return how many scans a picture may have, int32 [N], -1 for any number."""
    area = tf.where(header.problem == 0, header.height * header.width, 0)
    return tf.where(header.format == JPEG, tf.minimum(MAX_SCANNED // tf.maximum(area, 1), MAX_SCANS), -1)


def _with_few_scans(row: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Return an encoded picture as it is; nothing of it where it has more scans than it may, -1 for any number."""
    data, most = row
    # Among the pixels of a JPEG, 255 is followed by 0 or by the number of a restart, never by 0xDA.
    read = tf.cond(most >= 0, lambda: tf.io.decode_raw(data, tf.uint8), lambda: tf.zeros([0], tf.uint8))
    scans = tf.math.count_nonzero((read[:-1] == 0xFF) & (read[1:] == 0xDA), dtype=tf.int32)
    return tf.where((most < 0) | (scans <= most), data, "")


def whole_pictures(data: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Do `whole.over_pictures` within these limits; JPEG too may have MAX_PIXELS, as it is decoded at its own size.

    Raises InvalidArgumentError in the graph where all of them together have more than MAX_PAINTED.
    """
    shown, header = _within_limits(data, UNKNOWN)
    total = tf.reduce_sum(tf.where(header.problem == 0, tf.cast(header.height * header.width, tf.int64), 0))
    message = [f"the pictures of a request may have {MAX_PAINTED} pixels together; send several. Pixels given:", total]
    with tf.control_dependencies([tf.debugging.Assert(total <= MAX_PAINTED, message)]):
        shown = tf.identity(shown)
    rows, spec = (shown, _most_scans(header)), tf.TensorSpec([], tf.string)
    few = tf.map_fn(_with_few_scans, rows, parallel_iterations=1, fn_output_signature=spec)
    return full_size.over_pictures(few, header, function)


def _within_limits(data: tf.Tensor, unlimited: int) -> tuple[tf.Tensor, Header]:
    """Return the pictures, empty where they are too long, and headers, which have a problem where these are too large.

    Args:
      unlimited: the format that may have more than MAX_PIXELS.
    """
    short = tf.strings.length(data) <= MAX_BYTES
    shown = tf.cond(tf.reduce_all(short), lambda: data, lambda: tf.where(short, data, ""))
    header = read_headers(shown)
    area = tf.where(header.problem == 0, header.height * header.width, 0)
    large = (area > MAX_PIXELS) & (header.format != unlimited)
    return shown, header._replace(problem=tf.where(large, TOO_LARGE, header.problem))


def waveforms(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return waveforms float32 [N, samples] with silence for what is none, and which are valid, bool [N].

    A valid waveform is finite and not above LOUDEST.
    """
    # NaN compares as false.
    valid = tf.reduce_all(tf.abs(rows) <= LOUDEST, axis=1)
    return tf.where(valid[:, None], rows, 0.0), valid
