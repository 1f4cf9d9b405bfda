"""What a source is: data that is read by number, whatever it is made of."""

import abc
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError

CropReader = Callable[[tf.Tensor, tf.Tensor], tuple[dict[str, tf.Tensor], tf.Tensor]]
"""(index int64 [B], seed int32 [2]) -> the parts of a batch by name, "image" uint8 [B, S, S, 3] among them where there
are pictures, and which rows can be read, bool [B]; of others the picture is black."""
PictureReader = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""index int64 [B] -> uint8 [B, S, S, 3] and bool [B], as of `CropReader`."""
SoundReader = Callable[[tf.Tensor], tf.Tensor]
"""index int64 [B] -> float32 [B, samples], -1..1."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AnySource(abc.ABC):
    """Items by number: pictures, clips, passages of text.

    Who reads a source asks it what it has, and not of which class it is. Readers work in the graph.

    Attributes:
      name: what the user called it.
      paths: name of each item.
      labels: int32 [N], index into `classes`, -1 unknown; None without any.
      classes: names of the classes, () without labels.
      broken: what was left out: name -> what is wrong.
      listed: how many there were, broken ones included.
      fingerprint: hash that tells whether the data is still the same.
      contents: [N], hash of each item: the same of equal ones, whatever their names.
      frame_counts: int32 [N], how many pictures each has: 1 of a picture.
      seconds: float32 [N], how long each lasts.
      has_sound: bool [N].
      frame_rate: frames a second, as made; 0 where nothing moves.
      sound_rate: hertz; 0 where nothing has sound.
      encoded: the items as bytes, where they are held in memory; None where they are read from files.
    """

    name: str
    paths: list[str]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    broken: dict[str, str]
    listed: int
    fingerprint: str
    contents: np.ndarray
    frame_counts: np.ndarray
    seconds: np.ndarray
    has_sound: np.ndarray
    frame_rate: float = 0.0
    sound_rate: int = 0
    encoded: list[bytes] | None = None

    items: ClassVar[str]
    """What the items are called: "pictures"."""
    unit: ClassVar[str]
    """What is never divided between training and test, called by its name: "picture"."""
    moving: ClassVar[bool]
    """Whether items have frames to choose from."""
    may_break: ClassVar[bool]
    """Whether items may turn out broken when they are decoded; not where all was decoded once before."""
    shuffled: ClassVar[bool] = True
    """Whether training takes items in another order each epoch; else one after the other, as text is read."""
    measure: ClassVar[str] = "images"
    """What is counted where speed is said."""
    per_item: ClassVar[tuple[str, ...]] = (
        "paths",
        "labels",
        "contents",
        "frame_counts",
        "seconds",
        "has_sound",
        "encoded",
    )
    """Names of the attributes that have a value for each item; None where there is none."""

    @property
    def count(self) -> int:
        """How many items can be read."""
        return len(self.paths)

    @property
    def measures_per_item(self) -> float:
        """How many of what `measure` names are in an item, in the mean."""
        return 1.0

    @property
    @abc.abstractmethod
    def groups(self) -> np.ndarray:
        """int [N]: items of one number are of one unit, and must not be divided."""

    @property
    @abc.abstractmethod
    def holds(self) -> tuple[str, ...]:
        """What tasks may read of it: "image", "clip", "sound", "words"."""

    def subset(self, numbers: np.ndarray, name: str) -> Self:
        """Make a source of its own of the items of these numbers."""

        def chosen(values: Any) -> Any:
            if values is None:
                return None
            return values[numbers] if isinstance(values, np.ndarray) else [values[i] for i in numbers]

        digest = hashlib.sha256(self.fingerprint.encode() + np.asarray(numbers, np.int64).tobytes()).hexdigest()
        parts = {key: chosen(getattr(self, key)) for key in self.per_item}
        return dataclasses.replace(self, name=name, fingerprint=digest, **parts)

    @abc.abstractmethod
    def reader(self) -> Any:
        """Make what reads items as they are encoded: each class has a reader of its own."""

    @abc.abstractmethod
    def crop_reader(self, size: int, memory: int, reflect: bool, verbose: int) -> CropReader:
        """Make what reads random crops for training.

        Args:
          size: side of the crops, pixels.
          memory: bytes that decoded pictures may take: see `tfssl.pipelines.decoding.cache`.
          reflect: whether small pictures get a reflected border: see `tfssl.pipelines.decoding.random_crops`.
          verbose: 0 to say nothing while pictures are decoded into memory.
        """

    @abc.abstractmethod
    def picture_reader(self, size: int, at: float) -> PictureReader:
        """Make what reads whole pictures, as evaluation and serving see them.

        Args:
          size: side of the squares, pixels.
          at: which frame, where there are several, from 0 (the first) to below 1.
        """

    def sound_reader(self, samples: int) -> SoundReader:
        """Make what reads the window of so many samples in the middle of the sound of items that have sound.

        Raises:
          UserError: there is no sound in it.
        """
        raise UserError(f"{self.name} has no sound; expected clips that have")

    @abc.abstractmethod
    def encoded_pictures(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read a picture of each of these items that has one, as encoded bytes: of a clip the frame in the middle."""
