"""`--init`: a run that begins with the weights of another, which may have had other tasks."""

from collections.abc import Sequence

import keras

from tfssl.base.errors import UserError
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import make_model
from tfssl.runs.checkpoints import read_weights
from tfssl.runs.run import Run
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.tasks.parts import classification
from tfssl.training.config import PretrainSettings


def check_one_start(settings: PretrainSettings, start: dict[str, str] | None, parent: Run | None) -> None:
    """Raise UserError where a trunk with weights and `--init` would both say what to begin with.

    A parent that began with weights is continued by the trunk that it was given: what that does to pixels first belongs
    to it. Its own weights then take the place of those.

    Args:
      start: of the trunk that is given: see `trunks.opening.start_of`.
      parent: the run of `--init`.
    """
    if parent is None or settings.trunk == parent.settings.trunk:
        return
    if "sha256" in (parent.settings.start or {}):
        raise UserError(
            f"--init {parent.folder} began as --trunk {parent.settings.trunk}, and {settings.trunk} is given; give that"
            " trunk, or no --init"
        )
    if "sha256" in (start or {}):  # a Keras model may have weights that mean nothing
        raise UserError(
            f"--trunk {settings.trunk} and --init {parent.folder} are given, and both say which weights to begin with;"
            " give one of them"
        )


def take_over(parent: Run, model: keras.Model, tasks: Sequence[PretextTask], encoders: Encoders) -> str:
    """Give a new model the weights of the parent's newest checkpoint: of encoders and of heads that both have.

    Args:
      parent: a run that has saved.
      model: the model of all `tasks`; its heads' variables are found by their paths.
      encoders: the model's own.

    Returns:
      A sentence that says what was taken over and what was not.

    Raises:
      UserError: the trunks differ, or the parent has saved nothing.
    """
    known, old_encoders = parent.tasks(), parent.random_encoders()
    specs = {task.name: puzzle_stream.puzzle_spec(task, parent.settings.size)[0] for task in known}
    old = make_model(known, old_encoders, (specs,))
    read_weights(old, parent.folder / "checkpoints", parent.settings.ema is not None)
    if parent.format < 2:
        classification.unscale(old)
    both = [kind for kind in encoders if kind in old_encoders]
    for kind in both:
        shapes, old_shapes = ([w.shape for w in each[kind].body.weights] for each in (encoders, old_encoders))
        if shapes != old_shapes:
            trunk = parent.settings.trunk if kind == "image" else parent.settings.sound_trunk
            option = "--trunk" if kind == "image" else "--sound-trunk"
            raise UserError(
                f"--init {parent.folder} has the trunk {trunk}, whose weights do not fit the one given;"
                f" give the same {option}"
            )
        encoders[kind].body.set_weights(old_encoders[kind].body.get_weights())
    values = {variable.path: variable for variable in _head_variables(old, old_encoders)}
    taken, new = [], []
    for variable in _head_variables(model, encoders):
        value = values.get(variable.path)
        if value is not None and value.shape == variable.shape:
            variable.assign(value.numpy())
            taken.append(variable.path)
        else:
            new.append(variable.path)
    left = sorted(set(values) - set(taken))
    trunks = "the trunk" if both == ["image"] else "the trunks of image and sound"
    said = [f"taken over from {parent.folder}: {trunks}" + "".join(f", {name}" for name in _layers(taken))]
    said += [f"new: {', '.join(_layers(new))}"] if new else []
    said += [f"left behind: {', '.join(_layers(left))}"] if left else []
    return "; ".join(said)


def _head_variables(model: keras.Model, encoders: Encoders) -> list[keras.Variable]:
    shared = {id(variable) for each in encoders.values() for variable in each.body.variables}
    return [variable for variable in model.weights if id(variable) not in shared]


def _layers(paths: Sequence[str]) -> list[str]:
    return sorted({path.rpartition("/")[0] for path in paths})
