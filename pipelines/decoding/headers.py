"""What the first bytes of a picture say: format, size, orientation, and whether TensorFlow should decode it at all.

Everything here runs in the graph, for all pictures of a batch at once, and never raises. Bytes are read through
`words`, which clamps: `tf.strings.substr` past the end would raise with raw bytes in its message.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

UNKNOWN, JPEG, PNG, GIF, BMP, WEBP = range(6)
FORMATS = (JPEG, PNG, GIF, BMP, WEBP)

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
_STRIDE = 512  # bytes, in which the next marker is looked for at once
_ORIENTATION_TAG = 0x0112
_MOST_TAGS = 512


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function whose graph is not copied into its caller's: a rare branch then costs next to nothing.

    TensorFlow 2.21 runs through every op of a branch that is not taken.
    """
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


class Header(NamedTuple):
    """int32 [N] each. Height and width are in pixels as stored, before the orientation is applied.

    Attributes:
      format: UNKNOWN, JPEG, PNG, GIF, BMP or WEBP.
      height, width: pixels; 0 where unknown.
      orientation: EXIF, 1..8; 1 where the file has none.
      problem: 0 for none, else an index into `PROBLEMS`.
    """

    format: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor
    problem: tf.Tensor


class _Facts(NamedTuple):
    """What one format's parser returns, int32 [N]. `exif` is where the TIFF structure starts, 0 for none."""

    height: tf.Tensor
    width: tf.Tensor
    exif: tf.Tensor
    problem: tf.Tensor


def words(data: tf.Tensor, position: tf.Tensor | int, count: int, little: bool = False) -> tf.Tensor:
    """Read int32 [..., count]: unsigned 16-bit numbers of each `data` from its byte `position` on; zeros past the end.

    `data` is string [...] and `position` int32, of the same shape or one for all.
    """
    length = tf.strings.length(data)
    begin = tf.clip_by_value(tf.broadcast_to(position, tf.shape(data)), 0, length)
    piece = tf.strings.substr(data, begin, tf.fill(tf.shape(data), 2 * count))
    numbers = tf.io.decode_raw(piece, tf.uint16, little_endian=little, fixed_length=2 * count)
    return tf.ensure_shape(tf.cast(numbers, tf.int32), [*data.shape, count])


def read_headers(data: tf.Tensor, complete: bool = True) -> Header:
    """Read format, size and EXIF orientation of encoded pictures.

    EXIF as in the standard CIPA DC-008 (APP1 of JPEG, `eXIf` of PNG before its pixels, `EXIF` of WebP), both byte
    orders. An orientation that only XMP has is not seen.

    Args:
      data: string [N], the bytes of files.
      complete: False where `data` may be only the first bytes of a file: what they do not reach is then NEED_MORE
        instead of broken.

    Returns:
      A `Header`; what is wrong is in its `problem`.
    """
    length = tf.strings.length(data)
    short = BREAKS_OFF if complete else NEED_MORE
    kind = _format(words(data, 0, 8))
    nothing = tf.zeros_like(kind)
    facts = _Facts(nothing, nothing, nothing, tf.fill(tf.shape(kind), NOT_A_PICTURE))
    parsers = {JPEG: _jpeg, PNG: _png, GIF: _gif, BMP: _bmp, WEBP: _webp}
    for number, parse in parsers.items():
        facts = _merge(kind == number, parse, data, short, facts)
    orientation = tf.cond(
        tf.reduce_any(facts.exif > 0), lambda: _orientation(data, facts.exif), lambda: tf.ones_like(kind)
    )
    problem = facts.problem
    if not complete:  # even the signature may be cut
        problem = tf.where(length < 16, short, problem)
    pixels = tf.cast(facts.height, tf.int64) * tf.cast(facts.width, tf.int64)
    problem = tf.where((problem == 0) & (tf.minimum(facts.height, facts.width) < 1), NO_PIXELS, problem)
    problem = tf.where((problem == 0) & (pixels > MAX_PIXELS), TOO_LARGE, problem)
    return Header(kind, facts.height, facts.width, orientation, problem)


def _merge(
    mine: tf.Tensor, parse: Callable[[tf.Tensor, int], _Facts], data: tf.Tensor, short: int, facts: _Facts
) -> _Facts:
    """Replace the rows `mine` (bool [N]) of `facts` by what one parser reads; it is not run where it has none."""

    def merged() -> _Facts:
        # Files of another format show the parser no bytes, so its loops end at once for them.
        shown = tf.cond(tf.reduce_all(mine), lambda: data, lambda: tf.where(mine, data, ""))
        return _Facts(*(tf.where(mine, new, old) for new, old in zip(parse(shown, short), facts, strict=True)))

    return tf.cond(tf.reduce_any(mine), merged, lambda: facts)


