"""What a trunk of one name is: a dataclass, whose fields are the settings in `resnet18(width=32)`."""

import abc
import dataclasses
from typing import Any, ClassVar, Self

import keras

from tfssl.base import specs
from tfssl.base.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family(abc.ABC):
    """Trunks of one name. All settings are numbers above 0.

    Attributes:
      name: (of the class) the name in `--trunk`.
      least_size: (of the class) pixels of a side of the smallest pictures.
    """

    name: ClassVar[str]
    least_size: ClassVar[int]

    def __post_init__(self) -> None:
        for key in specs.defaults(type(self)):
            if getattr(self, key) <= 0:
                raise UserError(f"trunk {self.name}: {key}={getattr(self, key)!r} is given, expected more than 0")

    @abc.abstractmethod
    def body(self, size: int) -> keras.Model:
        """Make the network without a classifier, with new weights: float [N, H, W, 3] -> float [N, h, w, C].

        Layers named stage1, stage2 and on are its stages.

        Args:
          size: pixels of a side of the pictures of the run.
        """

    @classmethod
    def from_text(cls, given: dict[str, Any]) -> Self:
        """Make a trunk of this name with the settings given. Raise UserError on an unknown or wrong one."""
        specs.check_settings(f"trunk {cls.name}", given, specs.defaults(cls))
        return cls(**given)
