"""Same seed, same puzzle; the graph's are the eager ones; another epoch's are others."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.auditing.results import FAULT, OK, WEAK, Probe
from tfssl.auditing.samples import Batch, Maker

EPOCHS = 4
LATER = 10**6
"""A step beyond all of the sample."""
SAME, FEW_OTHERS = 0.95, 0.6
TOLERANCE = 1e-4
"""Tolerance of floats only: graphs are rewritten, and sum in another order."""


def probes(maker: Maker, batches: Iterable[Batch]) -> list[Probe]:
    """Make three probes of batches, at most two of which are looked at."""
    task, some = str(maker.task), list(itertools.islice(batches, 2))
    made = [maker.graph(batch, step) for step, batch in enumerate(some)]
    again = [maker.graph(batch, step) for step, batch in enumerate(some)]
    eager = [maker.eager(batch, step) for step, batch in enumerate(some)]
    rows = len(some[0]["image"])
    results = []
    for name, others in (("same seed, same puzzle", again), ("graph equals eager", eager)):
        share = float(np.mean([same(one, other, rows) for one, other in zip(made, others, strict=True)]))
        verdict = OK if share == 1 else FAULT
        results.append(Probe(task=task, name=name, verdict=verdict, found=share, note="share of sources"))
    epochs = [same(made[0], maker.graph(some[0], LATER + epoch), rows) for epoch in range(EPOCHS)]
    share = float(np.mean(epochs))
    verdict = FAULT if share >= SAME else WEAK if share > FEW_OTHERS else OK
    note = "share of sources whose puzzle is the same in another epoch; half where it is mirrored or not"
    return [*results, Probe(task=task, name="epochs differ", verdict=verdict, found=share, note=note)]


def same(one: Any, other: Any, rows: int) -> np.ndarray:
    """Compare the tensors of two equal structures, picture by picture: bool [rows]; their leading dim is a multiple."""
    equal = np.ones(rows, bool)
    for first, second in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        first, second = first.reshape(rows, -1), second.reshape(rows, -1)
        tolerance = TOLERANCE if np.issubdtype(first.dtype, np.floating) else 0
        equal &= (np.abs(first.astype(np.float64) - second.astype(np.float64)) <= tolerance).all(1)
    return equal
