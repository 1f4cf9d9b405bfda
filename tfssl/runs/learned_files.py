"""What tasks learned from their source and JSON should not hold: arrays, in learned.npz beside run.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write

FILE_NAME = "learned.npz"


def keep(folder: Path, learned: Mapping[str, Any]) -> dict[str, Any]:
    """Write the arrays of what tasks learned, where there are any, and return what is left for run.json.

    Args:
      folder: the run's.
      learned: task name -> what it learned; arrays are values of dicts, at any depth.
    """
    arrays: dict[str, np.ndarray] = {}
    rest = {name: _without(value, name, arrays) for name, value in learned.items()}
    if arrays:
        with atomic_write(folder / FILE_NAME) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return rest


def read(folder: Path, name: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `keep` was given of one task. Raise UserError where its file is gone."""
    return _with(kept, folder, name)


def _without(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    for key, inner in value.items():
        if isinstance(inner, np.ndarray):
            arrays[f"{path}/{key}"] = inner
    return {
        key: ARRAY if isinstance(inner, np.ndarray) else _without(inner, f"{path}/{key}", arrays)
        for key, inner in value.items()
    }


ARRAY = {"array": FILE_NAME}
"""What run.json has in place of an array."""


def _with(value: Any, folder: Path, path: str) -> Any:
    if value == ARRAY:
        try:
            with np.load(folder / FILE_NAME) as file:
                return file[path]
        except (OSError, ValueError, KeyError) as problem:
            raise UserError(f"{folder / FILE_NAME} cannot be read ({problem}); the run cannot be used") from problem
    return (
        {key: _with(inner, folder, f"{path}/{key}") for key, inner in value.items()}
        if isinstance(value, dict)
        else value
    )
