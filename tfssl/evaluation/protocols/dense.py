"""What an encoder knows of places in the picture: one protocol for each dense target of `tfssl finetune`."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.dense import TARGETS
from tfssl.downstream.dense.base import DenseTarget
from tfssl.downstream.dense.data import DenseParts, open_dense
from tfssl.evaluation.protocols.learner import Amount, Draw, Learner, check_few


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenseProtocol(Learner):
    """The one head of dense targets, on the frozen trunk and then with all of the network: see `downstream.dense`.

    Beside both stands the same from random weights: the head on random features, and training from scratch. DATA are
    read as `finetune --target` reads them, and need no classes.

    Attributes:
      target: what is learned.
      labels: the file with the joints, for key points; joints.json in DATA where None.
      groups, by_time, intrinsics: as of `finetune`.
      tune: whether all of the network is trained, too, and not the head alone.
      fraction: such a part of the pictures to learn from, above 0, at most 1.
      draws: how often these are drawn; where all are used there is one.
    """

    target: ClassVar[type[DenseTarget]]
    labels: str | None = None
    groups: str | None = None
    by_time: bool = False
    intrinsics: tuple[float, ...] = ()
    tune: bool = True
    fraction: float | None = None
    draws: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_few(self, self.fraction, {"draws": self.draws})

    @property
    def amount(self) -> Amount:
        return None, self.fraction

    @property
    def repeats(self) -> int:
        return self.draws if self.fraction is not None else 1

    @property
    def reading(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("labels", "groups", "by_time", "intrinsics")}

    def open(self, data: Any, split_seed: int, max_broken: float) -> DenseParts:
        """Open pictures with answers, and divide off a test part by `split_seed` where there is none.

        Raises:
          UserError: data without such answers, or answers that do not fit.
        """
        settings = self.settings(Path(), max_broken).model_copy(update={"seed": split_seed})
        try:
            return open_dense(self.target, data, settings)
        except UserError as problem:
            said = str(problem)
            for name in self.reading:
                if (option := f"--{name.replace('_', '-')}") in said:
                    said += f" (here {option} is {self.name}({name}=...))"
            raise UserError(said) from problem

    def draws_of(self, parts: DenseParts, split_seed: int) -> list[Draw]:
        """Return what is learned from, once a draw of the pictures.

        Raises:
          UserError: too few pictures to choose on some.
        """
        draws: list[Draw] = []
        for draw in range(self.repeats):
            used = parts.train.few(*self.amount, self.seed, draw)
            train, val = (used, parts.val) if parts.val is not None else used.divided(split_seed)
            if not train.count or not val.count:
                raise UserError(
                    f"{used.source.name}: {self} learns from {counted(used.count, 'picture')}, too few to hold one"
                    " out to choose by; give more, or DATA a folder val/"
                )
            draws.append(Draw(parts.target, train, val, used if parts.val is None else None, parts.test))
            if used.count == parts.train.count:
                break
        return draws


def protocol_of(target: type[DenseTarget]) -> type[DenseProtocol]:
    """Return the protocol of a dense target, which has its name."""
    doc = f"`DenseProtocol` of `{target.__name__}`."
    name, title = target.name, target.title or target.name
    words = {"name": name, "title": title, "answers": name, "target": target, "__doc__": doc}
    made = type(f"{target.__name__}Protocol", (DenseProtocol,), words)
    return dataclasses.dataclass(frozen=True, kw_only=True)(made)


DENSE = tuple(protocol_of(target) for target in TARGETS.values())
