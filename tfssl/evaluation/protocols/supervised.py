"""Supervised: what the same trunk learns from all labels and nothing else, given time."""

import dataclasses
from typing import ClassVar

from tfssl.evaluation.protocols.tuned import Tuned
from tfssl.runs.evaluation import ProtocolFacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervised(Tuned):
    """The trunk from random weights on all labels, for ten times as many steps as `scratch`; its title says how many.

    It is what pretraining without labels is held against. 10,000 steps of 64 are 13 epochs of 50,000 pictures: where
    data is large, more may still gain.
    """

    name: ClassVar[str] = "supervised"
    title: ClassVar[str] = "supervised training"
    random: ClassVar[bool] = True
    steps: int = 10_000

    @property
    def facts(self) -> ProtocolFacts:
        """What `evaluation.json` says of it."""
        facts = dataclasses.replace(self, steps=type(self).steps)
        title = super(Supervised, facts).facts.title.replace(self.title, f"{self.title}, {self.steps:,} steps", 1)
        return dataclasses.replace(super().facts, title=title, probe=title)
