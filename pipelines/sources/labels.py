"""Labels as people have them in Python: numbers, one-hot rows, names; as numbers of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfssl.base.errors import UserError

EXPECTED = "expected one class a picture: a whole number, a one-hot row, or a name"


def number(name: str, labels: Any, classes: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the number of each label's class, and the names of the classes.

    Only classes that occur are counted: a label of 2,000,000,000 is one class, not the last of as many.

    Args:
      name: of the data, for errors.
      labels: [N] or [N, 1] whole numbers of any dtype, below 0 where unknown; or text; or one-hot [N, C].
      classes: names of the classes, where numbers have them.

    Returns:
      int32 [N], -1 unknown; and names, in rising order of numbers, or of the alphabet.

    Raises:
      UserError: labels of another kind.
    """
    try:
        rows = np.asarray(labels)
    except ValueError:
        raise UserError(f"{name}: labels have rows of different lengths; {EXPECTED}") from None
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim == 2 and rows.dtype.kind in "biuf":
        rows = _of_one_hot(name, rows)
    if rows.ndim != 1:
        raise UserError(f"{name}: labels have the shape {list(rows.shape[1:])} each; {EXPECTED}")
    if rows.dtype.kind in "OSU":
        return _of_names(name, rows.tolist())
    if rows.dtype.kind == "f" and (odd := rows[~np.isfinite(rows) | (rows != np.round(rows))]).size:
        raise UserError(f"{name}: a label is {odd[0]:g}; {EXPECTED}")
    if rows.dtype.kind not in "biuf":
        raise UserError(f"{name}: labels are {rows.dtype}; {EXPECTED}")
    known = np.unique(rows[rows >= 0])
    if not classes:
        numbers = np.where(rows >= 0, np.searchsorted(known, rows), -1)
        return numbers.astype(np.int32), tuple(str(int(each)) for each in known)
    if len(known) and known[-1] >= len(classes):
        raise UserError(f"{name}: a label is {int(known[-1])}, but there are {len(classes)} classes, counted from 0")
    return rows.astype(np.int32), tuple(classes)


def _of_one_hot(name: str, rows: np.ndarray) -> np.ndarray:
    wrong = np.flatnonzero((((rows != 0) & (rows != 1)).any(1)) | (rows.sum(1) != 1))
    if len(wrong):
        shown = ", ".join(f"{value:g}" for value in rows[wrong[0], :5].astype(float))
        more = ", ..." if rows.shape[1] > 5 else ""
        raise UserError(f"{name}: the label [{shown}{more}] is not one-hot; {EXPECTED}")
    return rows.argmax(1)


def _of_names(name: str, given: list[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    names = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in given]
    if odd := [each for each in names if not isinstance(each, str)]:
        raise UserError(f"{name}: among the labels is {odd[0]!r}; {EXPECTED}")
    classes = sorted(set(names))
    place = {each: number for number, each in enumerate(classes)}
    return np.array([place[each] for each in names], np.int32), tuple(classes)
