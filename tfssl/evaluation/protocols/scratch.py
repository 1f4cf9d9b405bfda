"""From scratch: what the labels give without any pretraining."""

import dataclasses
from typing import ClassVar

from tfssl.evaluation.protocols.finetune import Finetune


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scratch(Finetune):
    """All that `finetune` does, from random weights, whose batch norm learns with the statistics of batches.

    Of a run these are the weights that it began with.
    """

    name: ClassVar[str] = "scratch"
    title: ClassVar[str] = "training from scratch"
    random: ClassVar[bool] = True
