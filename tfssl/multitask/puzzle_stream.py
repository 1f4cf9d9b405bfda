"""Puzzles of all tasks out of one stream of batches."""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.explicit import explicit
from tfssl.base.keras_state import on_its_own
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import cache
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.pipelines.text.corpus import PASSAGE
from tfssl.tasks import TASKS, parse_tasks
from tfssl.tasks.base import PretextTask


@on_its_own()
def puzzles(
    data: Any,
    tasks: str | PretextTask | Sequence[str | PretextTask],
    size: int,
    batch_size: int,
    seed: int = 0,
    start: int = 0,
    max_broken: float = 0.01,
    verbose: int = 1,
) -> tf.data.Dataset:
    """Make an endless dataset of puzzles for anybody's own `fit` (give it `steps_per_epoch`, and `shuffle=False`).

    Args:
      data: anything that `tfssl.pipelines.sources.any_source.open_source` takes.
      tasks: 'rotation', 'rotation(rotations=8)', a task object, or a list of these.
      size: side of the crop of each picture, pixels.
      batch_size: source pictures in a batch, on all replicas together.
      seed: the same seed gives the same puzzles.
      start: the step to begin with.
      max_broken: largest part of the pictures that may be unreadable.
      verbose: 1 says on standard error how far decoding into memory is, 0 nothing.

    Returns:
      A dataset of (puzzles, answers, weights), each a dict by task name; see each task for shapes and dtypes.
    """
    source = open_source(data, max_broken)
    parsed = parse_tasks(tasks)
    if not 1 <= batch_size <= source.count:
        raise batches.batch_too_large(batch_size, source)
    check_learns(parsed, batch_size, source)
    check_fits(parsed, batch_size, source)
    prepared = [task.prepared(source) for task in parsed]
    return stream(source, prepared, size, batch_size, seed, start, verbose=verbose)


def stream(
    source: AnySource,
    tasks: Sequence[PretextTask],
    size: int,
    batch_size: int,
    seed: int,
    start: int = 0,
    broken: batches.BrokenPictures | None = None,
    verbose: int = 1,
    cache_memory: int = cache.MEMORY,
) -> tf.data.Dataset:
    """Make `puzzles` of an open source and prepared tasks; `broken` and `cache_memory` as for `batches.training`."""
    check_fits(tasks, batch_size, source)
    tasks = [task.on(source) for task in tasks]
    makers = {task.name: maker(task) for task in tasks}

    def make(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        made = {
            task.name: makers[task.name](
                {key: value[: task.batch or batch_size] for key, value in batch.items()}, task_seed(seed, task.name)
            )
            for task in tasks
        }
        return tuple({name: parts[place] for name, parts in made.items()} for place in range(3))  # type: ignore[return-value]

    reflect = all(task.reflects for task in tasks)
    return batches.training(source, size, batch_size, seed, start, make, broken, cache_memory, reflect, verbose)


def maker(task: PretextTask) -> Callable[[dict[str, tf.Tensor], tf.Tensor], tuple[Any, Any, Any]]:
    """Return the task's `puzzles` for a graph.

    A task of one's own may be written with Python's `if` and `for` over tensors, which TensorFlow then rewrites. Ours
    are not, and looking through all that they call takes up to a second each time that a process begins.
    """
    ours = TASKS.get(task.name) is type(task)
    return explicit(task.puzzles) if ours else task.puzzles


def check_fits(tasks: Sequence[PretextTask], batch_size: int, source: AnySource) -> None:
    """Raise UserError where a task reads what the source has not, or wants more rows than a step has."""
    for task in tasks:
        if not set(task.reads) <= set(source.holds):
            if "words" in task.reads:
                wanted = "text:FILES, or 'toy:text'"
            elif task.reads == ("image",):
                wanted = "a folder of pictures, or 'toy:images'"
            else:
                wanted = "clips that `tfssl ingest` prepared, with sound where it is read, or 'toy:clips'"
            raise UserError(
                f"{task.name} reads {' and '.join(task.reads)}, {source.name} has only {' and '.join(source.holds)};"
                f" give {wanted}"
            )
        if task.batch > batch_size:
            raise UserError(
                f"{task.name}: batch={task.batch} is given, but a step has {batch_size} {source.items}; "
                "give at most that"
            )


def check_learns(tasks: Sequence[PretextTask], batch_size: int, source: AnySource) -> None:
    """Raise UserError where a step has too few pictures for a task to learn anything, and would not say so."""
    for task in tasks:
        if (task.batch or batch_size) < task.least_batch:
            raise UserError(
                f"{task.name} compares the {source.items} of a step with each other; give a batch of {task.least_batch}"
                " or more"
            )


def puzzle_spec(task: PretextTask, size: int, rows: int = 1) -> Any:
    """Return the `tf.TensorSpec`s of a task's (puzzle, answer, weight) for `rows` pictures of `size` pixels."""
    try:
        hash(task)
    except TypeError:  # a task of one's own, with an array among its fields
        one = _spec_of_one.__wrapped__(task, size)
    else:
        one = _spec_of_one(task, size)
    return tf.nest.map_structure(lambda spec: tf.TensorSpec([rows * spec.shape[0], *spec.shape[1:]], spec.dtype), one)


@functools.lru_cache(maxsize=128)  # a run asks six times for each task, and tracing its puzzles takes a quarter second
def _spec_of_one(task: PretextTask, size: int) -> Any:
    example = {"image": tf.zeros([1, size, size, 3], tf.uint8), "clip": tf.zeros([1], tf.string)}
    if "words" in task.reads:
        example = {"words": tf.zeros([1, PASSAGE], tf.int32)}
    batch, make = tf.data.Dataset.from_tensors(example), maker(task.for_shapes())
    return batch.map(lambda batch: make(batch, tf.constant([0, 0]))).element_spec


def stream_spec(tasks: Sequence[PretextTask], size: int, batch_size: int) -> Any:
    """Return the `element_spec` of `stream`, for which no source is read and nothing is traced twice."""
    specs = {task.name: puzzle_spec(task, size, task.batch or batch_size) for task in tasks}
    return tuple({name: spec[place] for name, spec in specs.items()} for place in range(3))


def task_seed(seed: tf.Tensor, name: str) -> tf.Tensor:
    """Return a seed of its own for each task, by its name: adding a task changes no other task's puzzles."""
    return tf.random.fold_in(seed, zlib.crc32(name.encode()) & 0x7FFFFFFF)
