"""What is learned from labels: classes, or something at places of the picture; all go through one way.

A `Target` says how its answers are read, learned, measured and kept. `choosing.choose` trains candidates, chooses and
measures the same for all; `candidates.learn` is one candidate.
"""

import abc
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.downstream.measures import Measure
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource

if TYPE_CHECKING:
    from tfssl.downstream.candidates import Candidate, Trained
    from tfssl.downstream.config import FinetuneSettings
    from tfssl.downstream.starts import Start


class Part(abc.ABC):
    """Pictures with answers.

    Attributes:
      source: the pictures.
      groups: int [N]: pictures of one number stay in one part.
    """

    source: AnySource
    groups: np.ndarray

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return self.source.count

    @abc.abstractmethod
    def subset(self, numbers: np.ndarray, name: str) -> Self:
        """Take the pictures of these numbers."""

    @abc.abstractmethod
    def divided(self, seed: int) -> tuple[Self, Self]:
        """Divide them 80/20, and never through a group."""

    @abc.abstractmethod
    def few(self, count: int | None, share: float | None, seed: int, draw: int) -> Self:
        """Draw the pictures that are used: see `data.few`."""

    @abc.abstractmethod
    def digest(self) -> bytes:
        """Tell whether pictures and answers are the same."""


class Sight(abc.ABC):
    """A part as the network sees it.

    Attributes:
      rows: int [M], which pictures these are: all but those that could not be decoded in the last pass.
    """

    rows: np.ndarray

    @abc.abstractmethod
    def measure(self, model: keras.Model) -> Measure:
        """Measure a network in test mode."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What validation chose.

    Attributes:
      name: of the candidate.
      step: after which it was best; 0 where nothing was trained.
      candidates: name -> score on the validation part.
      validation: that of the chosen one.
      train, val: pictures that were learned from, and chosen on.
      broken: how many of these cannot be decoded, and were left out.
    """

    name: str
    step: int
    candidates: dict[str, float]
    validation: float
    train: int
    val: int
    broken: int


class Head(abc.ABC):
    """A head that was learned on the frozen trunk: the first candidate, and where the others begin.

    Attributes:
      build: makes the network with that head.
      trained: how good it is on the validation part.
      broken: pictures to learn from and to choose on that cannot be decoded.
    """

    build: Callable[[], PretextModel]
    trained: "Trained"
    broken: int

    @abc.abstractmethod
    def again(self) -> Callable[[], PretextModel]:
        """Learn it from the validation part too, as validation chose, and return what makes the network with it."""


class Target(abc.ABC):
    """What is learned from labels. Settings only, no variables.

    Attributes:
      name: as of `--target`.
      frozen: the candidate that is the head alone.
      head_trainings: how many trainings the head alone takes; 0 in closed form.
    """

    name: ClassVar[str]
    frozen: ClassVar["Candidate"]
    head_trainings: ClassVar[int]

    @property
    @abc.abstractmethod
    def what(self) -> str:
        """What there is to find, in words: "14 joints"."""

    def on(self, start: "Start") -> Self:
        """Fill in what depends on the trunk and on the size. Raise UserError where these do not fit."""
        return self

    @abc.abstractmethod
    def batches(
        self,
        part: Any,
        size: int,
        batch_size: int,
        settings: "FinetuneSettings",
        start: int,
        broken: batches.BrokenPictures,
    ) -> tf.data.Dataset:
        """Make an endless stream of (pixels, answers, weights) to learn from, from step `start` on."""

    @abc.abstractmethod
    def answer_spec(self, model: PretextModel, rows: int) -> tf.TensorSpec:
        """Say what the answers of a batch are."""

    @abc.abstractmethod
    def loss(self, settings: "FinetuneSettings") -> tuple[keras.losses.Loss, list[keras.metrics.Metric]]:
        """Make the loss, and what else is logged."""

    @abc.abstractmethod
    def sight(self, part: Any, size: int) -> Sight:
        """Make a part that networks are measured on."""

    @abc.abstractmethod
    def head(self, job: "Job", settings: "FinetuneSettings", trunk: Trunk, test_mode: bool, val: Any) -> Head:
        """Learn the head on a frozen trunk; `val` is a `sight` of the validation part."""

    @abc.abstractmethod
    def settled(self, model: keras.Model, val: Any) -> Any:
        """Return what else is fitted to the validation part, before it is learned from."""

    @abc.abstractmethod
    def measured(self, job: "Job", test: Any, model: keras.Model, settled: Any, choice: Choice) -> Any:
        """Measure the network on the test part, a `sight`, and return the `Chosen` of this target."""

    @abc.abstractmethod
    def keep(self, job: "Job", chosen: Any, model: keras.Model, settled: Any) -> None:
        """Write what was measured, and the network where `job.kept`."""

    @abc.abstractmethod
    def read_chosen(self, job: "Job") -> Any:
        """Read what `keep` wrote."""

    @abc.abstractmethod
    def record(self) -> dict[str, Any]:
        """Return what finetune.json says of the answers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is learned from which weights and which labels.

    Attributes:
      folder: of its own.
      start: the weights.
      random: whether they are random ones, which learn with batch norm in training mode: their statistics are worth
        nothing yet.
      only_probe: whether the frozen probe is the only candidate.
      train, val, test: the parts.
      whole: what is learned from once validation has chosen: `train` and `val` where these were divided; else None.
      target: what is learned.
      kept: whether its network is written.
      listeners: what else hears of each step.
      heads: where a head that is learned by gradients stays, for another job of the same start and pictures that begins
        with it; None where it is the job's own, and removed at the end.
    """

    folder: Path
    start: "Start"
    random: bool
    only_probe: bool
    train: Any
    val: Any
    test: Any
    whole: Any
    target: Target
    kept: bool = True
    listeners: tuple[keras.callbacks.Callback, ...] = ()
    heads: Path | None = None
