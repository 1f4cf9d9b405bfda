"""`sweep`: how hard, and how long? Pretext accuracy against downstream accuracy, as a curve."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfssl.base.files import atomic_write, text_of
from tfssl.base.result import Result
from tfssl.base.words import counted
from tfssl.runs import metrics_log
from tfssl.studies import figures, table
from tfssl.studies.compare import notes, trials_of
from tfssl.studies.config import SweepSettings
from tfssl.studies.statistics import difference, over_seeds, spreads
from tfssl.studies.table import Row
from tfssl.studies.trials import PROTOCOLS, Study, Tasks, Trial, canonical, check_more
from tfssl.studies.variants import expand_braces, label_variants, watched_task


@dataclasses.dataclass(frozen=True)
class Point(Result):
    """One variant after so many steps, over its seeds.

    Attributes:
      variant: what tells it apart, as 'classes=16'; "random weights" for what was not trained.
      steps: of training.
      row: its figures.
    """

    variant: str
    steps: int
    row: Row

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: variant, steps, and what a row has."""
        return {"variant": self.variant, "steps": self.steps} | self.row.as_json()


@dataclasses.dataclass(frozen=True)
class Sweep(Result):
    """What `sweep` found.

    Attributes:
      folder: of the study.
      points: variants in the order given, each with its steps rising; random weights last.
      metric: of the pretext task, as 'jigsaw_accuracy': what the figure has.
      sentences: what came out.
      notes: how it was measured.
      largest_class: share of the commonest class among the test pictures.
    """

    folder: Path
    points: tuple[Point, ...]
    metric: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    largest_class: float

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: study, summary, points, metric, notes, largest_class."""
        content = super().as_json()
        return {"study": content.pop("folder"), "summary": content.pop("sentences")} | content

    def __str__(self) -> str:
        return "\n".join([table.as_text(*self._table()), "", *self.sentences, "", *self.notes])

    def as_markdown(self) -> str:
        """Return table, sentences and notes in Markdown."""
        lines = [*(f"- {sentence}\n" for sentence in self.sentences), *(f"\n{note}\n" for note in self.notes)]
        return table.as_markdown(*self._table()) + "\n" + "".join(lines)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]:
        headings = ("variant", "steps", *table.HEADINGS[1:])
        rows = [(point.variant, f"{point.steps:,}", *table.cells(point.row)[1:]) for point in self.points]
        return headings, rows, (1, *(column + 1 for column in table.TO_THE_RIGHT))


def sweep(
    data: Any,
    tasks: str | Sequence[Tasks],
    out: str | Path,
    labelled: Any = None,
    test: Any = None,
    every: int | None = None,
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
) -> Sweep:
    """Pretrain variants of a task and set pretext accuracy beside downstream accuracy (difficulty and duration).

    The folder gets `table.md`, `study.json`, `figure.png` and the runs; it can be resumed and grows as that of
    `compare` does, whose intervals it has.

    With `every` each run is also probed after each `every` steps. This is one run with one schedule, over which the
    learning rate falls: the trunk as it was on the way, with batch norm statistics of whole pictures, not what a
    shorter run would have ended with. Pretext metrics are means over the steps since the point before.

    Args:
      data: pictures to pretrain on, as of `compare`.
      tasks: variants: 'jigsaw(classes={4,16,64})', or a list of sets of tasks as of `compare`. All have one task in
        common.
      out: the study's folder.
      every: steps between probes of a run, a divisor of `steps`; at the end only where None.
      labelled, test, seeds, trunk, size, steps, batch_size, limit, test_limit, split_seed, max_broken, verbose, more:
        as of `compare`.

    Raises:
      UserError: whatever the user can mend; a folder that holds another study.
    """
    arguments = locals()
    more = check_more(arguments.pop("more"))
    settings = SweepSettings(**arguments, **more)
    variants = [canonical(each) for each in (expand_braces(tasks) if isinstance(tasks, str) else tasks)]
    wanted = trials_of(variants, settings.seeds)
    watched_task(variants)
    study = Study("sweep", settings, settings.every)
    for trials in study.make(wanted):
        curve = _summary(study, trials)
        study.write(curve.as_json())
        with atomic_write(study.folder / "table.md") as temporary:
            temporary.write_text(text_of(curve.as_markdown()), encoding="utf-8")
        pretext_points = [point for point in curve.points if point.row.tasks != table.RANDOM]
        picture = figures.sweep_curves(
            [(point.variant, point.steps, point.row) for point in pretext_points],
            curve.points[-1].row,
            curve.metric,
            study.every is not None,
        )
        figures.save(picture, study.folder / "figure.png")
    return curve


def _summary(study: Study, trials: Sequence[Trial]) -> Sweep:
    variants = list(dict.fromkeys(trial.tasks for trial in trials))
    labels = label_variants(variants)
    untrained = table.random_row(trials)
    points = []
    for variant, label in zip(variants, labels, strict=True):
        mine = [trial for trial in trials if trial.tasks == variant]
        points += [Point(label, step, _row_after(mine, step)) for step in mine[0].earlier]
        points.append(Point(label, study.steps, table.row_of(mine)))
    metric = _main_metric(watched_task(variants), points[0].row.pretext)
    evaluation = trials[0].evaluation
    sentences = _sentences(points, untrained, metric, evaluation.test_images)
    points.append(Point(table.RANDOM, 0, untrained))
    how = notes(study, evaluation)
    if study.every is not None:
        how.append(
            f"One run with one schedule a variant, probed every {counted(study.every, 'step')}: on the way the learning"
            " rate is higher than at the end, so a point is not what a shorter run ends with."
        )
    return Sweep(study.folder, tuple(points), metric, sentences, tuple(how), evaluation.largest_class)


def _row_after(trials: Sequence[Trial], step: int) -> Row:
    """Return the row of trials as they were after a step at which an epoch ended."""
    metrics = [table.pretext_metrics(metrics_log.read_epoch_end(trial.run.folder, step)) for trial in trials]
    known = table.pretext_metrics(trials[0].run.result["metrics"])
    return dataclasses.replace(
        table.row_of(trials),
        downstream=table.downstream(trials, lambda trial, protocol: trial.earlier[step].trained[protocol]),
        pretext={name: over_seeds([each[name] for each in metrics]) for name in known},
    )


def _main_metric(task: str, metrics: Mapping[str, Any]) -> str:
    """Return the accuracy of a task where it has one, else its first metric."""
    own = [name for name in metrics if name.startswith(f"{task}_")]
    return next((name for name in own if name.endswith("accuracy")), own[0])


def _sentences(points: Sequence[Point], untrained: Row, metric: str, test_images: int) -> tuple[str, ...]:
    """Name the best point by each protocol, against random weights and against the best pretext metric."""
    several = len({point.steps for point in points}) > 1

    def name(point: Point) -> str:
        return f"{point.variant} after {counted(point.steps, 'step')}" if several else point.variant

    said = []
    for protocol in PROTOCOLS:
        best = max(points, key=lambda point: point.row.downstream[protocol].estimate.mean)
        downstream = best.row.downstream[protocol]
        line = f"The best {PROTOCOLS[protocol]} is that of {name(best)}: {table.format_share(downstream.estimate)} %"
        ahead = difference(downstream.by_seed, untrained.downstream[protocol].by_seed, test_images)
        if ahead is not None and ahead.low is not None and ahead.high is not None:
            over = f"over {len(ahead.values)} seeds" if spreads(ahead.values, test_images) else "over test pictures"
            line += (
                f", {100 * ahead.mean:+.1f} points against random weights "
                f"(95 % interval {100 * ahead.low:+.1f} to {100 * ahead.high:+.1f}, {over})"
            )
        said.append(line + ".")
    if metric.endswith("accuracy") and len(points) > 1:
        easiest = max(points, key=lambda point: point.row.pretext[metric].mean)
        share, chance = easiest.row.pretext[metric].mean, easiest.row.chance.get(metric)
        said.append(
            f"The best pretext task is that of {name(easiest)}: {table.format_metric(metric, share, None, chance)}."
        )
    return tuple(said)
