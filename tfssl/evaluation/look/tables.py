"""The tables of `look`."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, text_of
from tfssl.evaluation.look.findings import Findings
from tfssl.evaluation.look.found import Looked


def write(looked: Looked, findings: Findings) -> None:
    """Write them into the folder.

    Raises:
      UserError: selected.csv is there and says something else, labels perhaps that somebody filled in.
    """
    collection = findings.collection
    if findings.chosen:  # `file` and `label` are what `finetune --labels` reads; a label that is known stands there
        path = looked.folder / "selected.csv"
        selected = [
            (order, collection.names[number], collection.labels[number] or "")
            for order, number in enumerate(findings.chosen, 1)
        ]
        keep_filled(path, (("order", "file", "label"), *selected))
        _write(path, ("order", "file", "label"), selected)

    def about(number: int) -> tuple[str, str, str]:
        return collection.names[number], collection.part_of(number), collection.labels[number] or ""

    _write(
        looked.folder / "map.csv",
        ("file", "part", "label", "x", "y"),
        (
            (*about(number), f"{x:.5f}", f"{y:.5f}")
            for number, (x, y) in zip(findings.shown, findings.places, strict=True)
        ),
    )
    _write(
        looked.folder / "duplicates.csv",
        ("group", "file", "part", "label"),
        ((place, *about(number)) for place, group in enumerate(findings.duplicates, 1) for number in group),
    )
    _write(
        looked.folder / "outliers.csv",
        ("file", "part", "label", "distance"),
        ((*about(number), f"{findings.away[number]:.5f}") for number in findings.farthest),
    )
    if looked.right is not None:
        _write(
            looked.folder / "confusions.csv",
            ("label", "taken_for", "count"),
            ((each.label, each.taken_for, each.count) for each in looked.confusions),
        )


def keep_filled(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Raise UserError where a table is there that says something else."""
    if path.exists():
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            there = [row for row in csv.reader(file) if row]
        if there != [[text_of(str(cell)) for cell in row] for row in rows]:
            raise UserError(f"{path} is there and says something else, labels perhaps; move it, or choose another --to")


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows([text_of(str(cell)) for cell in row] for row in rows)
