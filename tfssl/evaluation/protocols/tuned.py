"""What protocols share that train a network as a whole: by the parts of `tfssl finetune`, on the data of `evaluate`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from tfssl.base.config import on_command_line
from tfssl.base.errors import UserError
from tfssl.downstream.classes import Chosen
from tfssl.downstream.config import FinetuneSettings, Learning
from tfssl.downstream.data import Labelled, few
from tfssl.evaluation.data import Data
from tfssl.evaluation.protocols.base import Measurement
from tfssl.evaluation.scoring import over_draws, score_of
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.evaluation import ProtocolFacts, Score

Amount = tuple[int | None, float | None]
"""Labels a class, or a share of all; neither where all are used."""


class Draw(NamedTuple):
    """Labelled pictures that one network learns from."""

    train: Labelled  # what candidates learn from
    val: Labelled  # what they are chosen on
    whole: Labelled | None  # both, which the chosen one learns from at last; None where DATA has a validation part

    @property
    def learned(self) -> Labelled:
        """What the chosen one learns from."""
        return self.train if self.whole is None else self.whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned(Measurement):
    """A network that is trained as a whole: the head in closed form first, then all of it.

    As `tfssl finetune` does it, with its defaults: see `downstream.finetune`. Learning rate, weight decay and the step
    to stop at are chosen on held-out pictures, the frozen probe being one of the candidates, and then what was held out
    is learned from too. Without a validation part it is a fifth of the labels that are used: who has no more has no
    others to choose by. Of all labels it is the part that other protocols hold out; where these are few and others hold
    out each fifth in turn, it is one, as five times the networks would be trained. A copy is trained; the subject stays
    as it is.

    Attributes:
      random: whether it begins from random weights, whatever the subject has learned.
      stage: where the trunk is cut; the last one where None.
      seed: of draws, order and crops.
      freeze, steps, batch_size, learning_rates, weight_decays, optimizer, stage_decay, warm_up, batch_norm, crop, flip,
        colour, mixup, label_smoothing, class_weights, ema: as of `finetune`.
    """

    pool: ClassVar[int | None] = None
    random: ClassVar[bool] = False
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
    mixup: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False
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
        """What of `finetune`'s settings it sets."""
        own = {field.name for field in dataclasses.fields(self)}
        return {name: getattr(self, name) for name in Learning.model_fields if name in own}

    def settings(self, folder: Path, max_broken: float) -> FinetuneSettings:
        """Return the settings of fine-tuning. Raise UserError where one is wrong."""
        rare = max(1, self.steps)  # it is measured ten times, which saves it too
        return FinetuneSettings(
            run=None,
            out=folder,
            max_broken=max_broken,
            log_every=rare,
            checkpoint_every=rare,
            verbose=0,
            **self.learning,
        )

    def draws_of(self, data: Data) -> list[Draw]:
        """Return what is learned from, once a draw of labels; one draw where all of them are used."""
        train = labelled(data.train)
        draws: list[Draw] = []
        for draw in range(self.repeats):
            used = few(train, *self.amount, self.seed, draw)
            if data.val is not None:
                draws.append(Draw(used, labelled(data.val), None))
            else:
                draws.append(Draw(*used.divided(data.seed), used))
            if used.count == train.count:
                break
        return draws

    def lack(self, data: Data) -> str:
        """Say in words what training lacks for this protocol; '' where nothing."""
        count, _ = self.amount
        largest = int(np.bincount(labelled(data.train).labels).max())
        if count is not None and count > largest:
            return f"the largest class has {largest} training pictures, and {self} draws {count} of each"
        if not all(draw.val.count for draw in self.draws_of(data)):
            return f"no class gives {self} two pictures, one of which could be held out to choose by"
        return ""

    def trainings(self, draw: Draw) -> int:
        """Return how many networks are trained of a draw: the candidates, and the chosen one once more."""
        return len(self.learning_rates) * len(self.weight_decays) + (draw.whole is not None)

    def score(self, found: Sequence[Chosen], draws: Sequence[Draw]) -> Score:
        """Return the figures of what came of each draw; of several the mean, and its interval over them."""
        scores = []
        for each, draw in zip(found, draws, strict=True):
            counts = draw.learned.targets.sum(0).astype(int)
            scores.append(score_of(each.shares, each.targets.argmax(1), counts, each.validation))
        return over_draws(scores, float(np.mean([each.validation for each in found])))

    @property
    def facts(self) -> ProtocolFacts:
        """What `evaluation.json` says of it."""
        return dataclasses.replace(super().facts, frozen=False)


def labelled(source: AnySource) -> Labelled:
    """Return pictures with their labels; without those whose class training lacks, which are no help in choosing."""
    labels = np.asarray(source.labels)
    if (labels < 0).any():
        known = np.flatnonzero(labels >= 0)
        source, labels = source.subset(known, source.name), labels[known]
    return Labelled(source, np.eye(len(source.classes), dtype=np.float32)[labels], np.asarray(source.groups))
