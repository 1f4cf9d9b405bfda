"""Streams on the clock: how many source pictures, or clips, a second each gives."""

import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence

import tensorflow as tf

from tfssl.base.result import Result

WARM_UP = 0.5  # seconds of each pass that do not count: tf.data finds its parallelism, buffers fill


@dataclasses.dataclass(frozen=True)
class PipelineSpeed(Result):
    """What `bench_pipeline` measured, medians over passes: a `PictureSpeed` or a `ClipSpeed`.

    Attributes:
      data, size, batch_size, passes: what was measured.
      read: files, or records of clips, read a second.
    """

    data: str
    size: int
    batch_size: int
    passes: int
    read: float


def measure_rates(
    stages: dict[str, tf.data.Dataset], batch_size: int, passes: int, seconds: float, verbose: int
) -> dict[str, list[float]]:
    """Measure pictures (or clips) a second of each stage, in each pass that counts; one goes before."""
    rates: dict[str, list[float]] = {name: [] for name in stages}
    for number in range(passes + 1):
        if verbose:
            said = f"pass {number} of {passes}" if number else "warm-up"
            print(f"{said}: {len(stages)} stages of {WARM_UP + seconds:g} s", file=sys.stderr)
        for name, dataset in stages.items():
            speed = _images_per_second(dataset, batch_size, seconds if number else min(0.1, seconds))
            rates[name] += [speed] if number else []
    return rates


def _images_per_second(dataset: tf.data.Dataset, batch_size: int, seconds: float) -> float:
    """Measure pictures (or clips) a second of a new iterator, after its warm-up."""
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
    """Return the median to three digits after the point."""
    return round(statistics.median(values), 3)


def ratios(values: Sequence[float], by: Sequence[float]) -> list[float]:
    """Divide values one by one: both are of the same passes."""
    return [value / other for value, other in zip(values, by, strict=True)]
