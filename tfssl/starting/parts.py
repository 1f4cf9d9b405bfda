"""The parts of a quickstart: each is a call of another command, with these settings and no others."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfssl.base.config import Settings
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.finetune import finetune
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.evaluate import evaluate
from tfssl.export.checking.check import check
from tfssl.export.config import CheckSettings, ExportSettings
from tfssl.export.saved_model import export
from tfssl.pipelines.sources.any_source import absolute_name
from tfssl.report.config import ShowSettings
from tfssl.report.puzzles import show
from tfssl.starting.budget import Finetuning
from tfssl.starting.choosing import Choice
from tfssl.starting.commands import command_line
from tfssl.starting.config import QuickstartSettings
from tfssl.starting.looking import name_of
from tfssl.training.config import PretrainSettings
from tfssl.training.pretrain import pretrain

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "show": show,
    "pretrain": pretrain,
    "evaluate": evaluate,
    "finetune": finetune,
    "export": export,
    "check": check,
}
PROTOCOLS = ("linear_pooled", "knn")
"""The embedding as it is exported, at what it is worth to others. A probe of a grid of each stage's map takes longer
than all else at a few thousand pictures; the command that is printed runs it, too, without --protocols."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
      name: in quickstart.json.
      title: what it does, for people.
      command: the command that it is.
      settings: that command's.
      writes: what is written whole or not at all, and never again: there, the part is done.
    """

    name: str
    title: str
    command: str
    settings: Settings
    writes: Path | None = None

    @property
    def line(self) -> str:
        """The command as one would type it."""
        return command_line(self.command, self.settings)

    def run(self) -> Any:
        """Call the function of the command with what is set; return its result."""
        given = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        return FUNCTIONS[self.command](**given)


def parts_of(settings: QuickstartSettings, choice: Choice) -> list[Part]:
    """Return all parts, in their order."""
    out = settings.out
    run, models = str(out / "run"), out / "models"
    size, tasks, broken, verbose = choice.size, choice.tasks, settings.max_broken, settings.verbose
    data = _as_given(choice.pretrain_on, settings)
    made = [
        Part(
            "show",
            "drawing puzzles",
            "show",
            ShowSettings(data=data, tasks=tasks, size=size, max_broken=broken, to=out / "puzzles.png"),
        ),
        Part(
            "pretrain",
            "pretraining",
            "pretrain",
            PretrainSettings(
                data=data,
                tasks=tasks,
                trunk=choice.trunk,
                size=size,
                epochs=choice.epochs,
                steps_per_epoch=choice.steps_per_epoch,
                batch_size=choice.batch_size,
                mixed_precision=choice.mixed_precision,
                max_broken=broken,
                out=out / "run",
                verbose=verbose,
            ),
        ),
    ]
    if choice.evaluate_on:
        on = _as_given(choice.evaluate_on, settings)
        test = _as_given(choice.test_on, settings) if choice.test_on else None
        measuring = EvaluateSettings(subject=run, data=on, test=test, protocols=PROTOCOLS, max_broken=broken)
        made.append(Part("evaluate", "measuring what the features are worth", "evaluate", measuring))
    if choice.finetuning is not None:
        made.append(_finetuning(settings, choice.finetuning))
    subjects = {"encoder": run} | ({"classifier": str(out / "classifier")} if choice.finetuning is not None else {})
    for name, subject in subjects.items():
        exporting = ExportSettings(run=subject, folder=models / name, version=1)
        made.append(Part(f"export {name}", f"exporting the {name}", "export", exporting, models / name / "1"))
    for name in subjects:
        made.append(
            Part(f"check {name}", f"checking the exported {name}", "check", CheckSettings(folder=models / name))
        )
    return made


def _finetuning(settings: QuickstartSettings, chosen: Finetuning) -> Part:
    return Part(
        "finetune",
        "making a classifier",
        "finetune",
        FinetuneSettings(
            run=str(settings.out / "run"),
            data=name_of(settings.photos),
            labels=settings.labels,
            out=settings.out / "classifier",
            steps=chosen.steps,
            learning_rates=chosen.learning_rates,
            refit=chosen.refit,
            beside=chosen.beside,
            fraction=() if chosen.fraction is None else (chosen.fraction,),
            max_broken=settings.max_broken,
            verbose=settings.verbose,
        ),
    )


def _as_given(name: str, settings: QuickstartSettings) -> str:
    """Return an absolute name of a source with PHOTOS in it as it was given: shorter, and right where one stands."""
    given = name_of(settings.photos)
    root = absolute_name(given)
    return given + name.removeprefix(root) if name.startswith(root) else name
