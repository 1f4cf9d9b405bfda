"""What a pretext task is: one object that makes the labels, the head, the loss and the metrics."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base import specs
from tfssl.base.errors import UserError
from tfssl.models.trunks import Trunk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

Batch = Mapping[str, tf.Tensor]
Encoders = Mapping[str, Trunk]
Puzzle = tuple[Any, tf.Tensor, tf.Tensor]


class Pieces(NamedTuple):
    """A puzzle put right: parts of the source pictures, and where in them each must lie.

    Attributes:
      pixels: uint8 [B, n, h, w, 3].
      boxes: int [n, 4], the (top, left, height, width) in pixels of the upright crop inside of which each part lies,
        in every picture or in every part of its mirror image.
    """

    pixels: np.ndarray
    boxes: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretextTask(abc.ABC):
    """A puzzle whose answer comes free with the data. Settings only: no variables.

    Attributes:
      weight: what this task's loss counts in the sum over tasks.
      batch: how many source pictures of a step it takes, the first rows; 0 for all, and at most all.
      name: (of the class) the name in `--tasks` and in the metrics.
      reads: (of the class) what an example of the source must hold.
      reflects: (of the class) whether small pictures may get a reflected border. One task of a run that says no
        decides for all, as they share the decoded batch: a mirrored edge tells where a patch lay.
    """

    weight: float = 1.0
    batch: int = 0
    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("image",)
    reflects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"{self.name}: weight={self.weight} is given, expected 0 or more")
        if self.batch < 0:
            raise UserError(f"{self.name}: batch={self.batch} is given, expected 0 (all) or a count of source pictures")

    def prepared(self, source: "AnySource") -> Self:
        """The task with what it learns from the source once (colour statistics, say) filled in.

        Fields for that are made by `learned_field`; they are kept with the run and are no settings.
        """
        del source
        return self

    def learned(self) -> dict[str, Any]:
        """What `prepared` filled in, as JSON can hold it."""
        return {name: getattr(self, name) for name in specs.learned_fields(type(self))}

    def with_learned(self, values: Mapping[str, Any]) -> Self:
        """The task prepared as it was: the inverse of `learned`."""
        as_tuples = {name: _tuples(values[name]) for name in specs.learned_fields(type(self)) if name in values}
        return dataclasses.replace(self, **as_tuples)

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        """What the user should know of this task at crops of `size` pixels: sentences, as 'tiles are 8 px: ...'.

        With `source`, what is to be known of the task on this data too.
        """
        del size, source
        return []

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
    def make_loss(self) -> keras.losses.Loss:
        """The loss of `head` against the answer; averaged over rows, never over weights."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """Metrics in the field's terms, with short names ("accuracy"); of the kind of `keras.metrics.Mean`, whose
        variables are sums: the log subtracts them.
        """

    def opponent(self, encoders: Encoders) -> keras.Model | None:
        """A discriminator that is trained against the head: [N, h, w, c] of `contest` -> logit that it is real [N, 1].

        Its layers' names begin with the task's name. None where the task has none.
        """
        del encoders
        return None

    def contest(self, puzzle: Any, answer: tf.Tensor, prediction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What the opponent sees, [N, h, w, c] each: (real, from the answer; made, from the head's prediction)."""
        raise NotImplementedError(f"{self.name} has no opponent")

    @property
    def opponent_weight(self) -> float:
        """What deceiving the opponent counts beside the loss, which counts one minus that."""
        return 0.0

    @property
    def choices(self) -> int | None:
        """How many answers there are, one of which is right; None where the answer is no choice."""
        return None

    @property
    def shares(self) -> tuple[float, ...]:
        """How often each of the `choices` is the right one, by design: alike, unless a task says otherwise."""
        return (1 / self.choices,) * self.choices if self.choices else ()

    def questions(self, puzzle: Any, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The choices that the head makes, one by one, for `audit`.

        Returns:
          uint8 [Q, n, h, w, 3], the n parts that one choice is made from; int [Q], the right ones.
        """
        return (puzzle if puzzle.ndim == 5 else puzzle[:, None]), answer

    def undone(self, puzzle: Any, answer: Any) -> Pieces | None:
        """The puzzle (as numpy arrays) put right by its answer, for `audit`; None where that cannot be done."""
        del puzzle, answer
        return None

    @abc.abstractmethod
    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        """Draws up to `count` source pictures' puzzles with their answers and, where given, the network's."""

    @classmethod
    def from_text(cls, given: dict[str, Any]) -> Self:
        """A task of this class with the settings given. Raises UserError on an unknown or wrong one."""
        specs.check_settings(cls.name, given, specs.defaults(cls))
        return cls(**given)

    def __str__(self) -> str:
        """The text that makes this task again: settings that are not the default."""
        known = specs.defaults(type(self))
        mine = {key: getattr(self, key) for key in known}
        return specs.format_call(self.name, {k: v for k, v in mine.items() if v != known[k]})


def learned_field() -> Any:
    """A field of a task that `prepared` fills in: nested tuples of numbers, () as long as it is not known."""
    return dataclasses.field(default=(), repr=False, metadata={"learned": True})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
