"""What protocols share in which a network learns: by the parts of `tfssl finetune`, whatever the answers are."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from tfssl.base.config import on_command_line
from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings, Learning, TargetName
from tfssl.downstream.target import Part, Target
from tfssl.evaluation.protocols.base import Measurement
from tfssl.runs.evaluation import ProtocolFacts

Amount = tuple[int | None, float | None]
"""Labels a class, or a share of all; neither where all are used."""


class Draw(NamedTuple):
    """Pictures with answers that one network learns from, and is measured on."""

    target: Target
    train: Part  # what candidates learn from
    val: Part  # what they are chosen on
    whole: Part | None  # both, which the chosen one learns from at last; None where DATA has a validation part
    test: Part

    @property
    def learned(self) -> Part:
        """What the chosen one learns from."""
        return self.train if self.whole is None else self.whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner(Measurement):
    """A network that learns from answers as `tfssl finetune` does it, with its defaults: see `downstream.finetune`.

    Learning rate, weight decay and the step to stop at are chosen on held-out pictures, the head on the frozen trunk
    being one of the candidates, and then what was held out is learned from too. A copy is trained; the subject stays as
    it is.

    Attributes:
      random: whether it begins from random weights, whatever the subject has learned.
      answers: what is learned, as of `finetune --target`.
      stage: where the trunk is cut; the last one where None.
      seed: of draws, order and crops.
      freeze, steps, batch_size, learning_rates, weight_decays, optimizer, stage_decay, warm_up, batch_norm, crop, flip,
        colour, ema: as of `finetune`.
    """

    pool: ClassVar[int | None] = None
    random: ClassVar[bool] = False
    answers: ClassVar[TargetName] = "classes"
    stage: str | None = None
    freeze: str | None = None
    steps: int = 1000
    batch_size: int = 64
    learning_rates: tuple[float, ...] = (0.0003, 0.001, 0.003)
    weight_decays: tuple[float, ...] = (0.01,)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    stage_decay: float = 1.0
    warm_up: float = 0.1
    batch_norm: Literal["train", "test"] | None = None
    crop: bool = True
    flip: bool = True
    colour: float = 0.0
    ema: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            with on_command_line(False):
                self.settings(Path(), 0.0)
        except UserError as problem:
            raise UserError(f"{self.name}: {problem}") from None

    @property
    def amount(self) -> Amount:
        """How many labels are used."""
        return None, None

    @property
    def repeats(self) -> int:
        """How often labels are drawn, where some are."""
        return 1

    @property
    def learning(self) -> dict[str, Any]:
        """What of `finetune`'s settings it sets that decide on the weights."""
        own = {field.name for field in dataclasses.fields(self)}
        return {name: getattr(self, name) for name in Learning.model_fields if name in own}

    @property
    def reading(self) -> dict[str, Any]:
        """What of `finetune`'s settings it sets that say how answers are read."""
        return {}

    def settings(self, folder: Path, max_broken: float) -> FinetuneSettings:
        """Return the settings of fine-tuning. Raise UserError where one is wrong."""
        rare = max(1, self.steps)  # it is measured ten times, which saves it too
        return FinetuneSettings(
            run=None,
            out=folder,
            target=self.answers,
            max_broken=max_broken,
            log_every=rare,
            checkpoint_every=rare,
            verbose=0,
            **self.reading,
            **self.learning,
        )

    @property
    def candidates(self) -> int:
        """How many networks are trained as a whole before one of them is chosen."""
        return len(self.learning_rates) * len(self.weight_decays)

    @property
    def facts(self) -> ProtocolFacts:
        """What `evaluation.json` says of it."""
        return dataclasses.replace(super().facts, frozen=False)


def check_few(protocol: Learner, fraction: float | None, counts: dict[str, Any]) -> None:
    """Raise UserError where a part is none, or counts that are given, by name, are no whole numbers of 1 or more."""
    for name, value in counts.items():
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise UserError(f"{protocol.name}: {name}={value!r} is given, expected a whole number of 1 or more")
    if fraction is not None and not (isinstance(fraction, (int, float)) and 0 < fraction <= 1):
        raise UserError(f"{protocol.name}: fraction={fraction!r} is given, expected a number above 0, at most 1")
