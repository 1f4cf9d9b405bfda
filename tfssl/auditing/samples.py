"""Puzzles of a sample of pictures, made as pretraining makes them, and of neutral pictures."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl import mixing
from tfssl.pipelines import batches
from tfssl.pipelines.sources import Source
from tfssl.task import PretextTask


@dataclasses.dataclass(frozen=True)
class Made:
    """A batch of sources and what a task made of them, as numpy arrays.

    Attributes:
      images: uint8 [B, S, S, 3].
      puzzle, answer: as `PretextTask.puzzles` gives them.
    """

    images: np.ndarray
    puzzle: Any
    answer: Any


def crops(source: Source, size: int, count: int, batch_size: int, seed: int, reflect: bool = True) -> np.ndarray:
    """uint8 [batches, B, S, S, 3]: training crops of at most `count` pictures, none twice; see `batches.training`."""
    drawn = batches.sample(source, count, seed)
    stream = batches.training(drawn, size, batch_size, seed, reflect=reflect)
    steps = drawn.count // batch_size
    return np.stack([batch["image"] for batch in stream.take(steps).as_numpy_iterator()])


def neutral(images: np.ndarray, seed: int) -> np.ndarray:
    """The same pictures without up and down, left and right, middle and edge; uint8 [..., S, S, 3].

    Each is mirrored and turned at random (all eight ways alike), reflected at its edges to a picture of twice the side
    that goes on without a seam at all sides, and cut out of that at a random place. What such pictures show does not
    depend on the place or the direction in them. So if of these anything but the relation of the parts to each other
    tells the answer, it was not the picture: the task put it there.
    """
    rng = np.random.default_rng(seed)
    flat = images.reshape(-1, *images.shape[-3:])
    size = flat.shape[1]
    turned = np.empty_like(flat)
    for place, image in enumerate(flat):
        image = np.rot90(image, int(rng.integers(4)))
        image = image[:, ::-1] if rng.random() < 0.5 else image
        rows, columns = ((np.arange(size) + rng.integers(2 * size)) % (2 * size) for _ in range(2))
        rows, columns = (np.minimum(index, 2 * size - 1 - index) for index in (rows, columns))
        turned[place] = image[rows[:, None], columns]
    return turned.reshape(images.shape)


class Maker:
    """A task's `puzzles` in the graph, called with batches of its own, as numpy arrays."""

    def __init__(self, task: PretextTask, seed: int):
        self.task = task
        self._seed = seed
        self._graph = tf.function(task.puzzles)

    def seed(self, step: int) -> tf.Tensor:
        """int32 [2]: of the puzzles of a step, as in training."""
        return mixing.task_seed(tf.constant([self._seed, step], tf.int32), self.task.name)

    def graph(self, images: np.ndarray, step: int) -> tuple[Any, Any, Any]:
        """(puzzle, answer, weight) by the graph."""
        return self._call(self._graph, images, step)

    def eager(self, images: np.ndarray, step: int) -> tuple[Any, Any, Any]:
        """(puzzle, answer, weight) without a graph."""
        return self._call(self.task.puzzles, images, step)

    def _call(self, function: Callable[..., Any], images: np.ndarray, step: int) -> tuple[Any, Any, Any]:
        made = function({"image": tf.constant(images)}, self.seed(step))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), tuple(made))


class Stream(Iterable[Made]):
    """The puzzles of batches, made anew each time they are gone through: at 224 pixels they would fill the memory."""

    def __init__(self, maker: Maker, images: np.ndarray):
        """`images` are uint8 [batches, B, S, S, 3]; batch k has the seed of step k."""
        self._maker, self._images = maker, images

    def __iter__(self) -> Iterator[Made]:
        for step, images in enumerate(self._images):
            puzzle, answer, _ = self._maker.graph(images, step)
            yield Made(images, puzzle, answer)
