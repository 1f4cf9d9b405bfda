"""Files that readers see whole or not at all, and one line for what goes wrong."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfssl.base.errors import NewerFormatError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def text_of(name: str) -> str:
    """Return the name of a file as text for what has to be UTF-8: bytes of it that are not are written \\xe9.

    Python itself holds such bytes as lone surrogates, which open the file, and JSON and npz keep as they are.
    """
    return name.encode("utf-8", "surrogateescape").decode(errors="backslashreplace")


def require_text(path: Path) -> None:
    """Raise UserError where the name of a folder is not UTF-8: TensorFlow cannot open runs, exports and records in it.

    Files that are read by us may have any names.
    """
    if text_of(str(path)) != str(path):
        raise UserError(
            f"the name {text_of(str(path))} is not UTF-8, which TensorFlow needs; choose or give it another"
        )


def cache_folder() -> Path:
    """Return where things are kept between commands: tfssl in XDG_CACHE_HOME, else in ~/.cache.

    No absolute path where a user has no home: then nothing is kept.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path(os.path.expanduser("~/.cache"))) / "tfssl"


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an error in writing a file into one line for the user."""
    try:
        yield
    except OSError as problem:
        reason = "the disk is full" if problem.errno in FULL else (problem.strerror or str(problem)).lower()
        raise UserError(f"cannot write {path}: {reason}; free some space or choose another place") from problem


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to it when the block ends well: readers never see half a file."""
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
        os.close(handle)
        os.chmod(name, 0o644)
        try:
            yield Path(name)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def check_format(path: Path, content: dict[str, Any], newest: int) -> None:
    """Refuse a file that a newer version of tfssl wrote.

    Args:
      path: what was read, for the message.
      content: its record; "format" is its format, 1 where it has none, as all that was written before formats were.
      newest: the newest format that this version reads.

    Raises:
      NewerFormatError: the format is newer, or no number.
    """
    number = content.get("format", 1)
    if not isinstance(number, int) or number > newest:
        raise NewerFormatError(
            f"{path} has format {number}, this version of tfssl reads up to {newest}; use a newer version of tfssl"
        )


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