def read_header(data: tf.Tensor, complete: bool = True) -> Header:
    """Do `read_headers` for one picture: a string scalar in, int32 scalars out. Many at once are far cheaper."""
    return Header(*(field[0] for field in read_headers(tf.reshape(data, [1]), complete)))


def _format(start: tf.Tensor) -> tf.Tensor:
    """Recognise the format that the first eight big-endian words [N, 8] announce: int32 [N]."""

    def begins(*numbers: int) -> tf.Tensor:
        return tf.reduce_all(start[:, : len(numbers)] == tf.constant(numbers), axis=1)

    # In the order of the constants: JPEG, PNG, GIF, BMP, WEBP.
    matches = tf.stack(
        [
            begins(0xFFD8),
            begins(0x8950, 0x4E47, 0x0D0A, 0x1A0A),
            begins(0x4749, 0x4638),
            begins(0x424D),
            begins(0x5249, 0x4646) & (start[:, 4] == 0x5745) & (start[:, 5] == 0x4250),
        ],
        axis=1,
    )
    return tf.reduce_max(tf.cast(matches, tf.int32) * tf.range(1, 6), axis=1)


def _jpeg(data: tf.Tensor, short: int) -> _Facts:
    """Walk the segments from marker to marker up to the frame header (SOF0..15), as ITU-T T.81, B.1 orders them.

    What is no marker where one must stand is skipped up to the next marker, as libjpeg does (`next_marker`).
    """
    length = tf.strings.length(data)

    def is_frame(marker: tf.Tensor) -> tf.Tensor:
        others = (marker == 0xFFC4) | (marker == 0xFFC8) | (marker == 0xFFCC)
        return (marker >= 0xFFC0) & (marker <= 0xFFCF) & ~others

    def is_none(marker: tf.Tensor) -> tf.Tensor:
        # FF 00 is an FF among compressed data, and FF may pad a marker.
        return (marker <= 0xFF00) | (marker == 0xFFFF)

    def stands_alone(marker: tf.Tensor) -> tf.Tensor:
        return (marker == 0xFF01) | ((marker >= 0xFFD0) & (marker <= 0xFFD7))  # TEM and restart: without a length

    def goes_on(position: tf.Tensor, marker: tf.Tensor) -> tf.Tensor:
        # D8 to DA: start, end of image, and the scan: no frame header can follow these.
        ends = is_frame(marker) | ((marker >= 0xFFD8) & (marker <= 0xFFDA))
        return ~ends & (position + 2 <= length)

    def step(position: tf.Tensor, exif: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, ...]:
        marker, size, *name = tf.unstack(segment, axis=1)
        is_exif = (marker == 0xFFE1) & (name[0] == 0x4578) & (name[1] == 0x6966) & (exif == 0)
        exif = tf.where(is_exif, position + 10, exif)
        forward = tf.where(stands_alone(marker), 2, 2 + size)
        stray = is_none(marker) & (position + 2 <= length)
        forward = tf.cond(
            tf.reduce_any(stray), lambda: tf.where(stray, _to_next_marker(data, position), forward), lambda: forward
        )
        position += tf.where(goes_on(position, marker), forward, 0)
        return position, exif, words(data, position, 4)

    begin = tf.fill(tf.shape(length), 2)
    position, exif, segment = tf.while_loop(
        lambda position, exif, segment: tf.reduce_any(goes_on(position, segment[:, 0])),
        step,
        (begin, tf.zeros_like(length), words(data, begin, 4)),
        maximum_iterations=_MOST_SEGMENTS,
    )
    complete = is_frame(segment[:, 0]) & (position + 9 <= length)
    size = tf.where(complete[:, None], words(data, position + 5, 2), 0)
    problem = tf.where(complete, 0, tf.where(position + 9 > length, short, BROKEN_HEADER))
    return _Facts(size[:, 0], size[:, 1], exif, problem)


