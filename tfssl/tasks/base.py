"""What a pretext task is: one object that makes the labels, the head, the loss and the metrics.

What only some tasks have is in `tfssl.tasks.parts`: an answer that is a choice (`classification.ChoiceTask`), a puzzle
that can be put right (`undoing.Undoable`), an opponent (`adversarial.AdversarialTask`), a signature in an export
(`served.Served`).
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretextTask(abc.ABC):
    """A puzzle whose answer comes free with the data. Settings only: no variables.

    Attributes:
      weight: the weight of this task's loss in the sum over tasks.
      batch: how many source pictures of a step it takes, the first rows; 0 for all, and at most all.
      name: (of the class) the name in `--tasks` and in the metrics.
      reads: (of the class) what an example of the source must hold.
      reflects: (of the class) whether small pictures may get a reflected border. One task of a run that says no
        decides for all, as they share the decoded batch: a mirrored edge tells where a patch lay.
      least_batch: (of the class) how many source pictures a step must have for anything to be learned.
    """

    weight: float = 1.0
    batch: int = 0
    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("image",)
    reflects: ClassVar[bool] = True
    least_batch: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"{self.name}: weight={self.weight} is given, expected 0 or more")
        if self.batch < 0:
            raise UserError(f"{self.name}: batch={self.batch} is given, expected 0 (all) or a count of source pictures")

    def prepared(self, source: "AnySource") -> Self:
        """Return the task with what it learns from the source once (colour statistics, say) filled in.

        Fields for that are made by `learned_field`; they are kept with the run and are no settings.
        """
        del source
        return self

    def on(self, source: "AnySource") -> Self:
        """Return a prepared task as it reads this source, which need not be that of its run: see `word2vec`."""
        del source
        return self

    def for_shapes(self) -> Self:
        """Return a task whose puzzles are of the same shapes, and that needs no source."""
        return self

    def learned(self) -> dict[str, Any]:
        """Return what `prepared` filled in, as JSON can hold it; arrays within dicts are kept beside the JSON."""
        return {name: getattr(self, name) for name in specs.learned_fields(type(self))}

    def with_learned(self, values: Mapping[str, Any]) -> Self:
        """Return the task prepared as it was: invert `learned`."""
        as_tuples = {name: _tuples(values[name]) for name in specs.learned_fields(type(self)) if name in values}
        return dataclasses.replace(self, **as_tuples)

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        """Say what the user should know of this task at crops of `size` pixels: sentences, as 'tiles are 8 px: ...'.

        With `source`, what is to be known of the task on this data too.
        """
        del size, source
        return []

    def chance_accuracy(self, batch_size: int) -> float | None:
        """Return the accuracy of guessing where a step has `batch_size` source pictures, None where there is none."""
        del batch_size
        return None

    @abc.abstractmethod
    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        """Make puzzles of a batch, in the graph.

        Args:
          batch: {"image": uint8 [B, S, S, 3]}, of clips with "clip", of text in its place {"words": int32 [B, P]}.
          seed: int32 [2], the only source of randomness. Split it for each draw.

        Returns:
          (puzzle, answer, weight), whose leading dimension is a static multiple of B; rows of one picture lie side
          by side. weight is float32 and broadcasts against the loss; 0 leaves a row out.
        """

    @abc.abstractmethod
    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        """Return the answer as the network gives it, from the shared encoders and the puzzle's Keras inputs."""

    @abc.abstractmethod
    def make_loss(self) -> keras.losses.Loss:
        """Make the loss of `head` against the answer; averaged over rows, never over weights."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """Make metrics in the field's terms, with short names ("accuracy"); of the kind of `keras.metrics.Mean`, whose
        variables are sums: the log subtracts them.
        """

    @abc.abstractmethod
    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        """Draw up to `count` source pictures' puzzles with their answers and, where given, the network's."""

    @classmethod
    def from_text(cls, given: dict[str, Any]) -> Self:
        """Make a task of this class with the settings given. Raise UserError on an unknown or wrong one."""
        specs.check_settings(cls.name, given, specs.defaults(cls))
        return cls(**given)

    def __str__(self) -> str:
        """Return the text that makes this task again: settings that are not the default."""
        known = specs.defaults(type(self))
        mine = {key: getattr(self, key) for key in known}
        return specs.format_call(self.name, {k: v for k, v in mine.items() if v != known[k]})


def learned_field() -> Any:
    """Make a field that `prepared` fills in: nested tuples of numbers, () as long as it is not known."""
    return dataclasses.field(default=(), repr=False, metadata={"learned": True})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
