"""What a function of tfssl gives back: fields for Python, text for people, JSON for programs."""

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


@dataclasses.dataclass(frozen=True)
class Result:
    """The base of all results, which are frozen dataclasses.

    Files and folders are `pathlib` paths. What a command prints is `str(result)`, so a result of a command defines
    `__str__`; with `--json` it is `as_json()`. One with a property `ok` that is False ends the command with status 1.
    """

    def as_json(self) -> dict[str, Any]:
        """What --json prints: the fields, in their order, of what JSON has: see `plain`."""
        return {key_of(field): plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def key_of(field: dataclasses.Field[Any]) -> str:
    """Return the key of a field in JSON: its name, or `metadata={"key": ...}`, by which earlier versions know it."""
    key: str = field.metadata.get("key", field.name)
    return key


def plain(value: Any) -> Any:
    """A value of what JSON has: paths as text, tuples as lists, results and other dataclasses as dicts."""
    if isinstance(value, Result):
        return value.as_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key_of(field): plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
