"""quickstart.json: what was asked, what was chosen, and what is done."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Self

from tfssl.base import environment
from tfssl.base.errors import UserError
from tfssl.base.files import check_format, require_text, write_json
from tfssl.pipelines.sources.any_source import absolute_name
from tfssl.starting.choosing import Choice
from tfssl.starting.config import QuickstartSettings
from tfssl.starting.looking import name_of

NAME = "quickstart.json"
FORMAT = 1
"""Format of quickstart.json. Raise it when older versions cannot read what is written."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What is kept.

    Attributes:
      folder: where it is.
      asked: photos, minutes, labels, max_broken.
      choice: what was chosen.
      done: name of each part that is done -> what it ended with: "seconds", "says" (lines), "ok".
      spent: seconds that all took until now.
      lines: name of each part that has begun -> the command that it is, and stays.
    """

    folder: Path
    asked: dict[str, Any]
    choice: Choice
    done: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    spent: float = 0.0
    lines: dict[str, str] = dataclasses.field(default_factory=dict)

    def with_lost_time(self) -> Self:
        """Count what a part took in a call that was killed before it could write that down.

        That is until the newest file of the part, but no longer than was planned: somebody may have worked in there.
        """
        begun = [name for name in self.lines if name not in self.done]
        files = [file for folder in ("run", "classifier") for file in (self.folder / folder).rglob("*")]
        if not begun or not files:
            return self
        lost = max(file.lstat().st_mtime for file in files) - (self.folder / NAME).stat().st_mtime
        lost = min(max(0.0, lost), self.choice.seconds[begun[-1]])
        return dataclasses.replace(self, spent=self.spent + lost)

    def replaced(self, **changes: Any) -> Self:
        """Return a record with changes, which is written."""
        made = dataclasses.replace(self, **changes)
        made.write()
        return made

    def write(self) -> None:
        """Write it, whole or not at all."""
        content = {"format": FORMAT, "asked": self.asked, "choice": self.choice.as_json(), "commands": self.lines}
        content |= {"done": self.done, "spent": self.spent}
        write_json(self.folder / NAME, content | {"versions": environment.versions()})


def asked_of(settings: QuickstartSettings) -> dict[str, Any]:
    """Return what a quickstart is known by."""
    return {
        "photos": absolute_name(name_of(settings.photos)),
        "minutes": settings.minutes,
        "labels": None if settings.labels is None else os.path.abspath(settings.labels),
        "max_broken": settings.max_broken,
    }


def read(settings: QuickstartSettings) -> Record | None:
    """Read what an interrupted call has kept in the folder; None where there is none.

    Raises:
      UserError: the folder holds a quickstart with other settings, or something else; it cannot be read.
    """
    out = settings.out
    require_text(out)
    path = out / NAME
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} exists and is no quickstart; choose a new or empty folder for --out")
        return None
    try:
        content = json.loads(path.read_text())
        check_format(path, content, FORMAT)
        record = Record(
            out,
            content["asked"],
            Choice.of_json(content["choice"]),
            content["done"],
            content["spent"],
            content["commands"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); choose another --out") from problem
    for key, given in asked_of(settings).items():
        if record.asked.get(key) != given:
            raise UserError(
                f"{out} holds a quickstart with {key} {record.asked.get(key)!r}, now {given!r} is given; choose"
                " another --out, or give what it began with"
            )
    return record.with_lost_time()
