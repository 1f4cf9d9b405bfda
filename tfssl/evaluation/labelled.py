"""The labelled pictures of an evaluation: what is learned from, tested on, chosen on."""

import dataclasses

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.data import Labelled, open_parts
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.data import Data
from tfssl.evaluation.protocols import PROTOCOLS, choose
from tfssl.evaluation.protocols.base import Measurement, Protocol
from tfssl.evaluation.protocols.dense import DenseProtocol
from tfssl.evaluation.protocols.effective_rank import EffectiveRank
from tfssl.pipelines.sources import any_source
from tfssl.pipelines.sources.any_source import AnySource


def open_data(settings: EvaluateSettings) -> tuple[Data, str]:
    """Open DATA, divide it, and thin what is learned from where that is asked.

    Returns:
        The parts, and a sentence that says where they come from.

    Raises:
        UserError: data without labels, of one class, or without a class that training and test share; `frames` of
            pictures; a table of labels and options that it gives no meaning to.
    """
    if settings.labels is not None:
        return _by_table(settings)
    data, test, max_broken = settings.data, settings.test, settings.max_broken
    train, held_out, note = any_source.open_splits(data, test, settings.split_seed, max_broken)
    check_labels(train, held_out)
    val = any_source.open_choices(data, test, train, max_broken)
    check_frames(settings.frames, train)
    if settings.long_tail is not None:
        train, note = _thinned(train, settings, note)
    return Data(train, held_out, val, settings.split_seed), note


def _thinned(train: AnySource, settings: EvaluateSettings, note: str) -> tuple[AnySource, str]:
    assert settings.long_tail is not None
    factor = settings.long_tail
    return thinned(train, factor, settings.split_seed), f"{note}; training thinned to a long tail, factor {factor:g}"


def choose_for_several(settings: EvaluateSettings) -> tuple[Measurement, ...]:
    """Return the protocols for pictures with several labels each: those that were asked for, else all that can.

    Raises:
        UserError: one that cannot was asked for.
    """
    able = [name for name, each in PROTOCOLS.items() if issubclass(each, Protocol) and each.several]
    if settings.protocols is None:
        return choose(able)
    wanted = tuple(each for each in choose(settings.protocols) if not isinstance(each, DenseProtocol))
    unable = [each for each in wanted if not (isinstance(each, EffectiveRank) or each.name in able)]
    if unable:
        raise UserError(
            f"{unable[0]} tells one class of all, and {settings.labels} has pictures with several labels; ask for"
            f" {', '.join(able)}, or fine-tune with `tfssl finetune --labels`"
        )
    return wanted


def _by_table(settings: EvaluateSettings) -> tuple[Data, str]:
    """Open DATA whose labels are in a table, several of a picture perhaps: see `downstream.data.open_parts`."""
    if settings.test is not None:
        raise UserError(
            f"--labels {settings.labels} is given, which names pictures of {settings.data}, and --test"
            f" {settings.test}; lay both into one folder as train/ and test/"
        )
    parts = open_parts(settings.data, settings.labels, None, settings.split_seed, settings.max_broken)
    check_frames(settings.frames, parts.origin)
    if parts.several and settings.long_tail is not None:
        raise UserError(
            f"--long-tail thins classes, and {settings.labels} has pictures of several; leave one of them out"
        )
    note = f"labels of {settings.labels}"
    if "test" in parts.missing:
        note += f"; {settings.data} has no test/: divided 80/20 within each class by split seed {settings.split_seed}"
    if parts.unlabelled:
        note += "; " + counted(
            parts.unlabelled, "picture without a label was left out", "pictures without a label were left out"
        )
    train, test = (_with_labels(each, parts.classes) for each in (parts.train, parts.test))
    val = None if parts.val is None else _with_labels(parts.val, parts.classes)
    if settings.long_tail is not None:
        train, note = _thinned(train, settings, note)
    targets = [each.targets for each in (parts.train, parts.test, parts.val) if each is not None]
    return Data(train, test, val, settings.split_seed, tuple(targets) if parts.several else ()), note


def _with_labels(part: Labelled, classes: tuple[str, ...]) -> AnySource:
    return dataclasses.replace(part.source, labels=part.labels.astype(np.int32), classes=classes)


def check_frames(frames: int, source: AnySource) -> None:
    """Raise UserError where several frames are asked for of what has none."""
    if frames > 1 and not source.moving:
        raise UserError(f"--frames {frames} is given, but {source.name} has pictures, no clips; leave it out")


def check_labels(train: AnySource, test: AnySource) -> None:
    """Raise UserError where a source has no labels or no pictures, or one class is all to train on."""
    for source in (train, test):
        if source.count == 0:
            raise UserError(f"{source.name} has no pictures; evaluation needs some to train on and some to test on")
        if source.labels is None or source.labels.min() < 0:
            raise UserError(
                f"{source.name} has no labels; evaluation needs one sub-folder a class, or a labelled source"
            )
    if len(np.unique(np.asarray(train.labels))) < 2:
        raise UserError(f"{train.name} has one class only; a probe needs two or more to tell apart")


def thinned(source: AnySource, factor: float, seed: int) -> AnySource:
    """Thin labelled pictures to a long tail.

    The number of pictures falls exponentially from class to class, as in Cui et al. 2019 (arXiv 1901.05555): the first
    keeps as many as the smallest class has, the last one `factor` times fewer, one at least. The order of classes and
    which pictures stay follow from the seed.

    Raises:
        UserError: one class alone.
    """
    labels = np.asarray(source.labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(source.classes))
    present = np.flatnonzero(counts)
    if len(present) < 2:
        raise UserError(f"{source.name} has {len(present)} classes; --long-tail needs two or more")
    rng = np.random.default_rng(seed)
    kept = []
    for place, label in enumerate(rng.permutation(present)):
        wanted = max(1, round(counts[present].min() * factor ** (-place / (len(present) - 1))))
        kept.append(rng.permutation(np.flatnonzero(labels == label))[:wanted])
    return source.subset(np.sort(np.concatenate(kept)), f"{source.name} (long tail {factor:g}, split seed {seed})")
