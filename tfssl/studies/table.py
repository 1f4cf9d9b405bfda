"""What a study found as rows, and rows as text, as Markdown and as JSON."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfssl.base.result import Result, plain
from tfssl.base.tables import aligned
from tfssl.runs.evaluation import Score, best_stage
from tfssl.studies.statistics import Estimate, over_seeds
from tfssl.studies.trials import PROTOCOLS, Trial
from tfssl.tasks import parse_tasks

RANDOM = "random weights"


@dataclasses.dataclass(frozen=True)
class Downstream(Result):
    """Top-1, a fraction, of the best stage of each seed, by one protocol.

    Attributes:
      estimate: over seeds.
      by_seed: seed -> top-1.
      stages: the best stage, one a seed.
    """

    estimate: Estimate
    by_seed: Mapping[int, float]
    stages: tuple[str, ...]

    @property
    def best_stages(self) -> str:
        """`stage3`, or `stage2, stage3` where seeds differ."""
        return ", ".join(sorted(set(self.stages)))

    def as_json(self) -> dict[str, Any]:
        """Return mean, low, high, values, stages."""
        return plain(self.estimate) | {"stages": list(self.stages)}


@dataclasses.dataclass(frozen=True)
class Row(Result):
    """One set of tasks over its seeds.

    Attributes:
      tasks: as text; "random weights" for what was not trained.
      seeds: of the runs.
      downstream: by protocol of a study.
      pretext: metric -> its estimate: the mean over the last epoch, on pictures of the training.
      chance: metric -> what guessing gets, where a task chooses.
      images_per_second: source pictures, of the training.
    """

    tasks: str
    seeds: tuple[int, ...]
    downstream: Mapping[str, Downstream]
    pretext: Mapping[str, Estimate]
    chance: Mapping[str, float]
    images_per_second: Estimate | None

    def as_json(self) -> dict[str, Any]:
        """Return tasks, seeds, linear, linear_pooled, knn, pretext, chance, images_per_second."""
        content = super().as_json()
        head = {"tasks": content.pop("tasks"), "seeds": content.pop("seeds")}
        return head | content.pop("downstream") | content


def row_of(trials: Sequence[Trial]) -> Row:
    """Return the row of trials of the same tasks."""
    tasks = trials[0].tasks
    metrics = [pretext_metrics(trial.run.result["metrics"]) for trial in trials]
    return Row(
        tasks,
        tuple(trial.seed for trial in trials),
        downstream(trials, lambda trial, protocol: trial.evaluation.trained[protocol]),
        {name: over_seeds([each[name] for each in metrics]) for name in metrics[0]},
        chance_levels(tasks, trials[0].run.settings.batch_size),
        over_seeds([float(trial.run.result["images_per_second"]) for trial in trials]),
    )


def random_row(trials: Sequence[Trial]) -> Row:
    """Return the row of random weights: one trial of each seed tells what its run began with."""
    first = list({trial.seed: trial for trial in reversed(trials)}.values())[::-1]
    first.sort(key=lambda trial: trial.seed)
    by_protocol = downstream(first, lambda trial, protocol: trial.evaluation.random[protocol])
    return Row(RANDOM, tuple(trial.seed for trial in first), by_protocol, {}, {}, None)


def pretext_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a run's metrics without its losses."""
    return {name: value for name, value in metrics.items() if name != "loss" and not name.endswith("_loss")}


def chance_levels(tasks: str, batch_size: int) -> dict[str, float]:
    """Return TASK_accuracy -> what guessing gets, of the tasks that choose, in steps of so many source pictures."""
    levels = {f"{task.name}_accuracy": task.chance_accuracy(batch_size) for task in parse_tasks(tasks)}
    return {name: level for name, level in levels.items() if level is not None}


def format_metric(name: str, value: float, half: float | None = None, chance: float | None = None) -> str:
    """Format as `rotation accuracy 45.1 +- 1.2 % (chance 25.0 %)`, `inpainting psnr 18.3`."""
    share = name.endswith("accuracy")
    scale, digits = (100.0, ".1f") if share else (1.0, ".3g")
    text = f"{name.replace('_', ' ')} {scale * value:{digits}}"
    text += f" +- {scale * half:{digits}}" if half is not None else ""
    text += " %" if share else ""
    return text + (f" (chance {100 * chance:.1f} %)" if chance is not None else "")


def format_share(estimate: Estimate) -> str:
    """Format as `54.1 +- 1.2`, in percent."""
    half = estimate.half
    return f"{100 * estimate.mean:.1f}" + ("" if half is None else f" +- {100 * half:.1f}")


PROBED = tuple(heading for title in PROTOCOLS.values() for heading in (f"{title}, %", "stage"))
HEADINGS = ("tasks", "pretext task", *PROBED, "images/s", "seeds")
TO_THE_RIGHT = (*range(2, 2 + len(PROBED), 2), len(HEADINGS) - 2, len(HEADINGS) - 1)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    speed = row.images_per_second
    columns = [row.downstream[protocol] for protocol in PROTOCOLS]
    pretext = [
        format_metric(name, estimate.mean, estimate.half, row.chance.get(name))
        for name, estimate in row.pretext.items()
    ]
    return (
        row.tasks,
        "; ".join(pretext) or "-",
        *(cell for each in columns for cell in (format_share(each.estimate), each.best_stages)),
        f"{speed.mean:.0f}" if speed is not None and speed.mean else "-",
        str(len(row.seeds)),
    )


def as_text(headings: Sequence[str], rows: Sequence[Sequence[str]], to_the_right: Sequence[int]) -> str:
    """Format a table for a terminal."""
    texts = [column for column in range(len(headings)) if column not in to_the_right]
    return "\n".join(aligned([tuple(headings), *map(tuple, rows)], texts))


def as_markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], to_the_right: Sequence[int]) -> str:
    """Format the same in Markdown."""
    lines = [headings, ["--:" if column in to_the_right else ":--" for column in range(len(headings))], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines).replace("+-", "±")


def downstream(trials: Sequence[Trial], scores: Callable[[Trial, str], Mapping[str, Score]]) -> dict[str, Downstream]:
    """Return the best stages of trials that differ in their seed, by protocol. `scores`: a trial's stage -> score."""
    by_protocol = {}
    for protocol in PROTOCOLS:
        stages = tuple(best_stage(scores(trial, protocol)) for trial in trials)
        tops = {trial.seed: scores(trial, protocol)[stage].top1 for trial, stage in zip(trials, stages, strict=True)}
        by_protocol[protocol] = Downstream(
            over_seeds(list(tops.values()), trials[0].evaluation.test_images), tops, stages
        )
    return by_protocol
