"""`compare`: sets of pretext tasks beside each other and beside random weights, over seeds."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, text_of
from tfssl.base.result import Result
from tfssl.base.words import counted
from tfssl.runs import seen
from tfssl.runs.evaluation import Evaluation
from tfssl.studies import figures, table
from tfssl.studies.claims import Claim, check_claims
from tfssl.studies.config import CompareSettings
from tfssl.studies.table import Row
from tfssl.studies.trials import Study, Tasks, Trial, canonical, check_more


@dataclasses.dataclass(frozen=True)
class Comparison(Result):
    """What `compare` found.

    Attributes:
      folder: of the study.
      rows: one for each set of tasks, random weights last.
      claims: what of it is shown.
      notes: how it was measured.
      largest_class: share of the commonest class among the test pictures: what a constant answer gets.
    """

    folder: Path
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]
    largest_class: float

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: study, rows, claims, notes, largest_class."""
        content = super().as_json()
        return {"study": content.pop("folder")} | content

    def __str__(self) -> str:
        rows = [table.cells(row) for row in self.rows]
        text = table.as_text(table.HEADINGS, rows, table.TO_THE_RIGHT)
        return "\n".join([text, "", *(claim.sentence for claim in self.claims), "", *self.notes])

    def as_markdown(self) -> str:
        """Return the table, the claims and the notes in Markdown."""
        rows = [table.cells(row) for row in self.rows]
        parts = [table.as_markdown(table.HEADINGS, rows, table.TO_THE_RIGHT)]
        parts += ["".join(f"- {claim.sentence}\n" for claim in self.claims)] if self.claims else []
        return "\n".join([*parts, *(f"{note}\n" for note in self.notes)])


def compare(
    data: Any,
    tasks: Sequence[Tasks],
    out: str | Path,
    labelled: Any = None,
    test: Any = None,
    seeds: str | Sequence[int] = (0,),
    trunk: str = "resnet10(width=32)",
    size: int = 96,
    steps: int = 2000,
    batch_size: int = 64,
    limit: int | None = None,
    test_limit: int | None = None,
    split_seed: int = 0,
    max_broken: float = 0.01,
    verbose: int = 1,
    **more: Any,
) -> Comparison:
    """Pretrain on each set of tasks with each seed, evaluate, and make the table.

    The folder gets `table.md`, `study.json`, `figure.png`, and `runs/TASKS/seed0` and on, which are runs like any
    other. They are written anew after each run. Called again, it resumes: what was trained and evaluated is not made
    again. A study grows: more tasks or seeds in a later call are added to what the folder holds; everything else
    must be as it was.

    Intervals are 95 %: with several seeds Student's over seeds (how much another run of the training would differ,
    on the same test pictures); with one seed Wilson's over the draw of test pictures. The best stage of each run is
    chosen on training pictures that were held out, of random weights too: see `evaluate`.

    Args:
      data: pictures to pretrain on: see `open_source`. Where `labelled` is not given, labelled too, and only its
        training part is pretrained on.
      tasks: sets of tasks, each as `pretrain` takes it: ['rotation', 'rotation, jigsaw'].
      out: the study's folder.
      labelled: what to evaluate on, as `evaluate` takes it; `data` where it is not given. Give `data` here once more to
        pretrain on all of it, its test pictures too. What has no test part is divided 80/20, the same for all seeds.
      test: labelled test data of its own.
      seeds: of the runs; also as '0,1,2'.
      trunk: its name; every run begins with new weights, the same for one seed where the trunk is the same.
      size: pixels of a side.
      steps: of each run, over which its learning rate falls.
      batch_size: source pictures in a step.
      limit: how many of the labelled training pictures the probes get: a class-balanced sample, the same for all.
      test_limit: how many of the test pictures: a sample that leaves shares of classes as they are.
      split_seed: of the division, and of these samples.
      max_broken: the largest share of unreadable pictures, 0 .. 1.
      verbose: of each run: 1 a progress bar, 2 a line an epoch, 0 nothing.
      more: what else `pretrain` takes: see `tfssl.studies.config.PassedOn`.

    Raises:
      UserError: whatever the user can mend; a folder that holds another study.
    """
    arguments = locals()
    more = check_more(arguments.pop("more"))
    settings = CompareSettings(**arguments, **more)
    wanted = trials_of(settings.tasks, settings.seeds)
    study = Study("compare", settings)
    for trials in study.make(wanted):
        comparison = _summary(study, trials)
        study.write(comparison.as_json())
        with atomic_write(study.folder / "table.md") as temporary:
            temporary.write_text(text_of(comparison.as_markdown()), encoding="utf-8")
        figures.save(figures.comparison_bars(comparison.rows, comparison.largest_class), study.folder / "figure.png")
    return comparison


def trials_of(tasks: Sequence[Tasks], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Return (tasks as text, seed) for each set of tasks and each seed. Raise UserError on none, or one given twice."""
    names = [canonical(each) for each in ([tasks] if isinstance(tasks, str) else tasks)]
    if not names:
        raise UserError("no tasks are given; give a set of tasks for each row of the table")
    for name in names:
        same = [other for other in names if sorted(other.split(", ")) == sorted(name.split(", "))]
        if len(same) > 1:
            raise UserError(f"--tasks {name!r} is given {len(same)} times; give each set of tasks once")
    return [(name, seed) for name in names for seed in seeds]


def _summary(study: Study, trials: Sequence[Trial]) -> Comparison:
    names = dict.fromkeys(trial.tasks for trial in trials)
    rows = [table.row_of([trial for trial in trials if trial.tasks == name]) for name in names]
    rows.append(table.random_row(trials))
    evaluation = trials[0].evaluation
    claims = check_claims(rows, evaluation.test_images)
    return Comparison(
        study.folder, tuple(rows), tuple(claims), tuple(notes(study, evaluation)), evaluation.largest_class
    )


def notes(study: Study, evaluation: Evaluation) -> list[str]:
    """Say how the trials of a study were made and measured; `evaluation` is one of theirs."""
    settings = study.settings
    return [
        f"{counted(settings['steps'], 'step')} of {counted(settings['batch_size'], 'picture')} of {settings['data']}, "
        f"{settings['size']} px, {settings['trunk']}.",
        f"Probes: trained on {evaluation.train_images:,} pictures ({study.train.name}), tested on "
        f"{evaluation.test_images:,} ({study.held_out.name}); always naming the commonest class gets "
        f"{100 * evaluation.largest_class:.1f} %.",
        seen.sentence(evaluation.details["seen_in_pretraining"], evaluation.test_images, study.held_out.items),
        "+-: 95 % interval; over seeds (Student) on the same test pictures where there are several, else over the draw "
        "of test pictures (Wilson). The best stage is chosen on held-out training pictures, for random weights too, "
        "which stand at the better of two batch norms. Pooled: of what export gives, the mean over all places. "
        "Pretext metrics: mean of the last epoch, on training pictures.",
    ]
