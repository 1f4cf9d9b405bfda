"""labels.csv: which picture has which labels."""

import csv
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from tfssl.base.errors import UserError

SEPARATOR = ";"


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a table says.

    Attributes:
      path: of the table.
      labels: name of a picture, see `of_files` -> its labels; () where the table has an empty one.
      several: whether any picture has more than one.
    """

    path: Path
    labels: dict[str, tuple[str, ...]]
    several: bool

    def of_files(self, folder: Path, inside: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], int]:
        """Find the files that the table names: by their path below the folder, or by the end of that.

        Args:
          folder: of all pictures.
          inside: their paths below it.

        Returns:
          The labels of each file that is named, and how many rows name none.

        Raises:
          UserError: a name that could be of two files, two rows for one file.
        """
        files = dict.fromkeys(inside)
        ends: dict[str, str | None] = {}
        for file in files:
            parts = file.split(os.sep)
            for start in range(1, len(parts)):
                end = os.sep.join(parts[start:])
                ends[end] = None if end in ends else file
        found: dict[str, tuple[str, ...]] = {}
        missing = 0
        for name, labels in self.labels.items():
            below = os.path.relpath(name, folder) if os.path.isabs(name) else name
            meant = below if below in files else ends.get(below, "")
            if meant is None:
                raise UserError(f"{self.path}: {name} could be of several files in {folder}; give paths below it")
            if not meant:
                missing += 1
            elif found.setdefault(meant, labels) != labels:
                raise UserError(f"{self.path} names {meant} twice, with different labels; mend one row")
        return found, missing


def read_labels(path: Path) -> Labels:
    """Read a table with the columns file and label, by these names in its first row, or else the first two.

    Several labels of a picture have `;` between them. Names are kept as they are spelled, without spaces around them.

    Raises:
      UserError: no such file, a row without two columns, a picture that is named twice with different labels.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise UserError(f"{path} cannot be read ({reason}); expected a table file,label as CSV in UTF-8") from problem
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    place, label = 0, 1
    if "file" in head and "label" in head:
        place, label = head.index("file"), head.index("label")
        rows = rows[1:]
    labels: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(rows, 1):
        if len(row) <= max(place, label):
            raise UserError(f"{path}: row {number} is {','.join(row)!r}, expected file,label; mend that row")
        name = os.path.normpath(row[place].strip())
        given = tuple(dict.fromkeys(each.strip() for each in row[label].split(SEPARATOR) if each.strip()))
        if labels.setdefault(name, given) != given:
            raise UserError(
                f"{path} names {name} twice, as {SEPARATOR.join(labels[name])!r} and {SEPARATOR.join(given)!r};"
                f" give several labels in one row, with {SEPARATOR} between them"
            )
    if not labels:
        raise UserError(f"{path} has no row; expected a table with the columns file and label")
    return Labels(path, labels, any(len(each) > 1 for each in labels.values()))
