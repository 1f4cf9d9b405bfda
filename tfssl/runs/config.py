"""The settings that decide on the weights of a run, as `pretrain` takes them and run.json keeps them."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tfssl.base.config import Count, Positive, Seed, Settings, Share, option

BATCH = 64
"""The batch, in source images, that a learning rate is given for."""


def _tasks(given: Any) -> Any:
    return ", ".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given)


def _trunk(given: Any) -> Any:
    return given if isinstance(given, str) else f"{getattr(given, 'name', type(given).__name__)} (a Keras model)"


def _run(given: Any) -> Any:
    return None if given is None else str(getattr(given, "folder", given))


class Subject(Settings):
    """What is learned, by what, for how long."""

    tasks: Annotated[str, BeforeValidator(_tasks)] = option("Pretext tasks, commas between them.", "rotation")
    trunk: Annotated[str, BeforeValidator(_trunk)] = option("The network, as 'resnet10(width=32)'.", "resnet18")
    size: Count = option("Side of the crops in pixels.", 96)
    epochs: Count = option("Passes over DATA, or of --steps-per-epoch steps.", 20)
    steps_per_epoch: Count | None = option("Steps of an epoch; one pass over DATA where not given.", None)
    batch_size: Count = option("Source images in a step.", 64)
    seed: Seed = option("Weights, order, crops and puzzles follow from it.", 0)
    keep_every: Count | None = option("Epochs between copies of the trunk that are kept.", None)


class Training(Settings):
    """How a run learns: what a study passes on to each of its runs."""

    sound_trunk: str = option("The network of tasks that listen.", "l3(width=64)")
    learning_rate: Positive = option("Peak, for 64 images a step; scales with it.", 0.1)
    schedule: Literal["cosine", "step"] = option("How the learning rate falls.", "cosine")
    warm_up: Share = option("Part of the steps in which the learning rate rises.", 0.02)
    momentum: Annotated[float, Field(ge=0, lt=1)] = option("Nesterov momentum.", 0.9)
    weight_decay: Annotated[float, Field(ge=0)] = option("L2, as in the papers; not on batch norm and biases.", 5e-4)
    mixing: Literal["joint", "alternate"] = option("One update a step, or one a task.", "joint")
    balance: Literal["initial", "gradient", "none"] = option(
        "initial: losses of equal size at the start; gradient: their gradients on the trunk.", "initial"
    )
    mixed_precision: Literal["float16", "bfloat16"] | None = option("float32 where not given.", None)
    jit_compile: bool = option("Compile the step with XLA.", False)
    deterministic: bool = option("Bit-identical repeats and resumes; slower.", False)
    init: Annotated[str | None, BeforeValidator(_run)] = option(
        "A run whose weights to begin with; it may have had other tasks.", None
    )


class Pace(Settings):
    """How often a run writes down how it is."""

    log_every: Count = option("Steps that a line of metrics.jsonl is the mean of.", 20)
    checkpoint_every: Count = option("Steps between checkpoints.", 500)


class Recipe(Training, Subject):
    """What decides on the weights of a run, beside the data."""

    @property
    def peak(self) -> float:
        """The learning rate after warm-up: it grows in proportion to the batch (Goyal et al. 2017)."""
        return self.learning_rate * self.batch_size / BATCH


class RunSettings(Recipe):
    """What run.json holds of the settings, with the stages of the trunk."""

    steps_per_epoch: Count
    stages: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Number of steps of all epochs."""
        return self.epochs * self.steps_per_epoch

    def as_json(self) -> dict[str, Any]:
        """Return what run.json holds: a setting that means nothing to the run, as the sound trunk where no task
        listens, is left out.
        """
        return self.model_dump(mode="json", exclude_unset=True)
