"""`--init`: a run that begins with the weights of another, which may have had other tasks."""

from collections.abc import Sequence

import keras

from tfssl import mixing
from tfssl.checkpoints import read_weights
from tfssl.errors import UserError
from tfssl.model import make_model
from tfssl.runs import Run
from tfssl.task import PretextTask
from tfssl.trunks import Trunk


def take_over(parent: Run, model: keras.Model, tasks: Sequence[PretextTask], trunk: Trunk) -> str:
    """Gives a new model the weights of the parent's newest checkpoint: the trunk's, and those of heads that both have.

    Args:
      parent: a run that has saved.
      model: of all `tasks`; its heads' variables are found by their paths.
      trunk: the model's own.

    Returns:
      A sentence that says what was taken over and what was not.

    Raises:
      UserError: the trunks differ, or the parent has saved nothing.
    """
    known = parent.tasks()
    old_trunk = parent.random_trunk()
    specs = {task.name: mixing.puzzle_spec(task, parent.settings["size"])[0] for task in known}
    old = make_model(known, {"image": old_trunk}, (specs,))
    read_weights(old, parent.folder / "checkpoints")
    shapes, old_shapes = ([w.shape for w in each.body.weights] for each in (trunk, old_trunk))
    if shapes != old_shapes:
        raise UserError(
            f"--init {parent.folder} has the trunk {parent.settings['trunk']}, whose weights do not fit the one given;"
            " give the same --trunk"
        )
    trunk.body.set_weights(old_trunk.body.get_weights())
    values = {variable.path: variable for variable in _head_variables(old, old_trunk)}
    taken, new = [], []
    for variable in _head_variables(model, trunk):
        value = values.get(variable.path)
        if value is not None and value.shape == variable.shape:
            variable.assign(value.numpy())
            taken.append(variable.path)
        else:
            new.append(variable.path)
    left = sorted(set(values) - set(taken))
    said = [f"taken over from {parent.folder}: the trunk" + "".join(f", {name}" for name in _layers(taken))]
    said += [f"new: {', '.join(_layers(new))}"] if new else []
    said += [f"left behind: {', '.join(_layers(left))}"] if left else []
    return "; ".join(said)


def _head_variables(model: keras.Model, trunk: Trunk) -> list[keras.Variable]:
    shared = {id(variable) for variable in trunk.body.variables}
    return [variable for variable in model.weights if id(variable) not in shared]


def _layers(paths: Sequence[str]) -> list[str]:
    return sorted({path.rpartition("/")[0] for path in paths})
