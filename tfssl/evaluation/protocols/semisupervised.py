"""Semi-supervised: fine-tuned at a hundredth and at a tenth of the labels."""

import dataclasses
from typing import ClassVar, Self

from tfssl.evaluation.protocols.finetune import Finetune

FRACTIONS = (0.1, 0.01)
"""Parts of the labels where none is said: those of the field (arXiv 2002.05709). Most come first, as of `lowshot`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiSupervised(Finetune):
    """`finetune` at each of `FRACTIONS`, where neither `labels` nor `fraction` is given."""

    name: ClassVar[str] = "semisupervised"
    title: ClassVar[str] = "semi-supervised fine-tuning"

    def expanded(self) -> tuple[Self, ...]:
        if self.amount != (None, None):
            return (self,)
        return tuple(dataclasses.replace(self, fraction=share) for share in FRACTIONS)
