"""One stored box of one encoded picture -> a square of uint8 pixels, in the graph; each format in its own way.

`picture_crops.decode_rows` sets the function of a row up anew for each batch, so that is of few ops: what depends on
the header alone is worked out for the whole batch (`plan`), and rare branches are functions `apart`.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfssl.pipelines.decoding import gif
from tfssl.pipelines.decoding.headers import (
    BMP,
    FORMATS,
    GIF,
    JPEG,
    PNG,
    UNKNOWN,
    WEBP,
    Header,
    apart,
    bmp_end,
    words,
)

RATIOS = (1, 2, 4, 8)  # at which TensorFlow's JPEG decoder can scale
_NEVER_SHRUNK = 2**29


class Plan(NamedTuple):
    """How rows are decoded: int32 [N], [N], [N, 4].

    Of one row, `branch` and `format` may be Python's numbers where they are known before: the graph then has no other
    branches. TensorFlow 2.21 runs through every op of those that are not taken, which takes longer than a small JPEG.

    Attributes:
      branch: index into `RATIOS` for a JPEG, len(RATIOS) for all else.
      format: as in `headers`, UNKNOWN for what must not be decoded.
      window: (top, left, height, width) as stored, in pixels of the scaled picture.
    """

    branch: tf.Tensor
    format: tf.Tensor
    window: tf.Tensor


def plan(header: Header, box: tf.Tensor, size: int) -> Plan:
    """Choose scales of decoding for stored boxes int32 [N, 4].

    Each is the smallest that leaves a box no smaller than `size`.
    """
    kind = tf.where(header.problem == 0, header.format, UNKNOWN)
    branch = tf.where(kind == JPEG, scale(tf.reduce_min(box[:, 2:], axis=1), size), len(RATIOS))
    ratio = tf.gather([*RATIOS, 1], branch)
    return Plan(branch, kind, box // ratio[:, None])


def scale(side: tf.Tensor, size: int) -> tf.Tensor:
    """Return the index into `RATIOS` of the smallest scale that leaves a side (int32 [N], pixels) `size` or more."""
    return tf.reduce_sum(tf.cast((side // size)[:, None] >= RATIOS[1:], tf.int32), axis=1)


def decode(data: tf.Tensor, planned: Plan, size: int, kinds: tuple[int, ...] = FORMATS) -> tf.Tensor:
    """Decode a picture by its row of a `Plan`: uint8 [size, size, 3], as stored; raise in the graph if it is broken.

    Bilinear; antialiased where a box that cannot be scaled while decoding shrinks to half or less. The graph has what
    decodes `kinds`, the formats that occur: it is ready in half of the time where that is one.
    """
    branch, kind, window = planned
    if JPEG not in kinds:
        return resize(decode_other(data, kind, window, size, kinds)[None], size)[0]

    def jpeg(ratio: int) -> tf.Tensor:
        # The accurate transform: the pixels that libjpeg-turbo and Pillow give, and not slower (900 us against 896 on
        # crops of photos) than TensorFlow's fast one, which is off by 1.5 grey levels on average.
        return tf.io.decode_and_crop_jpeg(whole, window, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    # Decoding stops below the box, so it would not notice that the file is cut off further down. Files that do not
    # end as a JPEG must (or have bytes behind it) are decoded to the last row once more.
    ends_well = tf.equal(tf.strings.substr(data, -2, 2), b"\xff\xd9") | tf.equal(branch, len(RATIOS))
    whole = tf.cond(ends_well, lambda: data, lambda: _decode_to_its_end(data))
    cases: list[Callable[[], tf.Tensor]] = [
        lambda: jpeg(1),
        lambda: jpeg(2),
        lambda: jpeg(4),
        lambda: _shrink(jpeg(8), size),
        lambda: decode_other(whole, kind, window, size, kinds),
    ]
    return resize(_one_of(cases, branch)[None], size)[0]


def levels(data: tf.Tensor, header: Header, first: int, last: int) -> tf.Tensor:
    """Decode a whole picture as stored, at each of several scales; raise in the graph if it is broken.

    Args:
      data: string scalar.
      header: the header of this picture, int32 scalars, but its format a number.
      first, last: indices into `RATIOS`: which scales, of a JPEG. All else is decoded as it is, once.

    Returns:
      uint8 [n]: the pixels of all levels, one behind another, each [ceil(height / ratio), ceil(width / ratio), 3].
    """

    if header.format != JPEG:
        window = tf.stack([0, 0, header.height, header.width])
        return tf.reshape(decode_other(data, header.format, window, _NEVER_SHRUNK), [-1])
    scaled = [tf.io.decode_jpeg(data, 3, r, dct_method="INTEGER_ACCURATE") for r in RATIOS[first : last + 1]]
    return tf.concat([tf.reshape(level, [-1]) for level in scaled], 0)


def shrink_and_resize(pixels: tf.Tensor, branch: tf.Tensor, size: int) -> tf.Tensor:
    """Shrink a box uint8 [h, w, 3] of `levels` to [size, size, 3], as `decode` makes it; `branch` is its `Plan`'s."""
    shrunk = tf.cond(branch >= len(RATIOS) - 1, lambda: _shrink(pixels, size), lambda: pixels)
    return resize(shrunk[None], size)[0]


def resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Resize uint8 [N, h, w, 3] to [N, size, size, 3]: bilinear, rounded."""
    # The op itself: tf.image.resize adds a dozen of small ones. It has a fast way for floats only: with the cast before
    # it a picture of 224 px takes 0.16 ms, and by the op's own cast of each pixel that it reads 0.28.
    resized = tf.raw_ops.ResizeBilinear(images=tf.cast(pixels, tf.float32), size=[size, size], half_pixel_centers=True)
    return tf.cast(resized + 0.5, tf.uint8)


@apart
def _decode_to_its_end(data: tf.Tensor) -> tf.Tensor:
    # The pixels must count for the result: an op that is only waited for is optimised away if it has no effects.
    return tf.where(tf.size(tf.io.decode_jpeg(data, ratio=8)) > 0, data, "")


@apart
def _shrink(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Shrink uint8 [h, w, 3], antialiased, to [size, size, 3] where that is half of it or less; else do nothing."""

    def antialiased() -> tf.Tensor:
        return tf.cast(tf.clip_by_value(tf.image.resize(pixels, [size, size], antialias=True), 0, 255) + 0.5, tf.uint8)

    return tf.cond(tf.reduce_max(tf.shape(pixels)[:2]) >= 2 * size, antialiased, lambda: pixels)


@apart
def decode_other(
    data: tf.Tensor, kind: tf.Tensor | int, window: tf.Tensor, size: int, kinds: tuple[int, ...] = FORMATS
) -> tf.Tensor:
    """Decode a box of a PNG, GIF, BMP or WebP: uint8 [h, w, 3], shrunk if it is much larger than `size`.

    What is none of `kinds` is refused.
    """

    def crop(pixels: tf.Tensor) -> tf.Tensor:
        channels = tf.shape(pixels)[2:]
        return tf.slice(pixels, tf.concat([window[:2], [0]], 0), tf.concat([window[2:], channels], 0))

    def refuse() -> tf.Tensor:
        with tf.control_dependencies([tf.raw_ops.Assert(condition=False, data=["not decodable"])]):
            return tf.zeros([1, 1, 3], tf.uint8)

    def png_8(channels: int) -> Callable[[], tf.Tensor]:
        return lambda: _on_white(crop(tf.io.decode_png(data, channels=channels)))

    def png_16() -> tf.Tensor:
        pixels = tf.cast(crop(tf.io.decode_png(data, channels=4, dtype=tf.uint16)), tf.int32)
        return _on_white(tf.cast((pixels + 128) // 257, tf.uint8))  # 65535 = 255 x 257

    def png() -> tf.Tensor:
        # TensorFlow 2.21 adds alpha wrongly to fewer than 8 bits: a palette is decoded as it is, with alpha or without,
        # grey of 1, 2 or 4 bits as colour (its transparent colour, if there is one, is shown).
        bits, colour = words(data, 24, 1)[0] // 256, words(data, 24, 1)[0] & 0xFF
        grey = (colour == 0) & (bits < 8)
        way = tf.where(bits == 16, 3, tf.where(colour == 3, 2, tf.where(grey, 1, 0)))
        return tf.switch_case(way, [png_8(4), png_8(3), png_8(0), png_16])

    def first_of_gif() -> tf.Tensor:
        frame, before, after = gif.first_frame(data)
        padding = tf.concat([tf.stack([before, after], 1), [[0, 0]]], 0)
        return crop(tf.pad(tf.io.decode_gif(frame)[0], padding, constant_values=255))

    def bmp() -> tf.Tensor:
        # TensorFlow 2.21 refuses what has bytes behind its rows: two of Photoshop's, a colour profile. Many writers
        # leave the fourth byte 0, so it cannot be taken for alpha.
        return crop(tf.io.decode_bmp(tf.strings.substr(data, 0, bmp_end(data))))[..., :3]

    def webp() -> tf.Tensor:
        return _on_white(crop(tf.io.decode_webp(data, channels=0)[0]))

    decoders = {PNG: png, GIF: first_of_gif, BMP: bmp, WEBP: webp}
    known = [number for number in decoders if number in kinds]
    places = [known.index(number) + 1 if number in known else 0 for number in (UNKNOWN, *FORMATS)]
    cases: list[Callable[[], tf.Tensor]] = [refuse, *(decoders[number] for number in known)]
    pixels = _one_of(cases, places[kind] if isinstance(kind, int) else tf.gather(places, kind))
    return _shrink(tf.ensure_shape(pixels, [None, None, 3]), size)


def _one_of(cases: list[Callable[[], tf.Tensor]], which: tf.Tensor | int) -> tf.Tensor:
    return cases[which]() if isinstance(which, int) else tf.switch_case(which, cases)


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lay colours, by alpha where there is one, over white: uint8 [h, w, 3 or 4] -> [h, w, 3].

    The colour beneath transparent pixels is arbitrary, and white is where such pictures are mostly shown.
    """

    def blend() -> tf.Tensor:
        wide = tf.cast(pixels, tf.int32)
        return tf.cast(255 - ((255 - wide[..., :3]) * wide[..., -1:] + 127) // 255, tf.uint8)

    clear = tf.reduce_any(pixels[..., 3:] < 255)  # of an empty slice where there is no alpha
    return tf.cond(clear, blend, lambda: pixels[..., :3])
