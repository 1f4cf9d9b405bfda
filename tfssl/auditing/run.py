"""`audit`: all probes of all tasks on a sample of pictures."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfssl.auditing import aberration, answers, brightness, intervention, pieces, prediction, repeats
from tfssl.auditing.results import Audit, Probe
from tfssl.auditing.samples import Maker, Stream, crops, neutral
from tfssl.errors import UserError
from tfssl.pipelines.sources import open_source
from tfssl.task import PretextTask
from tfssl.tasks import parse_tasks

LEAST_SIZE, LEAST_PICTURES = 16, 40
BATCHES = 40
"""Batches of a sample; intervals are over their means."""


def audit(
    data: Any,
    tasks: Any = "rotation",
    *,
    size: int = 96,
    count: int = 1000,
    seed: int = 0,
    max_broken: float = 0.01,
    verbose: int = 1,
) -> Audit:
    """Does a task leak its answer? Probes of puzzles of a sample of pictures; nothing is trained but linear models.

    Args:
      data: anything that `tfssl.pipelines.sources.open_source` takes.
      tasks: pretext tasks, as text, objects, or a list of these.
      size: side of the crops, pixels.
      count: pictures of the sample, at most; each is used once a probe.
      seed: of the sample and of the puzzles.
      max_broken: largest part of the pictures that may be unreadable.
      verbose: 1 says on standard error what is being done, 0 does not.

    Returns:
      The probes of each task, in a table (`print` it) and as JSON; `ok` is False where one found a leak or a fault.

    Raises:
      UserError: unknown tasks, unreadable data, fewer than 40 pictures.
    """
    if size < LEAST_SIZE:
        raise UserError(f"--size {size} is given, expected at least {LEAST_SIZE} pixels")
    if count < LEAST_PICTURES:
        raise UserError(f"--count {count} is given, expected at least {LEAST_PICTURES} pictures")
    if not 0 <= seed < 2**31:
        raise UserError(f"--seed {seed} is given, expected 0 to {2**31 - 1}")
    parsed = parse_tasks(tasks)
    for task in parsed:
        if "image" not in task.reads:
            raise UserError(f"{task.name} reads {', '.join(task.reads)}; only tasks that read pictures can be audited")
    source = open_source(data, max_broken)
    count = min(count, source.count)
    if count < LEAST_PICTURES:
        raise UserError(f"{source.name} has {count} pictures; an audit needs at least {LEAST_PICTURES}")
    images = {
        reflect: crops(source, size, count, max(2, count // BATCHES), seed, reflect)
        for reflect in {task.reflects for task in parsed}
    }
    without_up = {reflect: neutral(some, seed) for reflect, some in images.items()}
    found: list[Probe] = []
    advice = []
    for task in parsed:
        prepared = task.prepared(source)
        advice += [f"{task.name}: {line}" for line in task.advice(size)]
        for name, some in _probes(prepared, images[task.reflects], without_up[task.reflects], seed):
            found += some
            if verbose:
                print(f"audit: {task.name}: {name}", file=sys.stderr)
    batches, rows = next(iter(images.values())).shape[:2]
    pictures = batches * rows
    return Audit(probes=found, data=source.name, pictures=pictures, size=size, advice=advice)


def _probes(
    task: PretextTask, images: np.ndarray, without_up: np.ndarray, seed: int
) -> Iterator[tuple[str, list[Probe]]]:
    """What was done, and what was found, probe by probe."""
    maker = Maker(task, seed)
    yield "repeated", repeats.probes(maker, images)
    made, neutral_made = Stream(maker, images), Stream(maker, without_up)
    yield "answers counted", [answers.probe(task, made)]
    yield "undone", pieces.probes(task, made)
    yield "what is hidden changed", intervention.probes(maker, images[0])
    yield "parts made paler", [brightness.probe(maker, images[0])]
    yield "position guessed", [aberration.probe(task, made)]
    yield "answers predicted", prediction.probes(task, made, neutral_made)
    yield "places predicted", prediction.piece_alone(task, made, neutral_made)
