"""What the first bytes of a picture say: format, size, orientation, and whether TensorFlow should decode it at all.

Everything here runs in the graph and never raises. Bytes are read through `words`, which clamps: `tf.strings.substr`
past the end would raise with raw bytes in its message.
"""

from typing import NamedTuple

import tensorflow as tf

UNKNOWN, JPEG, PNG, GIF, BMP, WEBP = range(6)

# 8192 x 8192: at most 256 MiB decoded with alpha, 512 MiB where a PNG has 16 bits.
MAX_PIXELS = 2**26

PROBLEMS: tuple[str, ...] = (
    "",
    "is no picture that TensorFlow decodes (JPEG, PNG, GIF, BMP, WebP)",
    "does not show its size in the bytes that were read",
    "breaks off before its size",
    "has a broken header",
    "is a BMP with a palette, 16-bit or compressed pixels, which TensorFlow decodes wrong",
    "is an animated WebP, which is not read",
    f"claims more than {MAX_PIXELS} pixels",
    "claims a height or width of 0",
)
NOT_A_PICTURE, NEED_MORE, BREAKS_OFF, BROKEN_HEADER, BAD_BMP, ANIMATED_WEBP, TOO_LARGE, NO_PIXELS = range(1, 9)

# No honest file has as many segments before its pixels; a file made of padding must not spin for minutes.
_MOST_SEGMENTS = 4096
_ORIENTATION_TAG = 0x0112
_MOST_TAGS = 512


class Header(NamedTuple):
    """int32 scalars. Height and width are in pixels as stored, before the orientation is applied.

    Attributes:
      format: UNKNOWN, JPEG, PNG, GIF, BMP or WEBP.
      height, width: pixels; 0 where unknown.
      orientation: EXIF, 1..8; 1 where the file has none.
      frames: how many are decoded: 1, as only the first frame of an animated GIF is read.
      problem: 0 for none, else an index into `PROBLEMS`.
    """

    format: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor
    frames: tf.Tensor
    problem: tf.Tensor


class _Found(NamedTuple):
    """What one format's parser returns. `exif` is where the TIFF structure starts, 0 for none."""

    height: tf.Tensor
    width: tf.Tensor
    exif: tf.Tensor
    problem: tf.Tensor


def words(data: tf.Tensor, position: tf.Tensor | int, count: int, little: bool = False) -> tf.Tensor:
    """int32 [count]: unsigned 16-bit numbers of `data` from byte `position` on; zeros past the end."""
    piece = tf.strings.substr(data, tf.clip_by_value(position, 0, tf.strings.length(data)), 2 * count)
    numbers = tf.io.decode_raw(piece, tf.uint16, little_endian=little, fixed_length=2 * count)
    return tf.ensure_shape(tf.cast(numbers, tf.int32), [count])


def read_header(data: tf.Tensor, complete: bool = True) -> Header:
    """Reads format, size and EXIF orientation of one encoded picture.

    EXIF as in the standard CIPA DC-008 (APP1 of JPEG, `eXIf` of PNG before its pixels, `EXIF` of WebP), both byte
    orders. An orientation that only XMP has is not seen.

    Args:
      data: string scalar, the bytes of a file.
      complete: False where `data` may be only the first bytes of a file: what they do not reach is then NEED_MORE
        instead of broken.

    Returns:
      A `Header`; what is wrong is in its `problem`.
    """
    data = tf.reshape(tf.convert_to_tensor(data), [])
    short = tf.constant(BREAKS_OFF if complete else NEED_MORE)
    start = words(data, 0, 8)
    kind = _format(start)
    parsers = [
        lambda: _Found(*(tf.constant(number) for number in (0, 0, 0, NOT_A_PICTURE))),
        lambda: _jpeg(data, short),
        lambda: _png(data, short),
        lambda: _gif(data, short),
        lambda: _bmp(data, short),
        lambda: _webp(data, short, complete),
    ]
    found = _Found(*tf.switch_case(kind, parsers))
    orientation = tf.cond(found.exif > 0, lambda: _orientation(data, found.exif), lambda: tf.constant(1))
    if not complete:  # even the signature may be cut
        found = found._replace(problem=tf.where(tf.strings.length(data) < 16, short, found.problem))
    pixels = tf.cast(found.height, tf.int64) * tf.cast(found.width, tf.int64)
    problem = tf.where((found.problem == 0) & (tf.minimum(found.height, found.width) < 1), NO_PIXELS, found.problem)
    problem = tf.where((problem == 0) & (pixels > MAX_PIXELS), TOO_LARGE, problem)
    return Header(kind, found.height, found.width, orientation, tf.ones_like(kind), problem)


