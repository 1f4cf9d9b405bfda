"""What an export serves of a task beside the encoder: its own network, as one signature.

The task says what its network answers; `tfssl.export.signatures.heads` decodes requests, refuses what is too large, and
marks the rows that cannot be answered.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import keras

from tfssl.models.trunks import Trunk


class Sized(Protocol):
    """Settings of a run."""

    @property
    def size(self) -> int:
        """Pixels of a side of its pictures."""


class Trained(Protocol):
    """What a task needs of a run to be served; `tfssl.runs.run.Run` is one."""

    @property
    def settings(self) -> Sized:
        """Settings that the run was trained with."""

    def solver(self, task: str, inputs: Any = None) -> keras.Model:
        """Return the trained network of a task, on Keras inputs of one's own where these are given."""

    def random_trunk(self, kind: str = "image") -> Trunk:
        """Return the trunk as it was before training."""


@dataclasses.dataclass(frozen=True)
class ServedNetwork:
    """A network of a task as an export serves it.

    Attributes:
      answer: (what the signature takes, decoded, one argument each) -> outputs by name, [N, ...] each. Pictures are
        uint8 [N, S, S, 3] of the run's size, waveforms float32 [N, samples]. Where `at_own_size`, one picture
        uint8 [H, W, 3] -> another, uint8 [H, W, 3], which is sent as a PNG.
      at_own_size: whether pictures are neither cropped nor scaled, and answered one by one.
    """

    answer: Callable[..., Any]
    at_own_size: bool = False


class Served(abc.ABC):
    """A task whose network an export serves.

    Attributes:
      signature: (of the class) name of the signature, which no other task has.
      takes: (of the class) names of its inputs: "image_bytes" for encoded pictures, "waveform" for windows of sound.
    """

    signature: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ("image_bytes",)

    @abc.abstractmethod
    def served(self, run: Trained) -> ServedNetwork | None:
        """Return the network of a run that was trained on this task.

        Return None where it serves nothing with these settings.
        """
