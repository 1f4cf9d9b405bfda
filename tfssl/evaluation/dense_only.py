"""Protocols of places in the picture beside those of classes, and alone: then nothing needs classes."""

import dataclasses
import time
from collections.abc import Sequence

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.evaluation import notes
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.data import Data
from tfssl.evaluation.dense_tuning import DenseTuning
from tfssl.evaluation.labelled import open_data
from tfssl.evaluation.protocols.base import Measurement
from tfssl.evaluation.protocols.dense import DenseProtocol
from tfssl.frozen.subjects import Subject
from tfssl.runs import dense_scores
from tfssl.runs.evaluation import Evaluation

PICTURES = "images"
"""Folder of pictures whose answers are in folders beside it: none of these is a class."""


def open_dense_tuning(asked: Sequence[Measurement], settings: EvaluateSettings) -> DenseTuning:
    """Open the answers of those protocols that learn something of places in the picture.

    Raises:
      UserError: data without such answers; options that only classes give a meaning to.
    """
    dense = [each for each in asked if isinstance(each, DenseProtocol)]
    others = ", ".join(str(each) for each in asked if each not in dense)
    names = ", ".join(map(str, dense))
    if dense and not others:
        given = {"--long-tail": settings.long_tail, "--projection": settings.projection}
        for option in (option for option, value in given.items() if value):
            raise UserError(f"{option} is given, but {names} takes no classes; leave it out, or ask for a probe too")
        if settings.labels is not None:
            raise UserError(
                f"--labels {settings.labels} is given, but {names} takes no classes; leave it out, or where it has"
                f" joints ask for \"keypoints(labels='{settings.labels}')\""
            )
    try:
        return DenseTuning(dense, settings)
    except UserError as problem:
        if not others:
            raise
        raise UserError(f"{problem}; {names} needs these, and {others} classes: ask for one kind alone") from problem


def open_classes(dense: DenseTuning, settings: EvaluateSettings) -> tuple[Data, str]:
    """Do what `open_data` does, beside protocols that need no classes.

    Raises:
      UserError: data without classes, of which folders of pictures and of their answers are none.
    """
    names = ", ".join(map(str, dense.protocols))
    try:
        data, note = open_data(settings)
    except UserError as problem:
        if not dense.protocols:
            raise
        raise UserError(f"{problem}; {names} alone needs no classes") from problem
    if dense.protocols and PICTURES in data.train.classes:
        raise UserError(
            f"{data.train.name} has {', '.join(f'{name}/' for name in data.train.classes)}, which are no classes; ask"
            f" for {names} alone"
        )
    return data, note


def dense_only(
    first: Subject,
    others: Sequence[Subject],
    dense: DenseTuning,
    settings: EvaluateSettings,
    ranked: Evaluation | None = None,
) -> Evaluation:
    """Learn and measure what needs no classes, and write it into a run's folder: see `dense_scores.write`.

    Args:
      ranked: effective ranks that were asked for, too; they have been written.

    Raises:
      UserError: a subject that cannot be trained, too many broken pictures.
      Stopped: SIGTERM or Ctrl-C came; it is saved, and resumed when called again.
    """
    began = time.monotonic()
    dense.check([first, *others])
    dense.plan(first, others, settings.random is True)
    measured = dense.measured(first, others)
    made = next(iter(measured.values()))
    evaluation = ranked or Evaluation(
        trained={},
        random={},
        train_images=made.train,
        test_images=made.test,
        classes=(),
        broken_files=max(each.details["broken_files"] for each in measured.values()),
        notes=tuple(note for each in (first, *others) for note in notes.of_subject(each, None, dense.protocols)),
        details={
            "subject": first.name,
            "kind": first.kind,
            "data": made.data,
            "size": first.size,
            "seed": first.seed,
            "split_seed": settings.split_seed,
            "seconds": round(time.monotonic() - began, 1),
        },
    )
    evaluation = dataclasses.replace(
        evaluation, protocols={str(each): each.facts for each in dense.protocols}, dense=measured
    )
    if settings.to is not None:
        write_json(settings.to, evaluation.as_json())
    if first.run is not None:
        dense_scores.write(first.run.folder, measured, settings.epoch)
        if settings.report and settings.epoch is None:
            from tfssl.report.page import write_report

            write_report(first.run)
    return evaluation
