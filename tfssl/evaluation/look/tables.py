"""The tables of `look`."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tfssl.base.files import atomic_write, text_of
from tfssl.evaluation.look.collection import Collection
from tfssl.evaluation.look.found import Looked


def write(
    found: Looked,
    collection: Collection,
    shown: np.ndarray,
    places: np.ndarray,
    duplicates: Sequence[np.ndarray],
    farthest: np.ndarray,
    away: np.ndarray,
    chosen: Sequence[int],
) -> None:
    """Write them into the folder.

    Args:
      shown, places: int [n], which pictures are on the map, and where: float [n, 2].
      duplicates: numbers of the pictures of each group.
      farthest, away: int [N], the numbers of the pictures, the farthest first; float [N], how far each is.
      chosen: numbers of what is selected, in that order.
    """

    def about(number: int) -> tuple[str, str, str]:
        return collection.names[number], collection.part_of(number), collection.labels[number] or ""

    _write(
        found.folder / "map.csv",
        ("file", "part", "label", "x", "y"),
        ((*about(number), f"{x:.5f}", f"{y:.5f}") for number, (x, y) in zip(shown, places, strict=True)),
    )
    _write(
        found.folder / "duplicates.csv",
        ("group", "file", "part", "label"),
        ((place, *about(number)) for place, group in enumerate(duplicates, 1) for number in group),
    )
    _write(
        found.folder / "outliers.csv",
        ("file", "part", "label", "distance"),
        ((*about(number), f"{away[number]:.5f}") for number in farthest),
    )
    if found.right is not None:
        _write(
            found.folder / "confusions.csv",
            ("label", "taken_for", "count"),
            ((each.label, each.taken_for, each.count) for each in found.confusions),
        )
    if chosen:  # `file` and `label` are what `finetune --labels` reads; a label that is known stands there
        _write(
            found.folder / "selected.csv",
            ("order", "file", "label"),
            (
                (order, collection.names[number], collection.labels[number] or "")
                for order, number in enumerate(chosen, 1)
            ),
        )


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows([text_of(str(cell)) for cell in row] for row in rows)
