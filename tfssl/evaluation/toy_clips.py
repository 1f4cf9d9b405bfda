"""Clips of the toy world to measure on: `evaluate_localisation` and `evaluate_tracking` draw them themselves."""

from typing import Any

from tfssl.base import specs
from tfssl.base.errors import UserError

KNOWN = {"count": 200, "size": 64, "seconds": 2.0, "seed": 0, "start": 0}
"""The settings of 'toy:clips' and their defaults."""
RATE = 12.5
"""Frames a second."""


def read_settings(data: str) -> dict[str, Any]:
    """'toy:clips(count=50, seed=1)' as its settings.

    Raises:
      UserError: no 'toy:clips', an unknown setting, a count below 1.
    """
    if not data.startswith("toy:"):
        raise UserError(f"{data} is given, expected 'toy:clips(count=100, seed=1)': only there the answers are known")
    kind, given = specs.parse_call(data.removeprefix("toy:"))
    if kind != "clips":
        raise specs.unknown("toy source", kind, ("clips",))
    specs.check_settings("toy:clips", given, KNOWN)
    settings = KNOWN | given
    if settings["count"] < 1:
        raise UserError(f"{data} is given, expected a count of at least 1")
    return settings
