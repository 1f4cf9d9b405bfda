"""What stands beside the subject of an evaluation: another frozen network, measured alike on the same pictures."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfssl.runs.evaluation import Scores


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far the chosen stage of the subject is ahead of the chosen one of a rival, in shares of pictures, -1..1.

    With the paired 95 % interval over the same test pictures, or over the same draws of the labels where there were
    several; below 0 the subject is behind.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Say it in points: "9.1 points behind (7.0 to 11.2)"."""
        return self.said()

    def said(self, unit: str = "points", factor: float = 100) -> str:
        """Say it in another unit, of which this is so many times one."""
        sign, word = (-1, "behind") if self.mean < 0 else (1, "ahead")
        low, high = sorted((factor * sign * self.low, factor * sign * self.high))
        points = f"{factor * abs(self.mean):.1f} {unit} {word}" if self.mean else "level"
        said = f"{points} ({low:.1f} to {high:.1f})"
        return said if self.low > 0 or self.high < 0 else f"{said}, within the uncertainty"


@dataclasses.dataclass(frozen=True)
class Rival:
    """Another frozen network.

    Attributes:
      name: in words: a run's folder, a file, "mobilenet_v3_small(weights='imagenet')".
      scores: protocol -> stage -> its score; protocols that cannot be asked of it are not there.
      ahead: protocol -> how far the subject is ahead of it, of the protocols that were asked of both.
    """

    name: str
    scores: "Scores"
    ahead: Mapping[str, Difference]
