"""Checks of the arguments of `pretrain`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfssl.base.errors import UserError


def check_counts(counts: dict[str, int | None]) -> None:
    """Refuses what is given and below 1."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value} is given, expected at least 1")


def check_rates(
    learning_rate: float,
    weight_decay: float,
    seed: int,
    shares: dict[str, float],
    choices: Mapping[str, tuple[Any, Sequence[Any]]],
) -> None:
    """Refuses rates and shares out of their range, and what is none of its choices (name -> (given, known))."""
    # Written so that nan fails too.
    if not 0 < learning_rate < math.inf:
        raise UserError(f"--learning-rate {learning_rate} is given, expected more than 0, as 0.1")
    if not 0 <= weight_decay < math.inf:
        raise UserError(f"--weight-decay {weight_decay} is given, expected 0 or more, as 0.0005")
    if not 0 <= seed < 2**31:
        raise UserError(f"--seed {seed} is given, expected from 0 to {2**31 - 1}")
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise UserError(f"--{name.replace('_', '-')} {value} is given, expected from 0 to 1")
    for name, (value, known) in choices.items():
        if value not in known:
            listed = ", ".join(str(one) for one in known if one is not None)
            raise UserError(f"--{name.replace('_', '-')} {value} is given, expected one of: {listed}")
