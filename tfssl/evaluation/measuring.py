"""A subject by its probes: as it is, with random weights, and beside another one on the same pictures."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.statistics import over_draws, paired
from tfssl.evaluation import random_weights
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.data import Data
from tfssl.evaluation.probes import Measured, Probes
from tfssl.evaluation.tuning import Tuning, can_learn
from tfssl.frozen.subjects import Subject, open_start_of, open_subject, with_projections
from tfssl.runs.beside import Difference, Rival
from tfssl.runs.evaluation import Scores, best_stage
from tfssl.runs.spread import Spread

Which = dict[str, dict[str, str]]
"""Protocol -> stage -> with which batch norm statistics random weights were better."""


def open_subjects(settings: EvaluateSettings) -> list[Subject]:
    """Open what `evaluate` measures, and what it measures beside it.

    That is what was asked for, and the weights that a run began with where these were not random ones; not where random
    weights are left out.

    Raises:
      UserError: as `open_subject`; a size that is not the subject's own; projection heads of an epoch, or where there
        are none.
    """
    size, seed = settings.size, settings.seed
    if settings.projection and settings.epoch is not None:
        raise UserError(
            f"--projection and --epoch {settings.epoch} are given, but heads are kept of a run's end; give one of them"
        )
    first = open_subject(settings.subject, size, epoch=settings.epoch, seed=seed)
    if size is not None and first.own_size not in (None, size):
        raise UserError(f"--size {size} is given, but {first.name} takes {first.own_size} pixels; leave it out")
    if settings.projection:
        first = with_projections(first)
    others = [open_subject(each, usual=first.size, seed=seed) for each in settings.beside]
    start = open_start_of(first) if settings.random is not False else None
    return [first, *others, *([] if start is None else [start])]


def check(first: Subject, others: Sequence[Subject], probes: Probes, tuning: Tuning) -> None:
    """Refuse what cannot be measured before anything is: hours may be spent on the first subject.

    Raises:
        UserError: of a subject nothing that was asked can be asked, or training has too few labels for all of it.
    """
    if not probes.protocols and not tuning.protocols:
        raise UserError(f"{tuning.lacks[0]}; ask for another number of labels, or for another protocol")
    for subject in (first, *others):
        if probes.protocols:
            probes_for(subject, probes)
        elif not can_learn(subject):
            asked = ", ".join(map(str, tuning.protocols))
            raise UserError(
                f"{subject.name} is an export, which cannot be trained, as {asked} asks; give the run, or its"
                " encoder.keras"
            )


def measure(subject: Subject, probes: Probes, data: Data, tuning: Tuning) -> tuple[Measured, Which]:
    """Measure a subject as it is; one that has random weights at their better of two, and {} is of all others.

    Networks that are trained from it come after what is measured of the frozen one, which takes less time.

    Raises:
        UserError: too many broken pictures, features that are not finite.
    """
    frozen: Measured | None = None
    which: Which = {}
    if probes.protocols and subject.is_random:
        frozen, which = _frozen_random(subject, probes, data)
    elif probes.protocols:
        frozen = probes_for(subject, probes).measure(subject.network, data)
    return tuning.measured(subject, frozen), which


def measure_random(
    subject: Subject, probes: Probes, data: Data, tuning: Tuning
) -> tuple[Scores, Mapping[str, Spread], Which]:
    """Measure the same network with random weights: see `random_weights.measure_random`; and trained from these.

    Returns:
        Scores, and ranks where these were asked for; and with which batch norm the frozen ones were better.
    """
    if not probes.protocols:
        return tuning.scores(subject, random=True), {}, {}
    frozen, which = _frozen_random(subject, probes, data)
    return {**frozen.scores, **tuning.scores(subject, random=True)}, frozen.ranks, which


def _frozen_random(subject: Subject, probes: Probes, data: Data) -> tuple[Measured, Which]:
    own = probes_for(subject, probes)
    return random_weights.measure_random(own, subject.random, data, subject.batch_size, subject.seed)


def probes_for(subject: Subject, probes: Probes) -> Probes:
    """Return probes of the subject's size, without those that it cannot be asked: an export has no grid to read.

    Raises:
        UserError: none is left.
    """
    protocols = [each for each in probes.protocols if subject.kind != "export" or each.pool == 1]
    if not protocols:
        names = ", ".join(map(str, probes.protocols))
        raise UserError(
            f"{subject.name} is an export, which gives no grid, as {names} reads; ask for linear_pooled, knn"
        )
    rows = min(probes.batch_size, subject.most_rows or probes.batch_size)
    return dataclasses.replace(probes, protocols=protocols, size=subject.size, batch_size=rows)


def grids_of(subject: Subject, probes: Probes) -> dict[str, int]:
    """Return the grid of each stage, {} where no protocol reads it."""
    return probes_for(subject, probes).grids_of(subject.network) if probes.protocols else {}


def parted(measured: Measured, names: Iterable[str]) -> tuple[Measured, Scores, Mapping[str, Spread]]:
    """Take stages out of what was measured: what is left, their scores, their ranks."""
    names = set(names)

    def split(stages: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return ({k: v for k, v in stages.items() if k not in names}, {k: v for k, v in stages.items() if k in names})

    scores = {protocol: split(stages) for protocol, stages in measured.scores.items()}
    ranks, taken_ranks = split(measured.ranks)
    left = measured._replace(scores={protocol: parts[0] for protocol, parts in scores.items()}, ranks=ranks)
    return left, {protocol: parts[1] for protocol, parts in scores.items() if parts[1]}, taken_ranks


def measure_rival(subject: Subject, first: Measured, probes: Probes, data: Data, tuning: Tuning) -> Rival:
    """Measure what stands beside the first subject, and by how much that is ahead, on the same test pictures.

    Labels are drawn alike for both, so that differences of means over draws are paired, too.
    """
    found, _ = measure(subject, probes, data, tuning)
    # Which pictures can be decoded may depend on the size.
    _, mine, others = np.intersect1d(first.test_rows, found.test_rows, return_indices=True)
    ahead = {}
    for protocol in (each for each in first.scores if each in found.scores):
        one, other = (scores[best_stage(scores)] for scores in (first.scores[protocol], found.scores[protocol]))
        if one.right is not None and other.right is not None:
            ahead[protocol] = Difference(*paired(one.right[mine].tolist(), other.right[others].tolist()))
        elif one.draws and other.draws and one.over_draws and len(one.draws) == len(other.draws):
            differences = [a - b for a, b in zip(one.draws, other.draws, strict=True)]
            ahead[protocol] = Difference(*over_draws(differences))
    return Rival(subject.name, found.scores, ahead)
