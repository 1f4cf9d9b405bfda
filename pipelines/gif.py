"""The first frame of a GIF as a GIF of its own, cut out in the graph.

TensorFlow decodes every frame of an animation even if one is wanted (1.3 MB became 600 MiB), and shows transparent
pixels black. So the bytes of the first frame are put together anew, with its transparent colour painted white.
Format: GIF89a specification, W3C.
"""

import tensorflow as tf

from tfssl.pipelines import headers

# Blocks of at most 255 bytes that are walked one by one; full ones in a row are jumped over at once.
_MOST_BLOCKS = 16384
# Of each extension: were it the whole file, one of thousands of tiny extensions would take seconds a megabyte.
_EXTENSION_AHEAD = 1 << 14


def first_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cuts out the first frame.

    Args:
      data: string scalar, a GIF.

    Returns:
      A GIF that has this frame alone, without transparency, and int32 [2] twice: the pixels of the canvas above and
      left of it, and those below and right of it. Raises in the graph where the frame is not complete or does not lie
      on the canvas.
    """
    start, transparent = _find_frame(data)
    place = headers.words(data, start + 1, 4, little=True)  # left, top, width, height
    canvas = headers.words(data, 6, 2, little=True)
    local = start + 10
    local_size = _table_size(_byte(data, start + 9))
    end = _end_of_blocks(data, local + local_size + 1, tf.strings.length(data))
    inside = tf.reduce_all(place[:2] + place[2:] <= canvas)
    whole = tf.assert_equal(
        (_byte(data, start) == 0x2C) & inside & (end <= tf.strings.length(data)), True, "is a broken GIF"
    )
    with tf.control_dependencies([whole]):
        data = tf.identity(data)
    size = tf.strings.substr(data, start + 5, 4)
    frame = tf.strings.join(
        [
            tf.strings.substr(data, 0, 6) + size + tf.strings.substr(data, 10, 3),
            _paint_white(tf.strings.substr(data, 13, _table_size(_byte(data, 10))), transparent),
            tf.constant(b",\0\0\0\0") + size + tf.strings.substr(data, start + 9, 1),
            _paint_white(tf.strings.substr(data, local, local_size), transparent),
            tf.strings.substr(data, local + local_size, end - local - local_size) + b";",
        ]
    )
    return frame, place[1::-1], (canvas - place[:2] - place[2:])[::-1]


def _byte(data: tf.Tensor, position: tf.Tensor | int) -> tf.Tensor:
    return headers.words(data, position, 1, little=True)[0] & 0xFF


def _table_size(flags: tf.Tensor) -> tf.Tensor:
    """Bytes of the colour table that these flags announce."""
    return tf.where(flags & 0x80 > 0, 3 * tf.bitwise.left_shift(2, flags & 7), 0)


def _paint_white(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """A colour table with entry `index` (-1 for none) white."""
    size = tf.strings.length(table)

    def painted() -> tf.Tensor:
        return tf.strings.join(
            [tf.strings.substr(table, 0, 3 * index), b"\xff\xff\xff", tf.strings.substr(table, 3 * index + 3, size)]
        )

    return tf.cond((index >= 0) & (3 * index + 3 <= size), painted, lambda: table)


def _find_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Byte where the first image descriptor stands, and the transparent colour's index or -1."""

    def step(position: tf.Tensor, transparent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        control = headers.words(data, position + 1, 3, little=True)  # label and size; flags and delay; delay and index
        has_colour = (control[0] == 0x04F9) & (control[1] & 1 > 0)
        colour = headers.words(data, position + 6, 1, little=True)[0] & 0xFF
        return _end_of_blocks(data, position + 2, _EXTENSION_AHEAD), tf.where(has_colour, colour, transparent)

    first = 13 + _table_size(_byte(data, 10))
    return tf.while_loop(
        lambda position, transparent: _byte(data, position) == 0x21,
        step,
        (first, tf.constant(-1)),
        maximum_iterations=_MOST_BLOCKS,
    )


def _end_of_blocks(data: tf.Tensor, start: tf.Tensor, ahead: tf.Tensor | int) -> tf.Tensor:
    """Byte behind the chain of sub-blocks (a size byte, then so many bytes) that begins at `start`.

    More than the length of `data` where the chain has no end. Full blocks in a row are jumped over at once, as far as
    `ahead` bytes, which are copied for that.
    """
    length = tf.strings.length(data)
    rest = tf.strings.substr(data, tf.minimum(start, length), ahead)
    sizes = tf.io.decode_raw(rest, tf.uint8)[::256]  # of a run of full blocks, which is what encoders write
    run = tf.reduce_sum(tf.math.cumprod(tf.cast(sizes == 255, tf.int32)))
    position = tf.while_loop(
        lambda position: (position < length) & (_byte(data, position) > 0),
        lambda position: (position + 1 + _byte(data, position),),
        (start + 256 * run,),
        maximum_iterations=_MOST_BLOCKS,
    )[0]
    # A chain that ends exactly at the end of the file lacks its terminator.
    return tf.where((position < length) & (_byte(data, position) == 0), position + 1, length + 1)