def _format(start: tf.Tensor) -> tf.Tensor:
    """int32 scalar: the format that the first eight big-endian words announce."""

    def begins(*numbers: int) -> tf.Tensor:
        return tf.reduce_all(start[: len(numbers)] == tf.constant(numbers))

    # In the order of the constants: JPEG, PNG, GIF, BMP, WEBP.
    matches = tf.stack(
        [
            start[0] == 0xFFD8,
            begins(0x8950, 0x4E47, 0x0D0A, 0x1A0A),
            begins(0x4749, 0x4638),
            start[0] == 0x424D,
            begins(0x5249, 0x4646) & (start[4] == 0x5745) & (start[5] == 0x4250),
        ]
    )
    return tf.reduce_max(tf.cast(matches, tf.int32) * tf.range(1, 6))


def _jpeg(data: tf.Tensor, short: tf.Tensor) -> _Found:
    """Walks the segments from marker to marker up to the frame header (SOF0..15), as ITU-T T.81, B.1 orders them."""
    length = tf.strings.length(data)

    def is_frame(marker: tf.Tensor) -> tf.Tensor:
        others = (marker == 0xFFC4) | (marker == 0xFFC8) | (marker == 0xFFCC)
        return (marker >= 0xFFC0) & (marker <= 0xFFCF) & ~others

    def goes_on(position: tf.Tensor, exif: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
        # D0 to DA: restart, start, end of image, and the scan: no frame header can follow these.
        named = ((segment[0] >= 0xFFC0) & (segment[0] < 0xFFD0)) | (segment[0] > 0xFFDA)
        return named & ~is_frame(segment[0])

    def step(position: tf.Tensor, exif: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, ...]:
        is_exif = (segment[0] == 0xFFE1) & (segment[2] == 0x4578) & (segment[3] == 0x6966) & (exif == 0)
        exif = tf.where(is_exif, position + 10, exif)
        position += tf.where(segment[0] == 0xFFFF, 1, 2 + segment[1])  # FF may pad a marker
        return position, exif, words(data, position, 4)

    begin = tf.constant(2)
    position, exif, segment = tf.while_loop(
        goes_on, step, (begin, tf.constant(0), words(data, begin, 4)), maximum_iterations=_MOST_SEGMENTS
    )
    found = is_frame(segment[0]) & (position + 9 <= length)
    size = words(data, position + 5, 2)
    problem = tf.where(found, 0, tf.where(position + 9 > length, short, BROKEN_HEADER))
    size = tf.where(found, size, 0)
    return _Found(size[0], size[1], exif, problem)


def _png(data: tf.Tensor, short: tf.Tensor) -> _Found:
    """Size from IHDR; the chunks up to the pixels are walked for `eXIf`."""
    length = tf.strings.length(data)

    def step(position: tf.Tensor, chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.where(chunk[0] < 0x4000, chunk[0] * 65536 + chunk[1], length)
        position += 12 + tf.minimum(size, length)
        return position, words(data, position, 4)

    def goes_on(position: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
        pixels = (chunk[2] == 0x4944) & (chunk[3] == 0x4154)
        exif = (chunk[2] == 0x6558) & (chunk[3] == 0x4966)
        return (position + 8 <= length) & ~pixels & ~exif

    position, chunk = tf.while_loop(
        goes_on, step, (tf.constant(8), words(data, 8, 4)), maximum_iterations=_MOST_SEGMENTS
    )
    is_exif = (position + 8 <= length) & (chunk[2] == 0x6558)
    is_whole = position + 8 + tf.where(is_exif, chunk[1], 0) <= length
    first = words(data, 12, 6)  # "IHDR", width, height
    problem = tf.where((first[0] == 0x4948) & (first[1] == 0x4452), 0, BROKEN_HEADER)
    # A file without pixels is left to the decoder, which names it broken; a prefix must be read on.
    problem = tf.where((length < 33) | (~is_whole & (short == NEED_MORE)), short, problem)
    size = first[2:6:2] * 65536 + first[3:6:2]  # an overflow is negative, and so has no pixels
    return _Found(size[1], size[0], tf.where(is_exif & is_whole, position + 8, 0), problem)


def _gif(data: tf.Tensor, short: tf.Tensor) -> _Found:
    size = words(data, 6, 2, little=True)
    problem = tf.where(tf.strings.length(data) < 13, short, 0)
    return _Found(size[1], size[0], tf.constant(0), problem)


def _bmp(data: tf.Tensor, short: tf.Tensor) -> _Found:
    """TensorFlow reads whole bytes a pixel and ignores palette, compression and colour masks (tested: 2.21)."""
    field = words(data, 14, 10, little=True)  # header size, width, height, planes, bits, compression
    bits, compression = field[7], field[8]
    usual_masks = tf.reduce_all(words(data, 54, 6, little=True) == tf.constant([0, 0xFF, 0xFF00, 0, 0xFF, 0]))
    plain = (compression == 0) | ((compression == 3) & (bits == 32) & usual_masks)
    good = (field[0] >= 40) & ((bits == 24) | (bits == 32)) & plain
    # A negative height says that the top row comes first.
    size = field[2:5:2] + 65536 * tf.where(field[3:6:2] < 0x8000, field[3:6:2], field[3:6:2] - 65536)
    problem = tf.where(tf.strings.length(data) < 54, short, tf.where(good, 0, BAD_BMP))
    return _Found(tf.abs(size[1]), size[0], tf.constant(0), problem)


def _webp(data: tf.Tensor, short: tf.Tensor, complete: bool) -> _Found:
    """The three kinds of the WebP container specification: lossy, lossless, extended."""
    length = tf.strings.length(data)
    kind = tf.strings.substr(data, tf.minimum(12, length), 4)
    field = words(data, 20, 5, little=True)
    lossy = field[3:5] & 0x3FFF
    packed = words(data, 21, 2, little=True)
    lossless = tf.stack([packed[0] & 0x3FFF, (packed[0] // 0x4000) | ((packed[1] & 0xFFF) * 4)]) + 1
    canvas = tf.stack([field[2] | ((field[3] & 0xFF) * 0x10000), (field[3] // 0x100) | (field[4] * 0x100)]) + 1
    extended = kind == b"VP8X"
    size = tf.where(extended, canvas, tf.where(kind == b"VP8L", lossless, lossy))
    known = extended | (kind == b"VP8L") | ((kind == b"VP8 ") & (field[2] == 0x2A01))
    animated = extended & (field[0] & 0x02 > 0)
    has_exif = extended & (field[0] & 0x08 > 0)
    exif = tf.cond(has_exif, lambda: _webp_exif(data), lambda: tf.constant(0))
    problem = tf.where(known, tf.where(animated, ANIMATED_WEBP, 0), BROKEN_HEADER)
    if not complete:  # the EXIF chunk stands behind the pixels
        problem = tf.where((problem == 0) & has_exif & (exif == 0), short, problem)
    problem = tf.where(length < 30, short, problem)
    return _Found(size[1], size[0], exif, problem)


def _webp_exif(data: tf.Tensor) -> tf.Tensor:
    """Walks the RIFF chunks to `EXIF`, which may repeat JPEG's "Exif" in front; 0 where there is none."""
    length = tf.strings.length(data)

    def step(position: tf.Tensor, chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.where(chunk[3] < 0x4000, chunk[3] * 65536 + chunk[2], length)
        position += 8 + tf.minimum(size + (size & 1), length)
        return position, words(data, position, 6, little=True)

    position, chunk = tf.while_loop(
        lambda position, chunk: (position + 8 <= length) & ~((chunk[0] == 0x5845) & (chunk[1] == 0x4649)),
        step,
        (tf.constant(12), words(data, 12, 6, little=True)),
        maximum_iterations=_MOST_SEGMENTS,
    )
    start = position + tf.where((chunk[4] == 0x7845) & (chunk[5] == 0x6669), 14, 8)
    return tf.where((position + 8 <= length) & (chunk[0] == 0x5845), start, 0)


def _orientation(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """int32 scalar, 1..8: the orientation tag of the TIFF structure at byte `start`; 1 where it has none."""
    order = words(data, start, 1)[0]
    return tf.switch_case(
        tf.where(order == 0x4949, 1, tf.where(order == 0x4D4D, 2, 0)),
        [
            lambda: tf.constant(1),
            lambda: _find_orientation(data, start, little=True),
            lambda: _find_orientation(data, start, little=False),
        ],
    )


def _find_orientation(data: tf.Tensor, start: tf.Tensor, little: bool) -> tf.Tensor:
    low, high = (0, 1) if little else (1, 0)
    offset = words(data, start + 4, 2, little)
    directory = start + offset[low] + 65536 * tf.minimum(offset[high], 0x1000)
    count = tf.minimum(words(data, directory, 1, little)[0], _MOST_TAGS)
    tags = tf.reshape(words(data, directory + 2, 6 * _MOST_TAGS, little), [_MOST_TAGS, 6])  # tag, type, count, value
    short, long = tags[:, 4], tags[:, 4 + low]
    value = tf.where(tags[:, 1] == 4, long, short)
    here = (tags[:, 0] == _ORIENTATION_TAG) & (tf.range(_MOST_TAGS) < count) & (value >= 1) & (value <= 8)
    return tf.maximum(1, tf.reduce_max(tf.where(here, value, 0)))
