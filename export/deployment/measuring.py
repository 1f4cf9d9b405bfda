"""How fast an export answers on this machine, by rows of a request: what batching has to offer."""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tfssl.export.deployment.examples import example, input_specs

PICTURE = (480, 640)
"""Pixels of the pictures in requests."""

ROWS = (1, 4, 16, 64)
CALLS = 5
SLOW = 1.0
"""Seconds of a request after which no larger ones are measured: nobody waits for these."""

BUDGET = 5.0
"""Seconds after which measuring ends, where two of each are done."""


class Speed(NamedTuple):
    """Speed of requests to `serving_default`: their rows, median milliseconds of one, and rows a second."""

    rows: int
    milliseconds: float
    per_second: float


def measure(folder: Path) -> list[Speed]:
    """Send made up JPEGs to `serving_default` of a version, one request after another.

    Sizes take turns, so that what else the machine does meets all of them.
    """
    loaded = tf.saved_model.load(str(folder))
    specs = input_specs(folder)["serving_default"]

    def seconds(request: dict[str, tf.Tensor]) -> float:
        begun = time.perf_counter()
        loaded.signatures["serving_default"](**request)["embedding"].numpy()
        return time.perf_counter() - begun

    requests: dict[int, dict[str, tf.Tensor]] = {}
    for rows in ROWS:
        requests[rows] = {name: tf.constant(value) for name, value in example(specs, rows, PICTURE).items()}
        seconds(requests[rows])  # what is done once is done
        if seconds(requests[rows]) > SLOW:
            break
    taken: dict[int, list[float]] = {rows: [] for rows in requests}
    begun = time.monotonic()
    for number in range(CALLS):
        if number >= 2 and time.monotonic() - begun > BUDGET:
            break
        for rows, request in requests.items():
            taken[rows].append(seconds(request))
    medians = {rows: statistics.median(each) for rows, each in taken.items()}
    return [Speed(rows, 1000 * median, rows / median) for rows, median in medians.items()]
