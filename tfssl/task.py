"""What a pretext task is: one object that makes the labels, the head, the loss and the metrics."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import tensorflow as tf

from tfssl import settings
from tfssl.trunks import Trunk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources import Source

Batch = Mapping[str, tf.Tensor]
Encoders = Mapping[str, Trunk]
Puzzle = tuple[Any, tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretextTask(abc.ABC):
    """A puzzle whose answer comes free with the data. Settings only: no variables.

    Attributes:
      weight: what this task's loss counts in the sum over tasks.
      name: (of the class) the name in `--tasks` and in the metrics.
      reads: (of the class) what an example of the source must hold.
    """

    weight: float = 1.0
    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("image",)

    def prepared(self, source: "Source") -> Self:
        """The task with what it learns from the source once (colour statistics, say) filled in."""
        del source
        return self

    @abc.abstractmethod
    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        """Makes puzzles of a batch, in the graph.

        Args:
          batch: {"image": uint8 [B, S, S, 3]}.
          seed: int32 [2], the only source of randomness. Split it for each draw.

        Returns:
          (puzzle, answer, weight), whose leading dimension is a static multiple of B; rows of one picture lie side
          by side. weight is float32 and broadcasts against the loss; 0 leaves a row out.
        """

    @abc.abstractmethod
    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        """The answer as the network gives it, from the shared encoders and the puzzle's Keras inputs."""

    @abc.abstractmethod
    def loss(self) -> keras.losses.Loss:
        """The loss of `head` against the answer; averaged over rows, never over weights."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """Metrics in the field's terms, with short names ("accuracy")."""

    @abc.abstractmethod
    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        """Draws up to `count` source pictures' puzzles with their answers and, where given, the network's."""

    @classmethod
    def from_text(cls, given: dict[str, Any]) -> Self:
        """A task of this class with the settings given. Raises UserError on an unknown or wrong one."""
        settings.check_settings(cls.name, given, settings.defaults(cls))
        return cls(**given)

    def __str__(self) -> str:
        """The text that makes this task again: settings that are not the default."""
        known = settings.defaults(type(self))
        mine = {key: getattr(self, key) for key in known}
        return settings.format_call(self.name, {k: v for k, v in mine.items() if v != known[k]})
