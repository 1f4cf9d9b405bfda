"""The surest mistakes of a classifier, to be looked at: wrong labels are found among them, and what is alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfssl.downstream.measures import right
from tfssl.pipelines.batches import plain
from tfssl.pipelines.sources.any_source import AnySource

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNT = 12
COLUMNS = 4
PAIRS = 6
"""Pairs of classes that are shown, and `COLUMNS` pictures of each."""


def surest(shares: np.ndarray, targets: np.ndarray, count: int = COUNT) -> np.ndarray:
    """Return which pictures are named wrong with the largest probabilities, the largest first, int [at most count].

    Args:
      shares: probabilities, float [N, classes].
      targets: float [N, classes], 1 where a picture has a label.
    """
    wrong = np.flatnonzero(~right(shares, targets))
    return wrong[np.argsort(-shares[wrong].max(1), kind="stable")][:count]


def confused(shares: np.ndarray, targets: np.ndarray, count: int = PAIRS) -> list[tuple[int, int, np.ndarray]]:
    """Return the pairs of classes that are confused most: (class, what it is named, which pictures, the surest first).

    Args:
      shares, targets: as of `surest`; a picture has one label.
    """
    order = surest(shares, targets, len(shares))
    own, named = targets[order].argmax(1), shares[order].argmax(1)
    pairs: dict[tuple[int, int], list[int]] = {}
    for row, *pair in zip(order.tolist(), own.tolist(), named.tolist(), strict=True):
        pairs.setdefault((pair[0], pair[1]), []).append(row)
    most = sorted(pairs.items(), key=lambda each: -len(each[1]))[:count]
    return [(one, other, np.array(rows)) for (one, other), rows in most]


def draw_confused(
    source: AnySource, shares: np.ndarray, targets: np.ndarray, classes: Sequence[str], size: int
) -> "Figure | None":
    """Draw a row for each of the pairs that are confused most, with the surest pictures of it.

    None where no pair is confused twice: single mistakes are among those of `draw`, whose arguments these are.
    """
    from matplotlib.figure import Figure

    pairs = [(one, other, rows) for one, other, rows in confused(shares, targets) if len(rows) > 1]
    if not pairs:
        return None
    shown = [rows[:COLUMNS] for _, _, rows in pairs]
    numbers = np.concatenate(shown)
    (batch,) = plain(source.subset(numbers, source.name), size, len(numbers))
    pictures = iter(batch["image"].numpy())
    figure = Figure(figsize=(1.9 * COLUMNS, 2.2 * len(pairs)), layout="constrained")
    cells = figure.subplots(len(pairs), COLUMNS, squeeze=False)
    for line, (one, other, rows), few in zip(cells, pairs, shown, strict=True):
        for place, axes in enumerate(line):
            axes.set_axis_off()
            if place < len(few):
                axes.imshow(next(pictures))
        title = f"{_short(classes[one])}\ntaken for {_short(classes[other])}: {len(rows)}"
        line[0].set_title(title, fontsize=8, loc="left", parse_math=False)
    return figure


def draw(
    source: AnySource, shares: np.ndarray, targets: np.ndarray, classes: Sequence[str], size: int
) -> "Figure | None":
    """Draw the surest mistakes, each with what it was named, how surely, and what it is; None where there are none.

    Args:
      source: the test pictures, one a row of `shares`.
      shares, targets: as of `surest`.
      classes: their names.
      size: pixels of a side, as the classifier sees them.
    """
    from matplotlib.figure import Figure

    rows = surest(shares, targets)
    if not len(rows):
        return None
    (batch,) = plain(source.subset(rows, source.name), size, len(rows))
    lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(1.9 * COLUMNS, 2.2 * lines), layout="constrained")
    places = list(figure.subplots(lines, COLUMNS, squeeze=False).flat)
    for axes in places:
        axes.set_axis_off()
    for axes, picture, row in zip(places, batch["image"].numpy(), rows, strict=False):
        named = shares[row].argmax()
        answers = ", ".join(classes[label] for label in np.flatnonzero(targets[row]).tolist()) or "none"
        axes.imshow(picture)
        title = f"{_short(classes[named])} {100 * shares[row, named]:.0f} %\nis {_short(answers)}"
        axes.set_title(title, fontsize=9, parse_math=False)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
