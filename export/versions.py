"""Folders of versions, as TensorFlow Serving polls them: DIR/1, DIR/2 and on. The largest number is what is served."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.base.files import check_format, require_text
from tfssl.export.config import LARGEST_VERSION

DESCRIPTION = "assets.extra/encoder.json"
"""In a version: what its encoder is."""
FORMAT = 1
"""The "format" of encoder.json, 1 where it is not written. Raise it when older versions cannot read an export."""


def newest_version(folder: str | Path) -> Path:
    """Return the newest version in a folder that `export` wrote; the folder itself if it is one.

    Raises:
      UserError: there is none, or a newer version of tfssl wrote it.
    """
    folder = Path(folder)
    require_text(folder)
    if (folder / "saved_model.pb").is_file():
        description(folder)
        return folder
    complete = [number for number in numbers(folder) if (folder / str(number) / "saved_model.pb").is_file()]
    if not complete:
        why = "holds no SavedModel" if folder.is_dir() else "does not exist"
        raise UserError(f"{folder} is no export (it {why}); expected a folder that `tfssl export RUN DIR` wrote")
    version = folder / str(max(complete))
    description(version)
    return version


def description(version: Path) -> dict[str, Any]:
    """Read what encoder.json says of a version; {} where there is none. Raise UserError if it is too new or damaged."""
    path = version / DESCRIPTION
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as problem:
        raise UserError(f"{path} cannot be read ({problem}); export the run again") from problem
    check_format(path, content, FORMAT)
    return content


def numbers(folder: Path) -> list[int]:
    """Return the numbers of the versions in a folder, in order; [] where there is no folder."""
    return [number for number in _all_numbers(folder) if 1 <= number <= LARGEST_VERSION]


def numbers_beyond(folder: Path) -> list[int]:
    """Return the numbers of folders that no server takes for a version, as they are larger than LARGEST_VERSION."""
    return [number for number in _all_numbers(folder) if number > LARGEST_VERSION]


def _all_numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(name) for name in os.listdir(folder) if re.fullmatch(r"[0-9]+", name))


def check_version(folder: Path, version: int | None) -> None:
    """Raise UserError where `version` cannot be written to `folder`."""
    require_text(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder to export to")
    if version is None:
        if LARGEST_VERSION in numbers(folder):
            raise UserError(f"{folder} has the largest version there can be, {LARGEST_VERSION}; give a free --version")
        return
    if os.path.lexists(folder / str(version)):
        raise UserError(
            f"{folder} has a version {version} already; give another --version, or none for the next free one"
        )


@contextlib.contextmanager
def new_version(folder: Path, version: int | None) -> Iterator[tuple[Path, list[Path]]]:
    """Make a folder to write a version to, which gets its name when the block ends well and goes away when it does not.

    Until then it lies in a folder with a hidden name beside the versions: TensorFlow Serving takes only children whose
    name is a number, and a rename is atomic only within one file system.

    Args:
      folder: where the versions are; made where it is missing.
      version: its number; the largest there plus one where None.

    Yields:
      The folder to write to, and a list that holds the final one after the block.

    Raises:
      UserError: the version exists.
      OSError: nothing can be written there.
    """
    check_version(folder, version)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    hidden = None
    final: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        # One level down, because mkdtemp gives permissions that a server of another user could not read with.
        building = hidden / "version"
        building.mkdir()
        yield building, final
        final.append(_rename(building, folder, version))
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)
        if not final:
            for each in missing:
                with contextlib.suppress(OSError):  # somebody else put something there meanwhile
                    each.rmdir()


def _rename(building: Path, folder: Path, version: int | None) -> Path:
    while True:
        number = max(numbers(folder), default=0) + 1 if version is None else version
        final = folder / str(number)
        check_version(folder, version)
        try:
            building.rename(final)
            return final
        except OSError:
            # Another export took the number since; with a number of its own choice this one must not go elsewhere.
            if version is not None or not final.exists():
                raise
