"""The networks that `neighbours` asks: the subject, random weights, others; each gives rows to compare."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.evaluation.config import NeighboursSettings
from tfssl.frozen import features
from tfssl.frozen.precise import estimate_batch_norm
from tfssl.frozen.subjects import Subject, open_start_of, open_subject
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.run import Run
from tfssl.runs.served import embedding_of

RANDOM = "random weights"


class Asking(NamedTuple):
    """A network that is asked.

    Attributes:
      name: in words.
      stage: whose mean over all places is compared.
      size: pixels of a side.
      embed: uint8 [n, size, size, 3] -> float32 [n, D], rows of length 1.
      run: the run that it is of, where it is of one.
    """

    name: str
    stage: str
    size: int
    embed: Callable[[Any], np.ndarray]
    run: Run | None = None


def open_networks(settings: NeighboursSettings, source: AnySource) -> list[Asking]:
    """Open the subject, random weights, what is beside it, and weights that a run began with, in this order."""
    first = open_first(settings.subject, settings.size, settings.seed)
    others = [open_subject(each, usual=first.size, seed=settings.seed) for each in settings.beside]
    ask = functools.partial(asking, batch_size=settings.batch_size, seed=settings.seed, source=source)
    stage = stage_of(first, settings.stage)
    networks = [ask(first.name, first, first.network, stage, untrained=first.is_random)]
    if settings.random and first.has_random:
        networks.append(ask(RANDOM, first, features.stage_model(first.random, first.size), stage, untrained=True))
    start = open_start_of(first) if settings.random else None
    for other in [*others, *([] if start is None else [start])]:
        own = settings.stage if settings.stage == "best" or settings.stage in other.network.output else None
        own = stage_of(other, None if own == "best" and other.run is None else own)
        networks.append(ask(other.name, other, other.network, own, untrained=other.is_random))
    return networks


def open_first(given: Any, size: int | None, seed: int) -> Subject:
    """Open a subject. Raise UserError where it takes pictures of another size than is asked for."""
    subject = open_subject(given, size, seed=seed)
    if size is not None and subject.own_size not in (None, size):
        raise UserError(f"--size {size} is given, but {subject.name} takes {subject.own_size} pixels; leave it out")
    return subject


def stage_of(subject: Subject, asked: str | None) -> str:
    """Return a stage of a subject, the last where None. Raise UserError where it has no such stage."""
    stages = list(subject.network.output)
    if asked == "best":
        if subject.run is None:
            raise UserError("--stage best is what evaluate found of a run; give a run, or the stage's name")
        asked = embedding_of(subject.run).stage
    if asked is not None and asked not in stages:
        raise UserError(f"--stage {asked} is given, {subject.name} has: {', '.join(stages)}")
    return asked or stages[-1]


def asking(
    name: str,
    subject: Subject,
    model: keras.Model,
    stage: str,
    *,
    untrained: bool,
    batch_size: int,
    seed: int,
    source: AnySource,
) -> Asking:
    """Make what is asked of a model of a subject's stages.

    Args:
      untrained: whether its batch norm is estimated on pictures of `source`, drawn by the seed.
      batch_size: pictures at once.
    """
    if untrained:
        estimate_batch_norm(model, source, subject.size, subject.batch_size, seed)
    extractor = features.make_extractor(model, {stage: (1,)})
    most = min(batch_size, subject.most_rows or batch_size)

    def embed(images: Any) -> np.ndarray:
        parts = [extractor(tf.constant(images[at : at + most]))[stage][1] for at in range(0, len(images), most)]
        rows = np.concatenate([part.numpy().astype(np.float32) for part in parts])
        if not np.isfinite(rows).all():
            raise UserError(f"the features of {stage} hold numbers that are not finite; did training diverge?")
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    return Asking(name, stage, subject.size, embed, subject.run)
