"""The classes of an evaluation one by one: which of them features tell apart, and which not."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class PerClass:
    """Figures of each class, in the order of the classes, at the stage that is called best by the first protocol.

    Attributes:
      labels: training pictures of it.
      tested: test pictures of it.
      trained: the share of these that are named right, 0 .. 1; where pictures may have several labels the average
        precision. None where no test picture has it.
      random: the same of random weights, at their own best stage; () where these were not measured.
    """

    labels: tuple[int, ...]
    tested: tuple[int, ...]
    trained: tuple[float | None, ...]
    random: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, labels: Iterable[int], tested: Iterable[int], trained: Any, random: Any = None) -> Self:
        """Make it of numbers a class, int [classes], and of figures, float [classes] with NaN where there is none."""

        def shares(values: Any) -> tuple[float | None, ...]:
            return () if values is None else tuple(None if math.isnan(each) else float(each) for each in values)

        return cls(tuple(map(int, labels)), tuple(map(int, tested)), shares(trained), shares(random))

    @classmethod
    def from_json(cls, content: Mapping[str, Sequence[Any]]) -> Self:
        """Read what `plain` made of it."""
        return cls(**{name: tuple(values) for name, values in content.items()})
