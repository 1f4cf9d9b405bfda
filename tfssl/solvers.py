"""The trained network of one task, kept with the run: puzzle -> answer."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfssl import batch_norm, mixing, runs
from tfssl.checkpoints import read_weights
from tfssl.errors import UserError
from tfssl.model import make_inputs, make_model
from tfssl.pipelines.sources import AnySource
from tfssl.task import Encoders, PretextTask

if TYPE_CHECKING:
    from tfssl.runs import Run

PRECISE_STEPS = 16


def save(run: "Run", task: PretextTask, trained: keras.Model, encoders: Encoders, source: AnySource) -> None:
    """Writes heads/TASK.npz: encoders and head of a task, with batch norm statistics of its own kind of puzzles.

    Args:
      trained: the model of all tasks.
      encoders: others of the same shapes, in float32; their weights are overwritten.
      source: what the run was trained on.
    """
    name, settings = task.name, run.settings
    spec = mixing.puzzle_spec(task, settings["size"])
    solver = make_model([task], encoders, ({name: spec[0]},))
    part = keras.Model({name: trained.input[name]}, {name: trained.output[name]})
    solver.set_weights(part.get_weights())
    stream = mixing.stream(source, [task], settings["size"], settings["batch_size"], settings["seed"])
    batch_norm.estimate(solver, stream.map(lambda puzzles, *_: puzzles), PRECISE_STEPS)
    with runs.replacing(run.folder / "heads" / f"{name}.npz") as temporary:
        np.savez(temporary, *solver.get_weights())


def load(run: "Run", name: str, inputs: Any = None) -> keras.Model:
    """See `Run.solver`."""
    task = {task.name: task for task in run.tasks()}.get(name)
    if task is None:
        raise UserError(f"the run in {run.folder} has no {name}, its tasks are: {run.settings['tasks']}")
    tasks, encoders = run.tasks(), run.random_encoders()
    path = run.folder / "heads" / f"{name}.npz"
    if not path.exists():  # it has not ended
        specs = {each.name: mixing.puzzle_spec(each, run.settings["size"])[0] for each in tasks}
        whole = make_model(tasks, encoders, (specs,))
        read_weights(whole, run.folder / "checkpoints")
        part = keras.Model({name: whole.input[name]}, {name: whole.output[name]})
        weights = part.get_weights()
    else:
        with np.load(path) as arrays:
            weights = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
    if inputs is None:
        spec = mixing.puzzle_spec(task, run.settings["size"])[0]
        # Of one task alone, Keras wants inputs of a dict to have the names of its keys.
        parts = {key: make_inputs(key, part) for key, part in spec.items()} if isinstance(spec, dict) else None
        inputs = parts or make_inputs(name, spec)
    solver = keras.Model(inputs, task.head(encoders, inputs), name=name)
    solver.set_weights(weights)
    return solver