@apart
def _to_next_marker(data: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Count the bytes from `position` to the next marker, FF before neither 00 nor FF; if it is far, to near it."""
    length = tf.strings.length(data)
    piece = tf.strings.substr(data, tf.minimum(position, length), tf.fill(tf.shape(length), _STRIDE))
    numbers = tf.cast(tf.io.decode_raw(piece, tf.uint8, fixed_length=_STRIDE), tf.int32)
    here, behind = numbers[:, :-1], numbers[:, 1:]
    places = tf.where((here == 0xFF) & (behind != 0) & (behind != 0xFF), tf.range(_STRIDE - 1), _STRIDE - 1)
    return tf.reduce_min(places, axis=1)


@apart
def _png(data: tf.Tensor, short: int) -> _Facts:
    """Read the size from IHDR; walk the chunks up to the pixels for `eXIf`."""
    length = tf.strings.length(data)

    def is_named(chunk: tf.Tensor, first: int, second: int) -> tf.Tensor:
        return (chunk[:, 2] == first) & (chunk[:, 3] == second)

    def goes_on(position: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
        return (position + 8 <= length) & ~is_named(chunk, 0x4944, 0x4154) & ~is_named(chunk, 0x6558, 0x4966)

    def step(position: tf.Tensor, chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.where(chunk[:, 0] < 0x4000, chunk[:, 0] * 65536 + chunk[:, 1], length)
        position += tf.where(goes_on(position, chunk), 12 + tf.minimum(size, length), 0)
        return position, words(data, position, 4)

    position, chunk = tf.while_loop(
        lambda position, chunk: tf.reduce_any(goes_on(position, chunk)),
        step,
        (tf.fill(tf.shape(length), 8), words(data, 8, 4)),
        maximum_iterations=_MOST_SEGMENTS,
    )
    is_exif = (position + 8 <= length) & is_named(chunk, 0x6558, 0x4966)
    is_whole = position + 8 + tf.where(is_exif, chunk[:, 1], 0) <= length
    first = words(data, 12, 6)  # "IHDR", width, height
    problem = tf.where((first[:, 0] == 0x4948) & (first[:, 1] == 0x4452), 0, BROKEN_HEADER)
    # A file without pixels is left to the decoder, which names it broken; a prefix must be read on.
    problem = tf.where((length < 33) | (~is_whole & (short == NEED_MORE)), short, problem)
    size = first[:, 2:6:2] * 65536 + first[:, 3:6:2]  # an overflow is negative, and so has no pixels
    return _Facts(size[:, 1], size[:, 0], tf.where(is_exif & is_whole, position + 8, 0), problem)


@apart
def _gif(data: tf.Tensor, short: int) -> _Facts:
    length = tf.strings.length(data)
    size = words(data, 6, 2, little=True)
    return _Facts(size[:, 1], size[:, 0], tf.zeros_like(length), tf.where(length < 13, short, 0))


@apart
def _bmp(data: tf.Tensor, short: int) -> _Facts:
    """Read BMP. TensorFlow reads whole bytes a pixel, ignores palette, compression and colour masks (tested: 2.21)."""
    length = tf.strings.length(data)
    field = words(data, 14, 10, little=True)  # header size, width, height, planes, bits, compression
    bits, compression = field[:, 7], field[:, 8]
    usual_masks = tf.reduce_all(words(data, 54, 6, little=True) == [0, 0xFF, 0xFF00, 0, 0xFF, 0], axis=1)
    plain = (compression == 0) | ((compression == 3) & (bits == 32) & usual_masks)
    good = (field[:, 0] >= 40) & ((bits == 24) | (bits == 32)) & plain
    width, height, begin = (_signed(each) for each in (field[:, 2:4], field[:, 4:6], words(data, 10, 2, little=True)))
    problem = tf.where(good, tf.where(begin < 54, BROKEN_HEADER, 0), BAD_BMP)
    problem = tf.where(length < 54, short, problem)
    # A negative height says that the top row comes first.
    return _Facts(tf.abs(height), width, tf.zeros_like(length), problem)


def bmp_end(data: tf.Tensor) -> tf.Tensor:
    """Say where the last row of a BMP (string scalar, its header in order) ends: int32, bytes."""
    begin, width, height = tf.unstack(_signed(tf.gather(words(data, 10, 8, little=True), [[0, 1], [4, 5], [6, 7]])))
    row = (width * words(data, 28, 1, little=True)[0] // 8 + 3) // 4 * 4  # whole words of four bytes
    return begin + row * tf.abs(height)


def _signed(pairs: tf.Tensor) -> tf.Tensor:
    """Put the low and the high words [..., 2] of 32-bit numbers together: int32 [...]."""
    low, high = pairs[..., 0], pairs[..., 1]
    return low + 65536 * tf.where(high < 0x8000, high, high - 65536)


@apart
def _webp(data: tf.Tensor, short: int) -> _Facts:
    """Read the three kinds of the WebP container specification: lossy, lossless, extended."""
    length = tf.strings.length(data)
    kind = tf.strings.substr(data, tf.minimum(12, length), tf.fill(tf.shape(length), 4))
    _, _, start_code, *lossy = tf.unstack(words(data, 20, 5, little=True), axis=1)
    flags, _, low, middle, high = tf.unstack(words(data, 20, 5, little=True), axis=1)
    first, second = tf.unstack(words(data, 21, 2, little=True), axis=1)
    lossless = (first & 0x3FFF, (first // 0x4000) | ((second & 0xFFF) * 4))
    canvas = (low | ((middle & 0xFF) * 0x10000), (middle // 0x100) | (high * 0x100))
    extended = kind == b"VP8X"
    width, height = (
        tf.where(extended, one + 1, tf.where(kind == b"VP8L", two + 1, three & 0x3FFF))
        for one, two, three in zip(canvas, lossless, lossy, strict=True)
    )
    known = extended | (kind == b"VP8L") | ((kind == b"VP8 ") & (start_code == 0x2A01))
    has_exif = extended & (flags & 0x08 > 0)
    exif = tf.cond(tf.reduce_any(has_exif), lambda: _webp_exif(data), lambda: tf.zeros_like(length))
    exif = tf.where(has_exif, exif, 0)
    problem = tf.where(known, tf.where(extended & (flags & 0x02 > 0), ANIMATED_WEBP, 0), BROKEN_HEADER)
    if short == NEED_MORE:  # the EXIF chunk stands behind the pixels
        problem = tf.where((problem == 0) & has_exif & (exif == 0), short, problem)
    return _Facts(height, width, exif, tf.where(length < 30, short, problem))


def _webp_exif(data: tf.Tensor) -> tf.Tensor:
    """Walk the RIFF chunks to `EXIF`, which may repeat JPEG's "Exif" in front; return 0 where there is none."""
    length = tf.strings.length(data)

    def is_exif(chunk: tf.Tensor) -> tf.Tensor:
        return (chunk[:, 0] == 0x5845) & (chunk[:, 1] == 0x4649)

    def goes_on(position: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
        return (position + 8 <= length) & ~is_exif(chunk)

    def step(position: tf.Tensor, chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.where(chunk[:, 3] < 0x4000, chunk[:, 3] * 65536 + chunk[:, 2], length)
        position += tf.where(goes_on(position, chunk), 8 + tf.minimum(size + (size & 1), length), 0)
        return position, words(data, position, 6, little=True)

    position, chunk = tf.while_loop(
        lambda position, chunk: tf.reduce_any(goes_on(position, chunk)),
        step,
        (tf.fill(tf.shape(length), 12), words(data, 12, 6, little=True)),
        maximum_iterations=_MOST_SEGMENTS,
    )
    start = position + tf.where((chunk[:, 4] == 0x7845) & (chunk[:, 5] == 0x6669), 14, 8)
    return tf.where((position + 8 <= length) & is_exif(chunk), start, 0)


@apart
def _orientation(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Read the orientation tag of the TIFF structure at byte `start`: int32 [N], 1..8; 1 where there is none."""
    order = words(data, start, 1)[:, 0]
    tag = tf.where(
        order == 0x4949, _find_orientation(data, start, little=True), _find_orientation(data, start, little=False)
    )
    return tf.where((start > 0) & ((order == 0x4949) | (order == 0x4D4D)), tag, 1)


def _find_orientation(data: tf.Tensor, start: tf.Tensor, little: bool) -> tf.Tensor:
    low, high = (0, 1) if little else (1, 0)
    offset = words(data, start + 4, 2, little)
    directory = start + offset[:, low] + 65536 * tf.minimum(offset[:, high], 0x1000)
    count = tf.minimum(words(data, directory, 1, little), _MOST_TAGS)
    tags = tf.reshape(words(data, directory + 2, 6 * _MOST_TAGS, little), [-1, _MOST_TAGS, 6])
    value = tf.where(tags[..., 1] == 4, tags[..., 4 + low], tags[..., 4])  # tag, type, count, value: 4 is a long
    here = (tags[..., 0] == _ORIENTATION_TAG) & (tf.range(_MOST_TAGS) < count) & (value >= 1) & (value <= 8)
    return tf.maximum(1, tf.reduce_max(tf.where(here, value, 0), axis=1))
