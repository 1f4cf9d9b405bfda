"""Streams on the clock: how many source pictures, or clips, a second each gives."""

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfssl.multitask.puzzle_stream import task_seed
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.tasks.base import PretextTask

WARM_UP = 0.5  # seconds of each pass that do not count: tf.data finds its parallelism, buffers fill


def puzzles(
    source: AnySource, tasks: Sequence[PretextTask], size: int, batch_size: int, memory: int = 0, verbose: int = 1
) -> tf.data.Dataset:
    """The stream of crops, or of the puzzles of tasks, as `mixing.stream` makes it."""

    def make(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> Any:
        own = {task: {key: value[: task.batch or batch_size] for key, value in batch.items()} for task in tasks}
        return {task.name: task.puzzles(own[task], task_seed(seed, task.name)) for task in tasks} or batch

    reflect = all(task.reflects for task in tasks)
    return batches.training(
        source, size, batch_size, 0, make=make, cache_memory=memory, reflect=reflect, verbose=verbose
    )


def measured(
    stages: dict[str, tf.data.Dataset], batch_size: int, passes: int, seconds: float, verbose: int
) -> dict[str, list[float]]:
    """Pictures (or clips) a second of each stage, in each pass that counts; one goes before."""
    rates: dict[str, list[float]] = {name: [] for name in stages}
    for number in range(passes + 1):
        if verbose:
            said = f"pass {number} of {passes}" if number else "warm-up"
            print(f"{said}: {len(stages)} stages of {WARM_UP + seconds:g} s", file=sys.stderr)
        for name, dataset in stages.items():
            rate = _rate(dataset, batch_size, seconds if number else 0.1)
            rates[name] += [rate] if number else []
    return rates


def _rate(dataset: tf.data.Dataset, batch_size: int, seconds: float) -> float:
    """Pictures (or clips) a second of a new iterator, after its warm-up."""
    iterator = iter(dataset)
    end = time.perf_counter() + WARM_UP
    next(iterator)
    while time.perf_counter() < end:
        next(iterator)
    begun, count, taken = time.perf_counter(), 0, 0.0
    while taken < seconds:
        next(iterator)
        count += 1
        taken = time.perf_counter() - begun
    return count * batch_size / taken


def median(values: Sequence[float]) -> float:
    """To three digits after the point."""
    return round(statistics.median(values), 3)


def divided(values: Sequence[float], by: Sequence[float]) -> list[float]:
    """One by one: both are of the same passes."""
    return [value / other for value, other in zip(values, by, strict=True)]
