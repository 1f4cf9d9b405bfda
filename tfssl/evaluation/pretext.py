"""`pretext`: how well a run solves its own puzzles, made of data that it never saw."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.base.statistics import wilson
from tfssl.evaluation.config import PretextSettings
from tfssl.multitask.puzzle_stream import check_fits, stream
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.run import Run, load_run


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """Figures of one task.

    Attributes:
      metrics: as the task names them.
      chance: accuracy of guessing, None where nothing is chosen.
      counted: pictures or recordings whose puzzles counted (weight above 0), about.
      interval: Wilson's 95 % interval of the accuracy over the draw of these; several puzzles of one count as one
        look at it, so it is cautious. None without an accuracy.
    """

    metrics: dict[str, float]
    chance: float | None
    counted: int
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class PretextScores(Result):
    """Figures of all tasks of a run.

    Attributes:
      run, data: folder and name.
      items: how many pictures or clips there are.
      tasks: by name.
    """

    run: Path
    data: str
    items: int
    tasks: dict[str, TaskScore]

    def __str__(self) -> str:
        lines = [f"{self.run} on {self.data}:"]
        for name, score in self.tasks.items():
            figures = ", ".join(f"{metric} {value:.4g}" for metric, value in score.metrics.items())
            more = []
            if score.interval:
                more.append(f"95 % interval {100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f} %")
            if score.chance is not None:
                more.append(f"chance {100 * score.chance:.3g} %")
            more.append(f"{score.counted} of {self.items} counted")
            lines.append(f"  {name}: {figures} ({', '.join(more)})")
        return "\n".join(lines)


@on_its_own()
def pretext(
    run: "Run | str | Path",
    data: Any,
    *,
    draws: int = 4,
    batch_size: int = 64,
    seed: int = 20161,
    max_broken: float = 0.01,
) -> PretextScores:
    """Measure a run's tasks on puzzles of data that it was not trained on.

    Each task answers by its own network (`Run.solver`), batch norm and dropout in test mode.

    Args:
      run: a run, or its folder.
      data: anything that `open_source` takes and the tasks read; needs no labels.
      draws: puzzles of each picture or clip, about.
      batch_size: pictures or clips at once; all, where these are fewer.
      seed: of the puzzles. Its default is far from the seeds that runs are given: the crops and puzzles of an
        evaluation are none of a training.
      max_broken: largest part of the data that may be unreadable.

    Raises:
      UserError: data that the tasks cannot read, fewer than two pictures or clips, a count out of range.
    """
    PretextSettings(**locals())
    run = load_run(run)
    if run.words:
        raise UserError(f"the run in {run.folder} is on text; give it to evaluate-words, which measures its loss")
    source, tasks = open_source(data, max_broken), run.tasks()
    if source.count < 2:
        raise UserError(f"{source.name} has one of {source.items} only; give two or more")
    batch_size = min(batch_size, source.count)
    tasks = [dataclasses.replace(task, batch=min(task.batch, batch_size)) for task in tasks]
    check_fits(tasks, batch_size, source)
    steps = math.ceil(draws * source.count / batch_size)
    metrics = {task.name: task.metrics() for task in tasks}
    solve = {task.name: _solver(run, task.name) for task in tasks}
    shares = dict.fromkeys(solve, 0.0)
    for puzzles, answers, weights in stream(source, tasks, run.settings.size, batch_size, seed).take(steps):
        for name, own in metrics.items():
            prediction = solve[name](puzzles[name])
            for metric in own:
                metric.update_state(answers[name], prediction, weights[name])
            shares[name] += float(tf.reduce_mean(tf.cast(weights[name] > 0, tf.float32))) / steps
    sources = len(set(getattr(source, "recordings", source.paths)))
    scores = {}
    for task in tasks:
        values = {metric.name: float(metric.result()) for metric in metrics[task.name]}
        counted = round(shares[task.name] * sources)
        chance = task.chance_accuracy(batch_size)
        interval = wilson(values["accuracy"], counted) if chance and "accuracy" in values and counted else None
        scores[task.name] = TaskScore(values, chance, counted, interval)
    return PretextScores(run.folder, source.name, source.count, scores)


def _solver(run: Run, name: str) -> Any:
    model = run.solver(name)
    return tf.function(lambda puzzle: model(puzzle, training=False), reduce_retracing=True)
