"""The linear probe: what one linear layer can read from frozen features."""

import dataclasses
from typing import ClassVar

import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.protocols import goyal, logistic
from tfssl.evaluation.protocols.base import Answers, Division, Protocol, Rows, splits_of

RECIPES = ("logistic", "goyal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Protocol):
    """Linear probe of a grid of each stage's map.

    The recipe 'logistic' is logistic regression to its end, whose penalty is chosen on held-out rows: see
    `logistic.fit_with_chosen_penalty`. 'goyal' is the published recipe of SGD with fixed settings, for the comparison
    with published figures: see `goyal.linear_probe`. On thousands of numbers and hundreds of pictures a class it
    over-fits.

    Attributes:
      recipe: 'logistic' or 'goyal'.
      penalty: of 'logistic'; what held-out rows choose where None, and `logistic.USUAL` where there are none.
      seed, epochs, learning_rate: of 'goyal': seed of the order of rows, passes over them, learning rate at the start.
    """

    name: ClassVar[str] = "linear"
    title: ClassVar[str] = "linear probe"
    probe: ClassVar[str] = "linear probe"
    pool: ClassVar[int | None] = None
    recipe: str = "logistic"
    penalty: float | None = None
    seed: int = 0
    epochs: int = 28
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UserError(f"{self.name}: recipe={self.recipe!r} is given, expected one of {', '.join(RECIPES)}")
        for name in ("penalty", "epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise UserError(f"{self.name}: {name}={value!r} is given, expected a number above 0")

    def scores(self, train: Rows, test: Features, classes: int) -> np.ndarray:
        if self.recipe == "goyal":
            rows, asked = np.asarray(train.features), np.asarray(test)
            return goyal.linear_probe(
                rows, train.labels, asked, classes, self.seed, self.epochs, learning_rate=self.learning_rate
            )
        return logistic.fit(*train, classes, self.penalty or logistic.USUAL).scores(test)

    def answers(
        self, train: Rows, division: Division | None, test: Features, classes: int, held_out: Rows | None = None
    ) -> Answers:
        """Return them as `Protocol.answers` does; the last fit begins where the fits that chose have ended."""
        splits = splits_of(train, division, held_out)
        if self.recipe == "goyal" or self.penalty is not None or not splits:
            return super().answers(train, division, test, classes, held_out)
        chosen = logistic.fit_with_chosen_penalty(*train, classes, splits)
        return Answers(chosen.scores, chosen.fitted.scores(test))
