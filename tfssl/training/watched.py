"""What a run is watched by: a few fixed pictures, and how often; so that it costs little, and the same each time."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.config import spelled
from tfssl.base.errors import UserError
from tfssl.multitask.puzzle_stream import stream_spec
from tfssl.pipelines import batches
from tfssl.pipelines.sources import any_source, dividing, splits, subsets
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.tasks.base import PretextTask
from tfssl.training.config import Complete, PretrainSettings

SAMPLE = 256
"""Pictures of the run's own source: for batch norm statistics at each look, and for the effective rank."""
MOST, LEAST = 1500, 300
"""Labelled pictures."""
MEMORY = 256 << 20
"""Bytes that labelled pictures may take."""
LOOKS = 10
"""How often a run is looked at, at least, where that is possible with as many pictures as `LEAST`."""
SHARE, SHARE_OF_RANK = 0.04, 0.005
"""Part of the passes through the network that looks may take, with labels and without; 5 % and 1 % of the time with all
that is not a pass."""
TRAINING_PASS = 3
"""What a picture costs in training: there and back, of which back is twice there."""
HELD_OUT = -1
OF_A_CLASS = 6
"""Pictures of each class: of more classes than that leaves room for, some are drawn."""
LEARNED_FROM = 2 / 3
"""Part of the pictures that probes learn from; of a third of 1,500 a share has a standard error of 2.2 points."""
FOLDS = 3
"""In so many parts of what is learned from a stage and a penalty are chosen, each held out in turn."""
SPLIT_SEED = 0
"""Divides labelled data without a test part, as `evaluate` does: its test pictures are never looked at."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A few labelled pictures, divided within each class and never through a group.

    Attributes:
      source: the pictures.
      fold: int [N], which of `FOLDS` parts of those that are learned from each is in; `HELD_OUT` of those that are not,
        which shares are of.
    """

    source: AnySource
    fold: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """What a run is looked at with.

    Attributes:
      name: of the labelled data, or of the run's source.
      sample: pictures of the run's own source.
      part: labelled pictures; None where none were given.
      every: epochs between looks.
    """

    name: str
    sample: AnySource
    part: Part | None
    every: int

    @property
    def fingerprint(self) -> str:
        """Tell apart what figures cannot be compared."""
        parts = [self.sample.fingerprint, *([] if self.part is None else [self.part.source.fingerprint])]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]

    def is_due(self, epoch: int, last: int) -> bool:
        """Say whether the run is looked at after this epoch, from 1; with labels after the last one, too."""
        return epoch % self.every == 0 or (self.part is not None and epoch == last)

    def __str__(self) -> str:
        epochs = "each epoch" if self.every == 1 else f"every {self.every} epochs"
        if self.part is None:
            return f"watching the effective rank of {self.sample.count} pictures of {self.name}, {epochs}"
        return (
            f"watching on {self.name}: probes learn from {(self.part.fold != HELD_OUT).sum():,} pictures,"
            f" {(self.part.fold == HELD_OUT).sum():,} are held out, {epochs}"
        )


def is_off(watch: Any) -> bool:
    """Say whether nothing is to be watched."""
    return isinstance(watch, str) and watch == "none"


def open_labelled(settings: PretrainSettings) -> AnySource | None:
    """Open the training part of the labelled data; None where none was given.

    Its test part is not touched: who stops a run, or chooses among runs, by what is watched has chosen by these
    pictures.

    Raises:
      UserError: no such data, no labels, one class, too few pictures of each to learn from some and try others.
    """
    if settings.watch is None or is_off(settings.watch):
        return None
    parts = any_source.parts_of(settings.watch)
    if splits.TRAIN in parts:
        train = any_source.open_source(parts[splits.TRAIN], settings.max_broken)
    else:
        train, _, _ = any_source.open_splits(settings.watch, None, SPLIT_SEED, settings.max_broken)
    if train.labels is None or len(train.classes) < 2:
        raise UserError(f"{train.name} has no labels to watch by; expected one sub-folder a class, two at least")
    _choose_part(train, LEAST, settings.seed)
    return train


def plan(
    settings: Complete,
    labelled: AnySource | None,
    source: AnySource,
    tasks: Sequence[PretextTask],
    steps_per_epoch: int,
) -> Watched | None:
    """Choose pictures, and how often they are looked at, so that it costs little.

    All of it follows from the settings and the data, never from a clock: a run that is resumed on another machine is
    looked at as before.

    Args:
      labelled: of `open_labelled`.
      tasks: prepared.
    """
    if is_off(settings.watch):
        return None
    sample = batches.sample(source, SAMPLE, settings.seed)
    passes = _passes(settings, tasks) * steps_per_epoch
    if labelled is None:
        every = settings.watch_every or math.ceil(2 * sample.count / (SHARE_OF_RANK * passes))
        return Watched(source.name, sample, None, every)
    wanted = settings.watch_every or max(1, settings.epochs // LOOKS)
    most = min(MOST, max(LEAST, MEMORY // (3 * settings.size**2)))
    count = int(min(max(SHARE * passes * wanted - sample.count, LEAST), most))
    part = _choose_part(labelled, count, settings.seed)
    cost = part.source.count + sample.count
    every = settings.watch_every or min(settings.epochs, math.ceil(cost / (SHARE * passes)))
    return Watched(labelled.name, sample, part, every)


def _passes(settings: Complete, tasks: Sequence[PretextTask]) -> float:
    """Return what a step costs, in passes of a whole picture through the network."""
    puzzles, _, _ = stream_spec(tasks, settings.size, settings.batch_size)
    maps = [spec.shape for spec in tf.nest.flatten(puzzles) if spec.shape.rank >= 4]
    pixels = sum(math.prod(shape[:-1]) for shape in maps)
    return TRAINING_PASS * pixels / settings.size**2


def _choose_part(source: AnySource, count: int, seed: int) -> Part:
    """Draw labelled pictures by the seed, of each class as many, and divide them."""
    labels = np.asarray(source.labels)
    present = np.unique(labels[labels >= 0])
    rng = np.random.default_rng(seed)
    classes = rng.permutation(present)[: max(2, count // OF_A_CLASS)]
    some = source.subset(np.flatnonzero(np.isin(labels, classes)), source.name)
    some = subsets.limited(some, count, balanced=True, seed=seed)
    labels, groups = np.asarray(some.labels), np.asarray(some.groups)
    learn, _ = dividing.divide(labels, groups, seed, LEARNED_FROM)
    fold = np.full(len(labels), HELD_OUT)
    fold[learn] = dividing.folds(labels[learn], groups[learn], FOLDS, seed)
    least = min(len(np.unique(labels[(fold != HELD_OUT) & (fold != each)])) for each in range(FOLDS))
    if least < 2 or not (fold == HELD_OUT).any():
        raise UserError(
            f"{spelled('watch', source.name)} is given, with {source.count} {source.items} of {len(present)} classes to"
            " learn from; expected two classes or more of 3 or more each, some of which are held out"
        )
    return Part(some, fold)
