"""What lies behind the projection heads of a run: left behind at export, and measured to show what they throw away."""

from collections.abc import Mapping

import keras

from tfssl.base.errors import UserError
from tfssl.runs.run import Run
from tfssl.tasks.parts.two_views import TwoViews


def projected_tasks(run: Run) -> dict[str, TwoViews]:
    """Return the tasks of a run that have a projection head, by the name of the stage that it is measured as.

    That is "projection" where there is one, else the task's name before it, as in "contrastive_projection".

    Raises:
      UserError: the run has none.
    """
    tasks = [task for task in run.tasks() if isinstance(task, TwoViews)]
    if not tasks:
        raise UserError(
            f"--projection is given, but the tasks of {run.folder} are {run.settings.tasks}: none has a projection"
            " head, as contrastive, redundancy and pirl have; leave it out"
        )
    return {"projection" if len(tasks) == 1 else f"{task.name}_projection": task for task in tasks}


def beside(stages: keras.Model, body: keras.KerasTensor, run: Run, tasks: Mapping[str, TwoViews]) -> keras.Model:
    """Add projections to a model of stages: each a map of one place, float [N, 1, 1, D].

    The weights are those of the run's end, and statistics of a hidden layer's batch norm are those of views.

    Args:
      stages: inputs -> {stage: map}.
      body: the end of the trunk's body, on the same inputs.
      run: it has ended.
      tasks: of `projected_tasks`.
    """
    pooled = keras.layers.GlobalAveragePooling2D(name="projection_pool")(body)
    outputs = dict(stages.output)
    for stage, task in tasks.items():
        made = task.projected(pooled)
        solver = run.solver(task.name)
        for layer in keras.Model(pooled, made).layers:
            if layer.weights:
                layer.set_weights(solver.get_layer(layer.name).get_weights())
        outputs[stage] = keras.layers.Reshape((1, 1, made.shape[1]), name=f"{stage}_place")(made)
    return keras.Model(stages.inputs, outputs)
