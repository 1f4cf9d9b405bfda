"""What is known of places in a picture follows when a box is cut out of it and mirrored: maps, points, boxes, normals.

A picture is cut by a box int32 [4] (top, left, height, width in its pixels), resized to `size` and then mirrored, left
and right, where `mirrored`. Points are (x, y) in pixels, the upper left corner of the picture being (0, 0).
"""

import tensorflow as tf

AREA = (0.5, 1.0)
"""Smallest and largest part of a region's area that a random square has."""
BOX, LEFT_OUT, CROWD = 1.0, 2.0, 3.0
"""Kinds of boxes: a thing; one that is neither learned from nor measured; many things of a class. 0 is none."""
LEAST_LEFT = 0.25
"""The part of a thing's box that must be left of it in a crop; of less one cannot say what it is."""


def random_squares(regions: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draw a square inside of each square region, its area and its place even: int32 [B, 4].

    Squares keep shapes as they are: angles of surfaces would be wrong in a picture that is stretched.

    Args:
      regions: int32 [B, 4].
      seed: int32 [2].
    """
    whole = tf.cast(regions, tf.float32)
    draw = tf.random.stateless_uniform([tf.shape(regions)[0], 3], seed)
    side = tf.maximum(tf.round(tf.sqrt(AREA[0] + (AREA[1] - AREA[0]) * draw[:, 0]) * whole[:, 2]), 1.0)
    free = whole[:, 2] - side
    corner = tf.minimum(tf.floor(draw[:, 1:] * (free + 1)[:, None]), free[:, None])
    return tf.cast(tf.concat([whole[:, :2] + corner, tf.stack([side, side], 1)], 1), tf.int32)


def mirror(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Mirror those of [B, S, S, C] that are `mirrored`, bool [B]."""
    return tf.where(mirrored[:, None, None, None], tf.reverse(images, [2]), images)


def cut_maps(
    encoded: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor, size: int, channels: int, dtype: tf.DType
) -> tf.Tensor:
    """Cut maps of the size of their pictures, without blending: class numbers have no mean.

    Args:
      encoded: string [B], PNG.
      box: int32 [B, 4].
      mirrored: bool [B].
      channels, dtype: of the PNG.

    Returns:
      dtype [B, size, size, channels]: the pixel that stands in the centre of each place.
    """

    def cut(row: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        data, (top, left, height, width), flipped = row[0], tf.unstack(row[1]), row[2]
        place = (tf.range(size, dtype=tf.float32) + 0.5) / size
        rows = top + tf.cast(tf.floor(place * tf.cast(height, tf.float32)), tf.int32)
        columns = left + tf.cast(tf.floor(place * tf.cast(width, tf.float32)), tf.int32)
        pixels = tf.io.decode_png(data, channels, dtype)
        return tf.gather(tf.gather(pixels, rows), tf.where(flipped, columns[::-1], columns), axis=1)

    spec = tf.TensorSpec([size, size, channels], dtype)
    return tf.map_fn(cut, (encoded, box, mirrored), fn_output_signature=spec)


def cut_points(points: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor, partners: tf.Tensor) -> tf.Tensor:
    """Move points with the picture.

    Args:
      points: float32 [B, J, 3]: x, y, and 1 where it is known, else 0.
      box: int32 [B, 4].
      mirrored: bool [B].
      partners: int32 [J]: which point each becomes in a mirror, the right hand for the left; itself where none.

    Returns:
      float32 [B, J, 3]: x and y as shares of the box's sides, and 1 where the point is known and inside of the box.
    """
    known, corner, sides = points[..., 2:], tf.cast(box[:, None, 1::-1], tf.float32), box[:, None, 3:1:-1]
    share = (points[..., :2] - corner) / tf.cast(sides, tf.float32)
    share = tf.where(known > 0, share, 0.0)
    inside = tf.reduce_all((share >= 0) & (share < 1), -1, keepdims=True)
    moved = tf.concat([share, known * tf.cast(inside, tf.float32)], -1)
    flipped = tf.concat([1 - moved[..., :1], moved[..., 1:]], -1)
    return tf.where(mirrored[:, None, None], tf.gather(flipped, partners, axis=1), moved)


def cut_boxes(boxes: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Move boxes with the picture; of those that are cut, what is visible stays.

    Args:
      boxes: float32 [B, K, 6]: left, top, right, bottom in pixels, class, kind: 0 where there is none.
      box: int32 [B, 4].
      mirrored: bool [B].

    Returns:
      float32 [B, K, 6]: the first four as shares of the box's sides, 0 .. 1. Of a thing of which less than a quarter of
      its box is left the kind is `LEFT_OUT`; of what is outside all is 0.
    """
    corner = tf.cast(tf.gather(box, [1, 0, 1, 0], axis=1), tf.float32)[:, None]
    sides = tf.cast(tf.gather(box, [3, 2, 3, 2], axis=1), tf.float32)[:, None]
    whole = (boxes[..., :4] - corner) / sides
    seen = tf.clip_by_value(whole, 0.0, 1.0)
    left, top, right, bottom = tf.unstack(seen, axis=-1)
    flipped = tf.stack([1 - right, top, 1 - left, bottom], -1)
    area = tf.math.divide_no_nan(_area(seen), _area(whole))
    kind = boxes[..., 5]
    kind = tf.where((kind == BOX) & (area < LEAST_LEFT), LEFT_OUT, kind)
    moved = tf.where(mirrored[:, None, None], flipped, seen)
    made = tf.concat([moved, boxes[..., 4:5], kind[..., None]], -1)
    return tf.where(((boxes[..., 5] > 0) & (area > 0))[..., None], made, 0.0)


def _area(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def mirror_normals(normals: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Turn normals float32 [B, S, S, 3] (x to the right) of maps that were mirrored: what looked left looks right."""
    sign = tf.where(mirrored[:, None], tf.constant([-1.0, 1.0, 1.0]), tf.constant([1.0, 1.0, 1.0]))
    return normals * sign[:, None, None, :]
