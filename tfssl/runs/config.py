"""The settings that decide on the weights of a run, as `pretrain` takes them and run.json keeps them."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tfssl.base.config import Count, Positive, Seed, Settings, Share, option, spelled

BATCH = 64
"""The batch, in source images, that a learning rate is given for."""
TASKS = "rotation, contrastive"
"""What pictures are asked where nothing is known of them. Rotation needs an up and a down, which photos have and
pictures from above have not; contrastive learning does not. docs/tasks.md has what it was chosen by."""
STEPS = 2000
"""Steps of a run where no epochs are given: ten minutes of two processor cores with the default trunk and tasks."""
RATES = {"sgd": 0.1, "adamw": 0.001, "lars": 0.6}
"""The learning rate of each optimizer where none is given. That of LARS is the 0.075 sqrt(batch) of SimCLR (Chen et al.
2020, arXiv 2002.05709, appendix B.1), that of AdamW is Keras's own."""
GROWTH = {"sgd": 1.0, "adamw": 0.5, "lars": 0.5}
"""The power of the batch that each learning rate grows by: in proportion for SGD (Goyal et al. 2017, arXiv 1706.02677);
by the square root for AdamW (Malladi et al. 2022, arXiv 2205.10287), whose step does not shrink with the noise of the
gradient, and for LARS, where SimCLR has it for small batches and short runs."""


def _tasks(given: Any) -> Any:
    return ", ".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given)


def _trunk(given: Any) -> Any:
    return (
        str(given)
        if isinstance(given, str | Path)
        else f"{getattr(given, 'name', type(given).__name__)} (a Keras model)"
    )


def _run(given: Any) -> Any:
    return None if given is None else str(getattr(given, "folder", given))


class Subject(Settings):
    """What is learned, by what, for how long."""

    tasks: Annotated[str, BeforeValidator(_tasks)] = option("Pretext tasks, commas between them.", TASKS)
    trunk: Annotated[str, BeforeValidator(_trunk)] = option(
        "The network, as 'resnet10(width=32)'; with weights as \"mobilenet_v3_small(weights='imagenet')\", or a .keras"
        " file.",
        "resnet10(width=16)",
    )
    size: Count | None = option("Side of the crops in pixels; 96, or 32 for small pictures, where not given.", None)
    epochs: Count | None = option(
        f"Passes over DATA, or of --steps-per-epoch steps; as many as make {STEPS:,} steps where not given.", None
    )
    steps_per_epoch: Count | None = option("Steps of an epoch; one pass over DATA where not given.", None)
    batch_size: Count = option("Source images in a step.", 64)
    seed: Seed = option("Weights, order, crops and puzzles follow from it.", 0)
    keep_every: Count | None = option("Epochs between copies of the trunk that are kept.", None)
    stop_when: Literal["flat"] | None = option(
        "flat: end where --watch has not risen for 5 looks; --schedule stays that of all --epochs.", None
    )


class Training(Settings):
    """How a run learns: what a study passes on to each of its runs."""

    sound_trunk: str = option("The network of tasks that listen.", "l3(width=64)")
    optimizer: Literal["sgd", "adamw", "lars"] = option("SGD with Nesterov momentum, AdamW, or LARS.", "sgd")
    learning_rate: Positive | Literal["auto"] | None = option(
        "Peak, for 64 images a step; grows with them. sgd: 0.1, adamw: 0.001, lars: 0.6; auto: a range test.", None
    )
    schedule: Literal["cosine", "step"] = option("How the learning rate falls.", "cosine")
    warm_up: Share = option("Part of the steps in which the learning rate rises.", 0.02)
    momentum: Annotated[float, Field(ge=0, lt=1)] = option("Nesterov's; plain of lars, beta_1 of adamw.", 0.9)
    weight_decay: Annotated[float, Field(ge=0)] = option(
        "L2, as in the papers; decoupled of adamw. Not on batch norm and biases.", 5e-4
    )
    clip_norm: Positive | None = option("Largest norm of the gradient of all weights; any where not given.", None)
    accumulate: Count = option("Steps whose gradients make one update.", 1)
    ema: Annotated[float, Field(ge=0, lt=1)] | None = option(
        "Momentum of a moving average of the weights, as 0.999, which is then the encoder.", None
    )
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

    @model_validator(mode="after")
    def _makes_whole_updates(self) -> Self:
        if self.accumulate > 1 and self.mixing == "alternate":
            raise ValueError(
                f"{spelled('accumulate', self.accumulate)} and {spelled('mixing', self.mixing)} are given: an update of"
                " several steps, and several updates a step; give one of them"
            )
        return self


class Pace(Settings):
    """How often a run writes down how it is."""

    log_every: Count = option("Steps that a line of metrics.jsonl is the mean of.", 20)
    checkpoint_every: Count = option("Steps between checkpoints.", 500)


class Recipe(Training, Subject):
    """What decides on the weights of a run, beside the data."""

    @property
    def peak(self) -> float:
        """The learning rate after warm-up, which grows with the pictures of an update: see `GROWTH`."""
        return self.rate * (self.batch_size * self.accumulate / BATCH) ** GROWTH[self.optimizer]

    @property
    def rate(self) -> float:
        """The learning rate for a batch of `BATCH`: the optimizer's own where none is given, or "auto"."""
        return self.learning_rate if isinstance(self.learning_rate, float) else RATES[self.optimizer]


class RunSettings(Recipe):
    """What run.json holds of the settings, with the stages of the trunk, and the weights that it began with.

    `start` is `trunks.opening.start_of` where these were not new.
    """

    size: Count = 96
    epochs: Count
    steps_per_epoch: Count
    stages: tuple[str, ...]
    start: dict[str, str] | None = None

    @property
    def steps(self) -> int:
        """Number of steps of all epochs."""
        return self.epochs * self.steps_per_epoch

    def as_json(self) -> dict[str, Any]:
        """Return what run.json holds: a setting that means nothing to the run, as the sound trunk where no task
        listens, is left out.
        """
        return self.model_dump(mode="json", exclude_unset=True)
