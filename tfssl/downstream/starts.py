"""What a classifier begins from: a subject of `evaluate` that can be trained, and where its trunk is cut."""

import dataclasses
from typing import Any, Self

from tfssl.base.errors import UserError
from tfssl.downstream.network import check_stage
from tfssl.frozen.subjects import Subject, open_subject
from tfssl.runs.served import embedding_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start(Subject):
    """Weights to begin from.

    Attributes:
      stage: where the trunk is cut.
    """

    stage: str

    @classmethod
    def of(cls, subject: Subject, stage: str) -> Self:
        """Cut a subject at a stage."""
        return cls(**{each.name: getattr(subject, each.name) for each in dataclasses.fields(subject)}, stage=stage)


def open_start(run: Any, trunk: Any, size: int | None, stage: str | None, seed: int = 0) -> Start:
    """Open what to begin from.

    Args:
      run: a run or its folder, or a .keras file; None where `trunk` is given.
      trunk: a name of a trunk, for random weights, or with weights; a .keras file or a Keras model.
      size: pixels of a side; that of the run where None, else 96.
      stage: where the trunk is cut: its name, "best" for what `evaluate` found, None for the last one.
      seed: of random weights.

    Raises:
      UserError: no such run, file, trunk or stage.
    """
    subject = open_subject(run if trunk is None else trunk, size, seed=seed)
    if trunk is not None and subject.run is not None:
        raise UserError(f"--trunk {trunk} is a run; give it as RUN: tfssl finetune {trunk} DATA --out DIR")
    if trunk is None and subject.kind == "name":
        raise UserError(f"{run} is no run but a trunk's name; give it as --trunk: tfssl finetune DATA --trunk ...")
    if subject.kind == "export":
        raise UserError(f"{subject.name} is an export, which cannot be trained; give the run, or its encoder.keras")
    if stage == "best" and subject.run is None:
        raise UserError("--stage best is what evaluate found of a run; give a run, or the stage's name")
    if stage == "best" and subject.run is not None:
        stage = embedding_of(subject.run).stage
    network = subject.random if subject.trained is None else subject.trained
    return Start.of(subject, check_stage(network, stage, "--stage"))
