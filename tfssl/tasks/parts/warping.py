"""Layers that find and follow motion between two pictures: matching of features, and warping by a flow."""

from typing import Any

import keras
import tensorflow as tf

SHARPNESS = 10.0
"""What similarities, cosines, are multiplied by before the softmax over displacements."""

LEAST_SQUARE = 1e-3
"""Added to the squared length of an embedding: where a map has nothing to tell, nothing is similar."""

UNITS = 32
"""How many units of `WarpedBetween` a side has: the same motion has the same numbers at each size."""


@keras.saving.register_keras_serializable("tfssl")
class MatchedDisplacement(keras.layers.Layer):
    """Which displacement makes two maps alike, half of it done by each: of what moves evenly, that of the middle.

    For each place p and each displacement d of at most `reach` places, up, down and to the sides, the similarity is the
    cosine of the first map at p - d and the second at p + d; maps are mirrored at their borders.

    Input: two maps, float [N, h, w, D].
    Output: float32 [N, h, w, 3]: the mean of d, rows then columns, in places, weighted by the softmax of similarities
      times 10; and the similarity of d = 0 less the mean of all, so weighted: negative where something moves.

    Args:
      reach: places; fewer where a map is narrower.
    """

    def __init__(self, reach: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.reach = reach

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        first, second = (
            each * tf.math.rsqrt(tf.reduce_sum(each * each, -1, keepdims=True) + LEAST_SQUARE) for each in inputs
        )
        height, width = first.shape[1:3]
        reach = min(self.reach, height, width)
        around = [(rows, columns) for rows in range(-reach, reach + 1) for columns in range(-reach, reach + 1)]
        border = [[0, 0], [reach, reach], [reach, reach], [0, 0]]
        first, second = tf.pad(first, border, "SYMMETRIC"), tf.pad(second, border, "SYMMETRIC")

        def moved(padded: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
            return padded[:, reach + rows : reach + rows + height, reach + columns : reach + columns + width]

        products = [moved(first, -rows, -columns) * moved(second, rows, columns) for rows, columns in around]
        similar = tf.stack([tf.reduce_sum(product, -1) for product in products], -1)
        shares = tf.nn.softmax(SHARPNESS * similar)
        displacement = tf.tensordot(shares, tf.constant(around, tf.float32), 1)
        still = similar[..., len(around) // 2, None] - tf.reduce_sum(shares * similar, -1, keepdims=True)
        return tf.concat([displacement, still], -1)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (*input_shape[0][:3], 3)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"reach": self.reach}


@keras.saving.register_keras_serializable("tfssl")
class WarpedBetween(keras.layers.Layer):
    """The frame between two, from where each of its pixels lies in both, and how much each of the two counts.

    Input: frames uint8 [N, 2, H, W, 3]; numbers float [N, H, W, 5]: where to look in the first frame, rows and
      columns, and where in the second, from the pixel's own place, in units of 1/32 of the height and of the width;
      and the logit of the first frame's share.
    Output: colours from -1 (0) to 1 (255), float32 [N, H, W, 3]. Zeros give the mean of both frames.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32"} | kwargs)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        frames, numbers = inputs
        colours = tf.cast(frames, tf.float32) / 127.5 - 1.0
        unit = tf.constant([side / UNITS for side in frames.shape[2:4]], tf.float32)
        share = tf.sigmoid(numbers[..., 4:])
        first = warp(colours[:, 0], unit * numbers[..., :2])
        second = warp(colours[:, 1], unit * numbers[..., 2:4])
        return share * first + (1.0 - share) * second

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (*input_shape[1][:3], 3)


def warp(pictures: tf.Tensor, flow: tf.Tensor) -> tf.Tensor:
    """Warp pictures: take each pixel from where its flow points, bilinearly; from the border where that is outside.

    Args:
      pictures: float32 [N, H, W, C], two pixels high and wide or more.
      flow: float32 [N, H, W, 2], rows and columns, in pixels.

    Returns:
      float32 [N, H, W, C], with a gradient for the flow.
    """
    height, width, channels = pictures.shape[1:]
    rows = tf.clip_by_value(tf.range(height, dtype=tf.float32)[:, None] + flow[..., 0], 0.0, height - 1.0)
    columns = tf.clip_by_value(tf.range(width, dtype=tf.float32) + flow[..., 1], 0.0, width - 1.0)
    # The last pixel is reached from the one before, so that all four neighbours exist.
    top = tf.minimum(tf.floor(rows), height - 2.0)
    left = tf.minimum(tf.floor(columns), width - 2.0)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    corner = tf.cast(top, tf.int32) * width + tf.cast(left, tf.int32)
    flat = tf.reshape(pictures, [-1, height * width, channels])

    def at(offset: int) -> tf.Tensor:
        return tf.gather(flat, corner + offset, batch_dims=1)

    upper = at(0) * (1.0 - right) + at(1) * right
    lower = at(width) * (1.0 - right) + at(width + 1) * right
    return upper * (1.0 - down) + lower * down
