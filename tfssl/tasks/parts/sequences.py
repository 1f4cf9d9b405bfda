"""What tasks on the order of frames share: frames out of records, features of each, a picture of sequences."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.models.trunks import Trunk
from tfssl.pipelines.clips import clip_records, motion
from tfssl.tasks.base import Batch
from tfssl.tasks.parts.classification import hidden

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACES = 4
Arrange = Callable[[motion.Window, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def sequences(
    batch: Batch, seed: tf.Tensor, window: int, gap: float, shown: int, arrange: Arrange, room: int = 0
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Make sequences of frames, one a clip, and what is asked of them.

    Args:
      batch: with "clip" and "image".
      seed: int32 [2].
      window: frames that are drawn.
      gap: seconds between them.
      shown: frames of a sequence.
      arrange: (window, seed) -> which of its frames to show, in this order, int32 [shown]; the answer, int32 []; and
        whether it counts, bool []. Only frames that are shown are decoded.
      room: pixels by which frames are larger than the batch's pictures, for squares to be cut out of them.

    Returns:
      uint8 [B, shown, S + room, S + room, 3]; int32 [B]; float32 [B], 0 where a clip has too few frames or nothing
      moves.
    """
    size, given = batch["image"].shape[1] + room, clip_records.parse(batch["clip"])

    def sequence(number: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        window_seed, order_seed, crop_seed = tf.unstack(tf.random.split(seed, 3))
        clip = given[number]

        def drawn() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            part = motion.window(clip, window, gap, window_seed)
            order, answer, counts = arrange(part, order_seed)
            frames = tf.ensure_shape(clip.frames(tf.gather(part.places, order)), [shown])
            weight = tf.cast(part.valid & counts, tf.float32)
            return clip_records.decode_frames(frames, size, crop_seed), answer, weight

        nothing = (tf.zeros([shown, size, size, 3], tf.uint8), tf.constant(0), tf.constant(0.0))
        return tf.cond(clip.count > 0, drawn, lambda: nothing)

    return clip_records.over_rows(clip_records.rows(batch["clip"]), seed, sequence)


def features_of_frames(trunk: Trunk, frames: Any, width: int, name: str) -> keras.KerasTensor:
    """Put each frame by itself through the shared trunk and a layer: uint8 [B, n, S, S, 3] -> [B, n, width].

    The layer reads the trunk's map place by place, averaged to 4 x 4 at most: where things are is what moves, and an
    average over all places would not say.
    """
    count, size = frames.shape[1:3]
    features = trunk(keras.ops.reshape(frames, (-1, size, size, 3)))
    window = max(1, -(-features.shape[1] // PLACES))
    if window > 1:
        features = keras.layers.AveragePooling2D(window, name=f"{name}_pool")(features)
    flat = keras.layers.Flatten(name=f"{name}_places")(features)
    return keras.ops.reshape(hidden(flat, width, f"{name}_frame"), (-1, count, width))


def picture(frames: Any, titles: Sequence[str], right: Sequence[bool | None], count: int) -> "Figure":
    """Draw sequences uint8 [B, n, S, S, 3], a row each, with a title, green or red where it is known to be right."""
    from matplotlib.figure import Figure

    frames = np.asarray(frames)
    rows, columns = min(count, len(frames)), frames.shape[1]
    figure = Figure(figsize=(1.6 * columns, 1.85 * rows), layout="constrained")
    for row, places in enumerate(figure.subplots(rows, columns, squeeze=False)):
        for frame, axes in zip(frames[row], places, strict=True):
            axes.imshow(frame)
            axes.set_axis_off()
        colour = {True: "tab:green", False: "tab:red", None: "black"}[right[row]]
        places[0].set_title(titles[row], fontsize=9, color=colour, loc="left")
    return figure
