"""The first frame of a GIF as a GIF of its own, cut out in the graph.

TensorFlow decodes every frame of an animation even if one is wanted (1.3 MB became 600 MiB), and shows transparent
pixels black. So the bytes of the first frame are put together anew, with its transparent colour painted white.
Format: GIF89a specification, W3C.
"""

import tensorflow as tf

from tfssl.pipelines.decoding import headers

# Bytes that are walked at once. Chains of blocks are followed by doubling: where does each byte lead in 1, 2, 4, ...
# steps? One block after another takes 20 us each: a file of tiny blocks then took a second for 100 KB.
_WINDOW = 1024
_DOUBLINGS = _WINDOW.bit_length() - 1  # two steps advance by at least three bytes
_MOST_WINDOWS = 2048  # 0.6 s; an honest file has a few
_BEHIND = 2 * 258  # places behind a window that its last blocks may lead to


def first_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cut out the first frame.

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
    """Return the bytes of the colour table that these flags announce."""
    return tf.where(flags & 0x80 > 0, 3 * tf.bitwise.left_shift(2, flags & 7), 0)


def _paint_white(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Make entry `index` (-1 for none) of a colour table white."""
    size = tf.strings.length(table)

    def painted() -> tf.Tensor:
        return tf.strings.join(
            [tf.strings.substr(table, 0, 3 * index), b"\xff\xff\xff", tf.strings.substr(table, 3 * index + 3, size)]
        )

    return tf.cond((index >= 0) & (3 * index + 3 <= size), painted, lambda: table)


def _find_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find the byte where the first image descriptor stands, and the transparent colour's index or -1."""
    first = 13 + _table_size(_byte(data, 10))
    position, control = _walk(data, first, inside=0)
    colour = headers.words(data, control + 6, 1, little=True)[0] & 0xFF
    return position, tf.where(control >= 0, colour, -1)


def _end_of_blocks(data: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Find the byte behind the chain of sub-blocks (a size byte, then so many bytes) that begins at `start`.

    More than `length`, that of `data`, where the chain has no end. Full blocks in a row, which is what encoders write,
    are jumped over at once.
    """
    rest = tf.strings.substr(data, tf.minimum(start, length), length)
    sizes = tf.io.decode_raw(rest, tf.uint8)[::256]
    run = tf.reduce_sum(tf.math.cumprod(tf.cast(sizes == 255, tf.int32)))
    return _walk(data, start + 256 * run, inside=1, ends=True)[0]


def _walk(data: tf.Tensor, start: tf.Tensor, inside: int, ends: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Follow blocks from byte `start` on.

    At a byte one is either between extensions (0), where 0x21 begins one, or at the size byte of a sub-block within
    one (1), where 0 ends it.

    Args:
      data: string scalar.
      start: int32 scalar.
      inside: which of the two `start` is.
      ends: stop behind the first chain of sub-blocks.

    Returns:
      int32 scalars: the first byte between extensions that begins none (more than the length of `data` where there is
      none), and where the last graphic control extension with a transparent colour stands, -1 for none.
    """
    length = tf.strings.length(data)

    def step(place: tf.Tensor, control: tf.Tensor, going: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        position = place // 2
        count = tf.minimum(length - position, _WINDOW)
        read = tf.io.decode_raw(tf.strings.substr(data, position, count + 3), tf.uint8)
        bytes_ = tf.cast(read[:count], tf.int32)
        at = 2 * tf.range(count)
        # Place 2 i is byte i between extensions, 2 i + 1 the same byte within one. What lies behind the window leads
        # to itself.
        within = tf.where(bytes_ == 0, at + 2, at + 3 + 2 * bytes_)
        between = at if ends else tf.where(bytes_ == 0x21, at + 5, at)
        behind = 2 * count + tf.range(_BEHIND)
        leads = tf.concat([tf.reshape(tf.stack([between, within], 1), [-1]), behind], 0)
        if ends:
            for _ in range(_DOUBLINGS):
                leads = tf.gather(leads, leads)
        else:
            seen = _transparent(read, count)
            for _ in range(_DOUBLINGS):
                seen = tf.maximum(seen, tf.gather(seen, leads))
                leads = tf.gather(leads, leads)
            here = seen[place % 2]
            control = tf.where(here >= 0, position + here, control)
        to = leads[place % 2]
        return to + 2 * position, control, to >= 2 * count

    begin = 2 * tf.minimum(start, length) + inside
    place, control, going = tf.while_loop(
        lambda place, control, going: going & (place // 2 < length),
        step,
        (begin, tf.constant(-1), tf.constant(True)),
        maximum_iterations=_MOST_WINDOWS,
    )
    # What ran past the end, or stopped at it within a chain, has no end.
    whole = ~going | ((place == 2 * length) & ends)
    return tf.where(whole, place // 2, length + 1), control


def _transparent(read: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Find, for each place of a window, where a control extension with a transparent colour begins: its byte, or -1.

    Args:
      read: uint8 [count to count + 3], the window and what follows it.
      count: int32 scalar.
    """
    ahead = tf.concat([read, tf.zeros([3], tf.uint8)], 0)
    label, size, flags = (ahead[offset : count + offset] for offset in (1, 2, 3))
    begins = (read[:count] == 0x21) & (label == 0xF9) & (size == 4) & (flags & 1 > 0)
    here = tf.where(begins, tf.range(count), -1)
    return tf.concat([tf.reshape(tf.stack([here, tf.fill([count], -1)], 1), [-1]), tf.fill([_BEHIND], -1)], 0)
