"""Puzzles of a sample of pictures or clips, made as pretraining makes them, and of neutral ones."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.multitask import puzzle_stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.tasks.base import PretextTask

Batch = Mapping[str, Any]
"""{"image": uint8 [B, S, S, 3]}, of clips with "clip": bytes [B], their records."""

MEMORY = 1 << 27
"""Bytes that what is gone through more than once may take: see `Kept`."""

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Made:
    """A batch of sources and what a task made of them, as numpy arrays.

    Attributes:
      task: the task.
      batch: the sources.
      puzzle, answer, weight: as `PretextTask.puzzles` gives them.
    """

    task: Any
    batch: Batch
    puzzle: Any
    answer: Any
    weight: Any

    @property
    def images(self) -> np.ndarray:
        """uint8 [B, S, S, 3]."""
        return self.batch["image"]

    @functools.cached_property
    def asked(self) -> tuple[np.ndarray, np.ndarray]:
        """What `ChoiceTask.questions` gives: of many ops, run one by one."""
        parts, right = self.task.questions(self.puzzle, self.answer)
        return np.asarray(parts), np.asarray(right)

    @property
    def questions(self) -> "Questions":
        """What counts of that, and the sound that belongs to it."""
        parts, right = self.asked
        sound = np.asarray(self.puzzle["sound"]) if "sound" in self.task.reads else None
        if np.shape(self.weight) != right.shape:
            return Questions(parts, right, sound)
        counts = np.asarray(self.weight) > 0
        return Questions(parts[counts], right[counts], None if sound is None else sound[counts])

    def arrays(self) -> list[Any]:
        """Return all arrays that it holds, nested."""
        return [value for name, value in vars(self).items() if name != "task"]


@dataclasses.dataclass(frozen=True)
class Questions:
    """The choices that a head makes.

    Attributes:
      parts: uint8 [Q, n, h, w, 3], the pictures that each is made from.
      right: int [Q].
      sound: float32 [Q, samples], the sound that is part of each; None where none is.
    """

    parts: np.ndarray
    right: np.ndarray
    sound: np.ndarray | None


class Kept(Iterable[Item]):
    """What is gone through more than once: kept from the first whole pass on where it is small, else made anew."""

    def __init__(self, make: Callable[[], Iterable[Item]], arrays: Callable[[Item], Any] = lambda item: item):
        """Go through what `make` makes; `arrays` are an item's own, nested ones of numpy, by which it is measured."""
        self._make, self._arrays = make, arrays
        self._kept: list[Item] | None = None

    def __iter__(self) -> Iterator[Item]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Item] = []
        room = MEMORY
        for item in self._make():
            yield item
            room -= _bytes(self._arrays(item))  # by now with what was worked out of it
            if room >= 0:
                kept.append(item)
            else:
                kept.clear()
        if room >= 0:
            self._kept = kept


def _bytes(arrays: Any) -> int:
    """Return the bytes of nested arrays, those of records of clips among them."""
    flat = tf.nest.flatten(arrays)
    return sum(sum(map(len, each.ravel())) if each.dtype == object else each.nbytes for each in flat)


def crops(
    drawn: AnySource, size: int, batch_size: int, seed: int, reflect: bool = True, verbose: int = 1
) -> np.ndarray:
    """Cut training crops uint8 [batches, B, S, S, 3] of the pictures of a sample, none twice.

    See `batches.training`.
    """
    stream = batches.training(drawn, size, batch_size, seed, reflect=reflect, verbose=verbose)
    steps = drawn.count // batch_size
    return np.stack([batch["image"] for batch in stream.take(steps).as_numpy_iterator()])


def pictures(images: np.ndarray) -> list[Batch]:
    """Make batches of pictures: uint8 [batches, B, S, S, 3]."""
    return [{"image": each} for each in images]


def of_clips(source: AnySource, size: int, count: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Make batches of at most `count` clips, none twice. Read anew each time: a thousand clips would fill the memory.

    Batches of even number and of odd number share no recording: what is learned from the ones is asked of the others.

    Raises:
      UserError: too few clips of different recordings.
    """
    drawn = batches.sample(source, count, seed)
    groups = drawn.groups
    if len(np.unique(groups)) == drawn.count:  # then batches share nothing anyway
        return batches.training(drawn, size, batch_size, seed).take(drawn.count // batch_size)
    half_of = dividing.folds(np.zeros(drawn.count, int), groups, 2, seed)
    halves = [drawn.subset(np.flatnonzero(half_of == half), drawn.name) for half in (0, 1)]
    steps = min(half.count for half in halves) // batch_size
    if not steps:
        raise UserError(
            f"{source.name} has {drawn.count} clips, most of them of one recording; an audit learns from some"
            f" recordings and asks about others: expected {batch_size} clips of either"
        )
    streams = [batches.training(half, size, batch_size, seed).take(steps) for half in halves]
    turns = tf.data.Dataset.range(2 * steps).map(lambda step: step % 2)
    mixed = tf.data.Dataset.choose_from_datasets(streams, turns)
    return mixed.apply(tf.data.experimental.assert_cardinality(2 * steps))


def neutral(images: np.ndarray, seed: int) -> np.ndarray:
    """Make the same pictures without up and down, left and right, middle and edge; uint8 [..., S, S, 3].

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
        self._graph = tf.function(puzzle_stream.maker(task))

    def of(self, task: PretextTask) -> "Maker":
        """Return the maker of another task, with the same seed."""
        return Maker(task, self._seed)

    def seed(self, step: int) -> tf.Tensor:
        """Return the seed of the puzzles of a step, int32 [2], as in training."""
        return puzzle_stream.task_seed(tf.constant([self._seed, step], tf.int32), self.task.name)

    def graph(self, batch: Batch, step: int) -> tuple[Any, Any, Any]:
        """Make (puzzle, answer, weight) by the graph."""
        return self._call(self._graph, batch, step)

    def eager(self, batch: Batch, step: int) -> tuple[Any, Any, Any]:
        """Make (puzzle, answer, weight) without a graph."""
        return self._call(self.task.puzzles, batch, step)

    def _call(self, function: Callable[..., Any], batch: Batch, step: int) -> tuple[Any, Any, Any]:
        made = function({key: tf.convert_to_tensor(value) for key, value in batch.items()}, self.seed(step))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), tuple(made))


class Stream(Iterable[Made]):
    """The puzzles of batches, which at 224 pixels would fill the memory: see `Kept`."""

    def __init__(self, maker: Maker, drawn: Iterable[Batch], changed: Callable[[np.ndarray], np.ndarray] | None = None):
        """Give batch k of `drawn` the seed of step k; `changed` makes other records of those of clips, bytes [B]."""
        self._maker, self._drawn, self._changed = maker, drawn, changed
        self._kept = Kept(self._make, Made.arrays)

    def __iter__(self) -> Iterator[Made]:
        return iter(self._kept)

    def _make(self) -> Iterator[Made]:
        for step, tensors in enumerate(self._drawn):
            batch = {key: np.asarray(value) for key, value in tensors.items()}
            if self._changed is not None:
                batch["clip"] = self._changed(batch["clip"])
            yield Made(self._maker.task, batch, *self._maker.graph(batch, step))
