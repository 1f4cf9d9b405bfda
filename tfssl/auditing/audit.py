"""`audit`: all probes of all tasks on a sample of pictures or clips."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tfssl.auditing import (
    aberration,
    answers,
    brightness,
    hidden_frames,
    intervention,
    marked_clips,
    pieces,
    prediction,
    repeats,
    samples,
    times,
    two_views,
)
from tfssl.auditing.config import LEAST_PICTURES, AuditSettings
from tfssl.auditing.results import Audit, Probe
from tfssl.auditing.samples import Batch, Kept, Maker, Stream
from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.multitask import puzzle_stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_tasks

BATCHES = 40
"""Batches of a sample; intervals are over their means."""
LEAST_CLIPS = 4
"""Rows of a batch, an even number: every other sound fits."""
FRAMES = 5
"""Parts of a question of a task on clips that are looked at side by side: in frozen clips all are the same."""


@on_its_own()
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
    """Ask whether a task leaks its answer: probe puzzles of a sample of the data; nothing is trained but linear models.

    Args:
      data: anything that `tfssl.pipelines.sources.any_source.open_source` takes.
      tasks: pretext tasks, as text, objects, or a list of these.
      size: side of the crops, pixels.
      count: pictures or clips of the sample, at most; each is used once a probe.
      seed: the seed of the sample and of the puzzles.
      max_broken: largest part of the pictures that may be unreadable.
      verbose: 1 says on standard error what is being done, 0 does not.

    Returns:
      The probes of each task, in a table (`print` it) and as JSON; `ok` is False where one found a leak or a fault.

    Raises:
      UserError: unknown tasks, unreadable data, fewer than 40 pictures or clips.
    """
    AuditSettings(**locals())
    parsed = parse_tasks(tasks)
    source = open_source(data, max_broken)
    puzzle_stream.check_fits(parsed, max((task.batch for task in parsed), default=0), source)
    if "words" in source.holds:
        raise UserError(f"{source.name} is text, and an audit looks at pictures and clips; expected one of these")
    count = min(count, source.count)
    if count < LEAST_PICTURES:
        raise UserError(f"{source.name} has {count} {source.items}; an audit needs at least {LEAST_PICTURES}")
    on_clips = [task for task in parsed if "clip" in task.reads]
    rows = max(2, count // BATCHES)
    if on_clips:
        rows = max(LEAST_CLIPS, 2 * (rows // 2))
    looked_at = count // rows * rows
    if on_clips:
        read = samples.of_clips(source, size, count, rows, seed)
        looked_at = rows * int(read.cardinality())
        clips = Kept(read.as_numpy_iterator)
    drawn = batches.sample(source, count, seed)
    images = {
        reflect: samples.crops(drawn, size, rows, seed, reflect, verbose)
        for reflect in {task.reflects for task in parsed if task not in on_clips}
    }
    without_up = {reflect: samples.neutral(some, seed) for reflect, some in images.items()}
    results: list[Probe] = []
    advice = []
    for task in parsed:
        maker = Maker(task.prepared(source), seed)
        advice += [f"{task.name}: {line}" for line in task.advice(size, source)]
        if task in on_clips:
            probes = _of_clips(maker, clips, source.sound_rate)
        else:
            probes = _of_pictures(maker, images[task.reflects], without_up[task.reflects])
        for name, some in probes:
            results += some
            if verbose:
                print(f"audit: {task.name}: {name}", file=sys.stderr)
    return Audit(probes=results, data=source.name, count=looked_at, items=source.items, size=size, advice=advice)


def _of_pictures(maker: Maker, images: np.ndarray, without_up: np.ndarray) -> Iterator[tuple[str, list[Probe]]]:
    """Say what was done, and with what result, probe by probe."""
    task = maker.task
    drawn = samples.pictures(images)
    yield "repeated", repeats.probes(maker, drawn)
    made, neutral_made = Stream(maker, drawn), Stream(maker, samples.pictures(without_up))
    yield "answers counted", [answers.probe(task, made)]
    yield "undone", pieces.probes(task, made)
    yield "what is hidden changed", intervention.probes(maker, images[0])
    yield "partners looked for", two_views.probes(maker, images)
    yield "parts made paler", [brightness.probe(maker, images[0])]
    yield "position guessed", [aberration.probe(task, made)]
    yield "answers predicted", prediction.probes(task, made, neutral_made)
    yield "places predicted", prediction.piece_alone(task, made, neutral_made)


def _of_clips(maker: Maker, drawn: Iterable[Batch], sample_rate: int) -> Iterator[tuple[str, list[Probe]]]:
    """Do the same for a task that reads clips; the neutral ones are clips that are frozen."""
    task = maker.task
    yield "repeated", repeats.probes(maker, drawn)
    made, frozen = Stream(maker, drawn), Stream(maker, drawn, marked_clips.frozen)
    yield "answers counted", [answers.probe(task, made)]
    yield "times read", times.probes(maker, drawn, sample_rate)
    yield "frames changed", [hidden_frames.probe(maker, next(iter(drawn)))]
    yield "answers predicted", prediction.probes(task, made, frozen, FRAMES)
