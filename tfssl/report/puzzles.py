"""`show`: puzzles with their answers, and what a network says to them. The first thing to look at."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.figures import save_figure
from tfssl.base.files import atomic_write
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.multitask import puzzle_stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.report.config import ShowSettings
from tfssl.runs.config import TASKS
from tfssl.runs.run import Run, load_run
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import PretextTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Shown(Result):
    """Files that `show` wrote, by task name."""

    files: dict[str, Path]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {path}" for name, path in self.files.items())


@on_its_own()
def show(
    data: Any,
    tasks: Any = None,
    to: str | Path = "puzzles.png",
    *,
    run: str | Path | Run | None = None,
    size: int | None = None,
    count: int = 6,
    seed: int = 0,
    max_broken: float = 0.01,
) -> Shown:
    """Draw puzzles with answers, and with a run's predictions beside them.

    Args:
      data: anything that `open_source` takes.
      tasks: pretext tasks; where None, the run's own, or those of `pretrain`. With a run, some of its tasks, by name.
      to: a picture file (png, svg, pdf, jpg); with several tasks each has its name added.
      run: a run whose network answers too.
      size: side of the crops, pixels; the run's, or 96.
      count: how many source pictures.
      seed: other seeds show other pictures.
      max_broken: largest part of the pictures that may be unreadable.

    Raises:
      UserError: an unknown task, one or a size that is not the run's, unreadable data, a file that cannot be written.
    """
    to = ShowSettings(**locals()).to
    asked = None if tasks is None else parse_tasks(tasks)
    if run is not None:
        run = load_run(run)
        names = _names(run, asked, size)
        source = open_source(data, max_broken)
        _advise(run.tasks(), run.settings.size, source)
        by_task = draw(run, source, count, seed)
        figures = {name: by_task[name] for name in names}
    else:
        source = open_source(data, max_broken)
        prepared = [task.prepared(source) for task in asked or parse_tasks(TASKS)]
        _advise(prepared, size or 96, source)
        figures = _draw(source, prepared, size or 96, count, seed, None)
    files = {}
    for name, figure in figures.items():
        path = to if len(figures) == 1 else to.with_stem(f"{to.stem}-{name}")
        with atomic_write(path) as temporary:
            save_figure(figure, temporary, dpi=120)
        files[name] = path
    return Shown(files)


def _advise(tasks: list[PretextTask], size: int, source: AnySource) -> None:
    """Say what the user should know of the tasks at this size and on this data."""
    for task in tasks:
        for sentence in task.advice(size, source):
            print(f"{task.name}: {sentence}", file=sys.stderr)


def _names(run: Run, asked: list[PretextTask] | None, size: int | None) -> list[str]:
    """Return which of a run's tasks are drawn. Raise UserError where something else than the run's is asked for."""
    if size not in (None, run.settings.size):
        raise UserError(f"--size {size} is given, but the run in {run.folder} has {run.settings.size}; leave it out")
    own = {task.name: str(task) for task in run.tasks()}
    for task in asked or []:
        if task.name not in own or str(task) not in (task.name, own[task.name]):
            raise UserError(
                f"--tasks {task} is given, but the run in {run.folder} has {run.settings.tasks}; leave it out"
            )
    return list(own) if asked is None else [task.name for task in asked]


def draw(run: Run, source: AnySource | None = None, count: int = 6, seed: int = 0) -> "dict[str, Figure]":
    """Draw a figure for each task of a run: puzzles of its source (or of another) with the network's answers."""
    source = source or open_source(run.data["name"])
    return _draw(source, run.tasks(), run.settings.size, count, seed, run)


def _draw(
    source: AnySource, tasks: list[PretextTask], size: int, count: int, seed: int, run: Run | None
) -> "dict[str, Figure]":
    count = min(count, source.count)
    # Not the pictures that the run began with, and not only the first class of a listing.
    drawn = batches.sample(source, count, seed + 1)
    dataset = puzzle_stream.stream(drawn, tasks, size, count, seed)
    puzzles, answers, _ = next(iter(dataset))
    predictions: dict[str, Any] = {}
    if run is not None:
        predictions = {
            task.name: np.asarray(run.solver(task.name)(puzzles[task.name], training=False)) for task in tasks
        }
    as_arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), (puzzles, answers))
    return {
        task.name: task.picture(as_arrays[0][task.name], as_arrays[1][task.name], predictions.get(task.name), count)
        for task in tasks
    }
