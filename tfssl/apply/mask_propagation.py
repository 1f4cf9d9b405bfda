"""Following what a mask shows through the frames of a film, by the embeddings that the task `tracking` learned."""

import collections

import keras
import numpy as np
import tensorflow as tf

from tfssl.apply.config import Following
from tfssl.base.errors import UserError
from tfssl.pipelines.ops import lab
from tfssl.runs.run import Run
from tfssl.tasks.parts.colourer import seen_sides
from tfssl.tasks.parts.copying import copied
from tfssl.tasks.tracking import EMBEDDINGS, Tracking


class Memory:
    """Labels of several films of one size, copied on from frame to frame. The first frame is never forgotten.

    Args:
      embedded: of the first frames, float32 [B, h, w, D].
      labels: what stands there, float32 [B, h, w, C].
      how: settings.
    """

    def __init__(self, embedded: tf.Tensor, labels: tf.Tensor, how: Following):
        self._how = how
        self._first = _rows(embedded), _rows(labels)
        self._recent: collections.deque[tuple[tf.Tensor, tf.Tensor]] = collections.deque(maxlen=how.recent)
        height, width = embedded.shape[1:3]
        y, x = (side.reshape(-1) for side in np.mgrid[:height, :width])
        self._near = (np.abs(y[:, None] - y) <= how.reach) & (np.abs(x[:, None] - x) <= how.reach)

    def step(self, embedded: tf.Tensor) -> tf.Tensor:
        """Turn the next frames' embeddings, float32 [B, h, w, D], into their labels, float32 [B, h, w, C]."""
        references = [self._first, *self._recent]
        allowed = np.concatenate([np.ones_like(self._near), *[self._near] * len(self._recent)], 1)
        target = _rows(embedded)
        labels = copied(
            target,
            tf.concat([each[0] for each in references], 1),
            tf.concat([each[1] for each in references], 1),
            temperature=self._how.temperature,
            most=self._how.most,
            allowed=tf.constant(allowed),
        )
        self._recent.append((target, labels))
        return tf.reshape(labels, [*embedded.shape[:3], labels.shape[-1]])


class Follower:
    """Follows labels through pictures of one film, one by one, at any size.

    Args:
      embeddings: lightness uint8 [N, H, W, 1] -> [N, h, w, D]; see `embeddings_of`.
      size: of the crops that it learned on, pixels. The short side of pictures is made as long.
      how: settings.
    """

    def __init__(self, embeddings: keras.Model, size: int, how: Following | None = None):
        self._size, self._how = size, how or Following()
        self._fixed = embeddings.inputs[0].shape[1] is not None
        self._embed = tf.function(lambda seen: embeddings(seen, training=False), reduce_retracing=True)
        self._memory: Memory | None = None

    def start(self, image: np.ndarray, labels: np.ndarray) -> None:
        """Take the first picture, uint8 [H, W, 3], and what its pixels are, float [H, W, C] from 0 to 1."""
        embedded = self._embedded(image)
        small = in_cells(tf.constant(labels[None], tf.float32), *embedded.shape[1:3])
        self._memory = Memory(embedded, small, self._how)

    def next(self, image: np.ndarray) -> np.ndarray:
        """Take the next picture, uint8 [H, W, 3], of any size; return what its pixels are, float32 [H, W, C], 0..1."""
        if self._memory is None:
            raise ValueError("nothing to follow; call start first")
        labels = self._memory.step(self._embedded(image))
        return tf.image.resize(labels, image.shape[:2])[0].numpy()

    def _embedded(self, image: np.ndarray) -> tf.Tensor:
        height, width = image.shape[:2]
        sides = (self._size, self._size) if self._fixed else seen_sides(height, width, self._size)
        small = tf.image.resize(image[None], sides, antialias=True)
        return self._embed(lab.lightness(tf.cast(tf.round(tf.clip_by_value(small, 0, 255)), tf.uint8)))


def embeddings_of(run: Run, solver: keras.Model | None = None) -> keras.Model:
    """Return what a run's tracking learned: lightness uint8 [N, H, W, 1] -> embeddings float32 [N, h, w, D].

    Args:
      run: a run.
      solver: another network of the task than the trained one.

    Raises:
      UserError: a run without tracking.
    """
    task_of(run)
    return (solver or run.solver(Tracking.name)).get_layer(EMBEDDINGS)


def task_of(run: Run) -> Tracking:
    """Return the run's tracking. Raise UserError where there is none."""
    for task in run.tasks():
        if isinstance(task, Tracking):
            return task
    raise UserError(f"the run in {run.folder} has no tracking, its tasks are: {run.settings.tasks}")


def in_cells(labels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Average float32 [N, H, W, C] over cells, float32 [N, height, width, C]."""
    return tf.image.resize(labels, [height, width], method="area")


def _rows(maps: tf.Tensor) -> tf.Tensor:
    """Reshape [B, h, w, C] to [B, h w, C]."""
    batch, height, width, channels = maps.shape
    return tf.reshape(maps, [batch, height * width, channels])
