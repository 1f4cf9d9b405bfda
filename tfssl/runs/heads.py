"""The trained network of one task, kept with the run: puzzle -> answer."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write
from tfssl.models import batch_norm
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import make_inputs, make_model
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.checkpoints import read_weights
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.tasks.parts import classification

if TYPE_CHECKING:
    from tfssl.runs.run import Run

PRECISE_STEPS = 16


def save(run: "Run", task: PretextTask, trained: keras.Model, encoders: Encoders, source: AnySource) -> None:
    """Write heads/TASK.npz: encoders and head of a task, with batch norm statistics of its own kind of puzzles.

    Args:
      trained: the model of all tasks.
      encoders: others of the same shapes, in float32; their weights are overwritten.
      source: what the run was trained on.
    """
    name, settings = task.name, run.settings
    spec = puzzle_stream.puzzle_spec(task, settings.size)
    solver = make_model([task], encoders, ({name: spec[0]},))
    part = keras.Model({name: trained.input[name]}, {name: trained.output[name]})
    solver.set_weights(part.get_weights())
    stream = puzzle_stream.stream(source, [task], settings.size, settings.batch_size, settings.seed)
    batch_norm.estimate(solver, stream.map(lambda puzzles, *_: puzzles), PRECISE_STEPS)
    with atomic_write(run.folder / "heads" / f"{name}.npz") as temporary:
        np.savez(temporary, *solver.get_weights())


def load(run: "Run", name: str, inputs: Any = None) -> keras.Model:
    """Load a head, as `Run.solver` does."""
    task = {task.name: task for task in run.tasks()}.get(name)
    if task is None:
        raise UserError(f"the run in {run.folder} has no {name}, its tasks are: {run.settings.tasks}")
    tasks, encoders = run.tasks(), run.random_encoders()
    path = run.folder / "heads" / f"{name}.npz"
    if not path.exists():  # it has not ended
        specs = {each.name: puzzle_stream.puzzle_spec(each, run.settings.size)[0] for each in tasks}
        whole = make_model(tasks, encoders, (specs,))
        read_weights(whole, run.folder / "checkpoints", run.settings.ema is not None)
        part = keras.Model({name: whole.input[name]}, {name: whole.output[name]})
        weights = part.get_weights()
    else:
        with np.load(path) as arrays:
            weights = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
    inputs = _inputs(run, task) if inputs is None else inputs
    solver = keras.Model(inputs, task.head(encoders, inputs), name=name)
    try:
        solver.set_weights(weights)
    except ValueError:
        raise UserError(
            f"the network of {name} in {run.folder} is of a version of tfssl that built it otherwise; ask that version,"
            " or pretrain again. Its encoder can be used as before"
        ) from None
    if run.format < 2:
        classification.unscale(solver)
    return solver


def untrained(run: "Run", task: PretextTask) -> keras.Model:
    """Make the network of a task with the weights that a run began with, and a new head drawn by the run's seed.

    Its batch norm statistics are not estimated.
    """
    keras.utils.set_random_seed(run.settings.seed)
    inputs = _inputs(run, task)
    return keras.Model(inputs, task.head(run.random_encoders(), inputs), name=task.name)


def _inputs(run: "Run", task: PretextTask) -> Any:
    """Make Keras inputs for the puzzles of one task alone.

    For a puzzle that is a dict they have the names of its keys, as Keras then wants.
    """
    spec = puzzle_stream.puzzle_spec(task, run.settings.size)[0]
    if isinstance(spec, dict):
        return {key: make_inputs(key, part) for key, part in spec.items()}
    return make_inputs(task.name, spec)
