"""Fine-tuning: what a network is worth to who trains all of it on, on all labels or on few."""

import dataclasses
from typing import ClassVar

from tfssl.base.errors import UserError
from tfssl.evaluation.protocols.learner import Amount, check_few
from tfssl.evaluation.protocols.tuned import Tuned


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune(Tuned):
    """The whole network from the subject's weights. Beside it stands the same from random weights, which is `scratch`.

    Attributes:
      labels: so many of each class; fewer where a class has fewer.
      fraction: such a part of each class instead, above 0, at most 1, one picture at least.
      draws: how often these are drawn; where all labels are used there is one.
    """

    name: ClassVar[str] = "finetune"
    title: ClassVar[str] = "fine-tuning"
    labels: int | None = None
    fraction: float | None = None
    draws: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_few(self, self.fraction, {"labels": self.labels, "draws": self.draws})
        if self.labels is not None and self.fraction is not None:
            raise UserError(
                f"{self.name}: labels={self.labels} and fraction={self.fraction} are given; leave one of them out"
            )

    @property
    def amount(self) -> Amount:
        return self.labels, self.fraction

    @property
    def repeats(self) -> int:
        return self.draws
