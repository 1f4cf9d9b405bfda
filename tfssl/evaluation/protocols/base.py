"""What an evaluation protocol is: it learns from labelled rows of features, and scores others."""

import abc
import dataclasses
from typing import Any, ClassVar, Self

import numpy as np

from tfssl.runs.evaluation import ProtocolFacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(abc.ABC):
    """A way to measure frozen features. Settings only: what it learns lives as long as a call of `scores`.

    A setting that is called as an argument of `evaluate` (seed, neighbours, epochs, learning_rate) gets that argument.

    Attributes:
      name: as it is asked for, and as it stands in `evaluation.json`.
      title: as people read it in tables and figures.
      probe: the title where the places that it reads are said beside it; the same where empty.
      pool: to how many places a side the map of a stage is averaged, as `export --pool` does it; stages with fewer
        are left out. None for the grid that `evaluate` chooses for each stage.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    probe: ClassVar[str] = ""
    pool: ClassVar[int | None] = 1

    @abc.abstractmethod
    def scores(self, train: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
        """Learn from labelled rows and score others.

        Args:
          train: float16 or float32 [N, D].
          labels: int32 [N], 0 .. classes - 1.
          test: float16 or float32 [M, D].
          classes: how many classes.

        Returns:
          float32 [M, classes]; the class with the largest one is the answer.
        """

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Make the protocol with those of some settings that it has."""
        own = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in settings.items() if name in own})

    @classmethod
    def facts(cls) -> ProtocolFacts:
        """Return what `evaluation.json` says of it."""
        return ProtocolFacts(cls.title, cls.probe or cls.title, cls.pool)

    @property
    def way(self) -> tuple[Any, ...]:
        """Equal for protocols that score the same rows alike: of the same `scores`, with the same settings."""
        return type(self).scores, *dataclasses.astuple(self)
