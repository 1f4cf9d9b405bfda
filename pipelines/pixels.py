"""From encoded bytes to square uint8 pictures, in the graph: crop, scaled decoding, resize, turn upright.

Training, evaluation and serving all come through here. A crop is chosen upright and mapped to the picture as it is
stored, so a JPEG decodes no more than its crop, at 1/2, 1/4 or 1/8 where the crop is that much larger than wanted.
Transparent pixels are put on white: the colour beneath them is arbitrary, and white is where such pictures are shown.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfssl.pipelines import gif
from tfssl.pipelines.headers import JPEG, PNG, Header, read_header, words


def upright_size(header: Header) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width in pixels, int32 scalars, as the picture is meant to be seen."""
    lying = header.orientation >= 5
    return tf.where(lying, header.width, header.height), tf.where(lying, header.height, header.width)


def centre_box(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """int32 [4] (top, left, height, width): the largest centred square, in pixels."""
    side = tf.minimum(height, width)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def random_box(
    height: tf.Tensor,
    width: tf.Tensor,
    seed: tf.Tensor,
    area: tuple[float, float] = (0.35, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """A random box inside a picture, as in Inception (Szegedy et al. 2015, arXiv 1409.4842).

    The area is uniform; the logarithm of the aspect is uniform among those with which a box of that area fits. Nothing
    is drawn twice: where no aspect fits (a very long picture), the box is as large as fits.

    Args:
      height, width: int32 scalars, pixels.
      seed: int32 [2].
      area: smallest and largest part of the picture's area.
      aspect: smallest and largest width / height.

    Returns:
      int32 [4] (top, left, height, width), pixels.
    """
    tall, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    draw = tf.random.stateless_uniform([4], seed)
    pixels = (area[0] + (area[1] - area[0]) * draw[0]) * tall * wide
    narrowest = tf.minimum(tf.maximum(aspect[0], pixels / (tall * tall)), aspect[1])
    widest = tf.maximum(tf.minimum(aspect[1], wide * wide / pixels), narrowest)
    ratio = tf.exp(tf.math.log(narrowest) + draw[1] * tf.math.log(widest / narrowest))
    whole = tf.stack([tall, wide])
    box = tf.clip_by_value(tf.round(tf.sqrt(pixels * tf.stack([1 / ratio, ratio]))), 1.0, whole)
    corner = tf.minimum(tf.floor(draw[2:] * (whole - box + 1)), whole - box)
    return tf.cast(tf.concat([corner, box], 0), tf.int32)


def decode_box(data: tf.Tensor, header: Header, box: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes a box of a picture and resizes it.

    Args:
      data: string scalar, the encoded picture.
      header: of this picture.
      box: int32 [4] (top, left, height, width), pixels of the upright picture, inside it.
      size: side of the result in pixels.

    Returns:
      uint8 [size, size, 3], upright. Raises in the graph on a picture with a problem or a broken body.
    """
    # The check comes before decoding: a picture that claims to be enormous must not be decoded at all.
    with tf.control_dependencies([tf.raw_ops.Assert(condition=tf.equal(header.problem, 0), data=["not decodable"])]):
        data = tf.identity(data)
    upright = tf.equal(header.orientation, 1)
    box = tf.cond(upright, lambda: box, lambda: _stored_box(header, box))
    pixels = tf.cond(
        tf.equal(header.format, JPEG),
        lambda: _decode_jpeg(data, header, box, size),
        lambda: _decode_other(data, header, box),
    )
    pixels = _resize(pixels, size)
    pixels = tf.cond(upright, lambda: pixels, lambda: _turn_upright(pixels, header.orientation))
    return tf.ensure_shape(pixels, [size, size, 3])


def centre_crop(data: tf.Tensor, header: Header, size: int) -> tf.Tensor:
    """uint8 [size, size, 3]: the largest centred square of a picture, upright; raises as `decode_box` does."""
    return decode_box(data, header, centre_box(*upright_size(header)), size)


def training_crop(data: tf.Tensor, header: Header, seed: tf.Tensor, size: int) -> tf.Tensor:
    """A random crop of a picture; it is not flipped, as tasks flip.

    Pictures whose short side is at least 1.25 x `size` give a `random_box`. Smaller ones (CIFAR) give their centred
    square at `size`, with a reflected border of size // 8 pixels, from which a random square is cut.

    Args:
      data: string scalar, the encoded picture.
      header: of this picture.
      seed: int32 [2].
      size: side of the result in pixels.

    Returns:
      uint8 [size, size, 3], upright. Raises as `decode_box` does.
    """
    height, width = upright_size(header)
    is_large = 4 * tf.minimum(height, width) >= 5 * size
    box = tf.cond(is_large, lambda: random_box(height, width, seed), lambda: centre_box(height, width))
    pixels = decode_box(data, header, box, size)
    return tf.cond(is_large, lambda: pixels, lambda: _shift(pixels, seed, size // 8))


def decode_rows(
    function: Callable[[Any], tf.Tensor], rows: Any, size: int, parallel: int | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Maps a decoder over rows; one that fails leaves its neighbours alone.

    Sequential unless told otherwise: callers run it inside a parallel map over batches.

    Args:
      function: one row of `rows` -> uint8 [size, size, 3]; may raise in the graph.
      rows: nested structure of tensors [N, ...].
      size: side of the pictures in pixels.
      parallel: how many rows are decoded at once; for callers that have one batch at a time, as a server.

    Returns:
      uint8 [N, size, size, 3], zeros where a row failed, and bool [N], False there.
    """
    count = tf.shape(tf.nest.flatten(rows)[0])[0]
    numbered = tf.data.Dataset.from_tensor_slices((tf.range(count), rows))
    decoded = numbered.map(
        lambda number, row: (number, tf.ensure_shape(function(row), [size, size, 3])),
        num_parallel_calls=parallel,
        deterministic=None if parallel is None else True,
    ).ignore_errors()
    # One more row, so that a batch exists even if every row failed; it also is what failed rows show.
    blank = tf.data.Dataset.from_tensors((count, tf.zeros([size, size, 3], tf.uint8)))
    batch = decoded.concatenate(blank).batch(tf.cast(count, tf.int64) + 1)
    options = tf.data.Options()
    # This dataset is made anew for each batch: rewriting its graph costs more than it gains.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    numbers, pixels = batch.with_options(options).get_single_element()
    last = tf.shape(numbers)[0] - 1
    place = tf.tensor_scatter_nd_update(tf.fill([count + 1], last), numbers[:, None], tf.range(last + 1))[:-1]
    valid = place < last
    # Nearly always no row failed: then nothing need be moved.
    pixels = tf.cond(tf.equal(last, count), lambda: pixels[:-1], lambda: tf.gather(pixels, place))
    batch_size = tf.nest.flatten(rows)[0].shape[:1]
    return tf.ensure_shape(pixels, [*batch_size, size, size, 3]), tf.ensure_shape(valid, batch_size)


def pictures(data: tf.Tensor, size: int, parallel: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """The centred squares of encoded pictures: what evaluation, embedding and serving all see.

    Args:
      data: string [N], encoded pictures.
      size: side in pixels.
      parallel: as in `decode_rows`.

    Returns:
      uint8 [N, size, size, 3] and bool [N]; a row that is no picture gives zeros and False.
    """
    return decode_rows(lambda one: centre_crop(one, read_header(one), size), data, size, parallel)


def _decode_jpeg(data: tf.Tensor, header: Header, box: tf.Tensor, size: int) -> tf.Tensor:
    """uint8 [h, w, 3]: a stored box at the scale 1, 1/2, 1/4 or 1/8 that leaves it no smaller than `size`."""

    def at(ratio: int) -> Callable[[], tf.Tensor]:
        def decode() -> tf.Tensor:
            whole = tf.stack([0, 0, -(-header.height // ratio), -(-header.width // ratio)])
            scaled = box // ratio
            window = tf.where(ends_well, scaled, whole)
            pixels = tf.io.decode_and_crop_jpeg(data, window, channels=3, ratio=ratio)
            return tf.slice(pixels, tf.concat([scaled[:2] - window[:2], [0]], 0), tf.concat([scaled[2:], [3]], 0))

        return decode

    # Decoding stops below the crop, so it would not notice that the file is cut off further down. Files that do not
    # end as a JPEG must (or with bytes behind it) are decoded to the last row.
    length = tf.strings.length(data)
    ends_well = tf.equal(words(data, length - 2, 1)[0], 0xFFD9)
    shrink = tf.minimum(box[2], box[3]) // size
    scale = tf.reduce_sum(tf.cast(shrink >= [2, 4, 8], tf.int32))
    return tf.switch_case(scale, [at(1), at(2), at(4), at(8)])


def _decode_other(data: tf.Tensor, header: Header, box: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 3]: a stored box of a PNG, GIF, BMP or WebP, at full scale."""

    def crop(pixels: tf.Tensor) -> tf.Tensor:
        channels = tf.shape(pixels)[2:]
        return tf.slice(pixels, tf.concat([box[:2], [0]], 0), tf.concat([box[2:], channels], 0))

    def png_8() -> tf.Tensor:
        return _on_white(crop(tf.io.decode_png(data, channels=4)))

    def png_16() -> tf.Tensor:
        pixels = tf.cast(crop(tf.io.decode_png(data, channels=4, dtype=tf.uint16)), tf.int32)
        return _on_white(tf.cast((pixels + 128) // 257, tf.uint8))  # 65535 = 255 x 257

    def png() -> tf.Tensor:
        return tf.cond(tf.equal(words(data, 24, 1)[0] // 256, 16), png_16, png_8)

    def first_of_gif() -> tf.Tensor:
        frame, place = gif.first_frame(data)
        pixels = tf.io.decode_gif(frame)[0]
        before = place[:2]
        after = tf.stack([header.height, header.width]) - place[:2] - place[2:]
        padding = tf.concat([tf.stack([before, after], 1), [[0, 0]]], 0)
        return crop(tf.pad(pixels, padding, constant_values=255))

    def bmp() -> tf.Tensor:
        # Many writers leave the fourth byte 0, so it cannot be taken for alpha.
        return crop(tf.io.decode_bmp(data))[..., :3]

    def webp() -> tf.Tensor:
        pixels = crop(tf.io.decode_webp(data, channels=0)[0])
        return tf.cond(tf.equal(tf.shape(pixels)[2], 4), lambda: _on_white(pixels), lambda: pixels)

    pixels = tf.switch_case(header.format - PNG, [png, first_of_gif, bmp, webp])
    return tf.ensure_shape(pixels, [None, None, 3])


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 4] -> [h, w, 3]: colours, by alpha, over white."""

    def blend() -> tf.Tensor:
        wide = tf.cast(pixels, tf.int32)
        return tf.cast(255 - ((255 - wide[..., :3]) * wide[..., 3:] + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_min(pixels[..., 3]) == 255, lambda: pixels[..., :3], blend)


def _resize(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """uint8 [h, w, 3] -> [size, size, 3], bilinear; antialiased where it shrinks to half or less."""

    def plain() -> tf.Tensor:
        return tf.raw_ops.ResizeBilinear(images=pixels[None], size=[size, size], half_pixel_centers=True)[0]

    def antialiased() -> tf.Tensor:
        return tf.clip_by_value(tf.image.resize(pixels, [size, size], antialias=True), 0.0, 255.0)

    resized = tf.cond(tf.reduce_max(tf.shape(pixels)[:2]) >= 2 * size, antialiased, plain)
    return tf.cast(resized + 0.5, tf.uint8)


def _stored_box(header: Header, box: tf.Tensor) -> tf.Tensor:
    """An upright box in the coordinates of the picture as stored: undoes `_turn_upright`."""
    height, width = upright_size(header)
    down, right = _mirrored(header.orientation)
    top = tf.where(down, height - box[0] - box[2], box[0])
    left = tf.where(right, width - box[1] - box[3], box[1])
    lying = header.orientation >= 5
    return tf.where(lying, tf.stack([left, top, box[3], box[2]]), tf.stack([top, left, box[2], box[3]]))


def _turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """uint8 [size, size, 3] as stored -> upright: first transposed (EXIF 5 to 8), then mirrored."""
    turned = tf.transpose(pixels, tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2]))
    return tf.raw_ops.Reverse(tensor=turned, dims=tf.stack([*_mirrored(orientation), False]))


def _mirrored(orientation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """bool scalars: whether rows, and whether columns, come in reverse order."""
    down = tf.reduce_any(orientation == [3, 4, 7, 8])
    right = tf.reduce_any(orientation == [2, 3, 6, 7])
    return down, right


def _shift(pixels: tf.Tensor, seed: tf.Tensor, border: int) -> tf.Tensor:
    """Moves a square picture by up to `border` pixels each way; what comes in at the edge is its reflection."""
    size = pixels.shape[0]
    offset = tf.random.stateless_uniform([2, 1], seed, 0, 2 * border + 1, tf.int32) - border
    place = tf.abs(tf.range(size) + offset)
    place = size - 1 - tf.abs(size - 1 - place)
    return tf.gather(tf.gather(pixels, place[0]), place[1], axis=1)
