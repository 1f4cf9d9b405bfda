"""The page of `look`."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfssl.base.files import text_of
from tfssl.evaluation.look.collection import Collection
from tfssl.evaluation.look.found import Looked
from tfssl.report.gallery import as_uri
from tfssl.report.page import write_page

TILE = 48
"""Pixels of a picture on the map."""
SHOWN = 96
"""Pixels of a picture of the page below the map."""
MOST_SELECTED, MOST_GROUPS, MOST_OF_GROUP, MOST_CONFUSIONS, MOST_EXAMPLES = 100, 24, 6, 8, 4
"""Pictures and groups that are shown; the tables have all."""
SELECTED, OUTLIER, DUPLICATE = 1, 2, 4
"""Marks of a picture on the map."""


class Examples(NamedTuple):
    """What the vote said: numbers of pictures that have one; of all the right class, and what was said; its shares."""

    known: np.ndarray  # int [n]
    answers: np.ndarray  # int [N]
    guesses: np.ndarray  # int [N]
    shares: np.ndarray  # float [N, classes]
    classes: tuple[str, ...]

    def of(self, own: str, other: str) -> np.ndarray:
        """Return the surest pictures of a class that are taken for another, int [at most MOST_EXAMPLES]."""
        pair = self.classes.index(own), self.classes.index(other)
        rows = self.known[(self.answers[self.known] == pair[0]) & (self.guesses[self.known] == pair[1])]
        return rows[np.argsort(-self.shares[rows, pair[1]], kind="stable")][:MOST_EXAMPLES]


def draw(
    found: Looked,
    collection: Collection,
    shown: np.ndarray,
    places: np.ndarray,
    duplicates: Sequence[np.ndarray],
    farthest: np.ndarray,
    chosen: Sequence[int],
    examples: Examples,
) -> None:
    """Write index.html. `farthest` are the numbers of what is shown as outliers; others are as of `tables.write`."""
    groups = [group[:MOST_OF_GROUP].tolist() for group in duplicates[:MOST_GROUPS]]
    pairs = [(each, examples.of(each.label, each.taken_for).tolist()) for each in found.confusions[:MOST_CONFUSIONS]]
    few = list(chosen[:MOST_SELECTED])
    wanted = list(dict.fromkeys(itertools.chain(few, farthest.tolist(), *groups, *(rows for _, rows in pairs))))
    images = dict(zip(wanted, collection.pictures(wanted, SHOWN), strict=True))

    def picture(number: int, caption: str = "") -> dict[str, str]:
        label, part = collection.labels[number], collection.part_of(number)
        name = collection.names[number]
        said = [each for each in (caption, label or name, part if found.leaked is not None else "") if each]
        return {"uri": as_uri(images[number]), "alt": name, "caption": "\n".join(said)}

    distances = {each.file: each.distance for each in found.outliers}
    contents = {
        "title": f"{found.data} through {found.subject}",
        "subtitle": found.opening,
        "sentences": found.sentences,
        "tiles": (),
        "settings": {},
        "found": found,
        "map": _map(found, collection, shown, places, duplicates, farthest, chosen, examples.classes),
        "sprite": as_uri(_sprite(collection.pictures(shown.tolist(), TILE))),
        "selected": [picture(number, str(order)) for order, number in enumerate(few, 1)],
        "groups": [
            ([picture(number) for number in group], len(duplicates[place])) for place, group in enumerate(groups)
        ],
        "outliers": [picture(number, f"{distances[collection.names[number]]:.3f}") for number in farthest.tolist()],
        "confusions": [(each, [picture(number) for number in rows]) for each, rows in pairs],
    }
    write_page(found.folder / "index.html", "look.html.jinja", contents)


def _map(
    found: Looked,
    collection: Collection,
    shown: np.ndarray,
    places: np.ndarray,
    duplicates: Sequence[np.ndarray],
    farthest: np.ndarray,
    chosen: Sequence[int],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Return what the map is drawn from: a list of [x, y, class or -1, marks, name] in the order of the tiles."""
    marks = np.zeros(collection.count, int)
    marks[list(chosen)] |= SELECTED
    marks[farthest] |= OUTLIER
    marks[np.concatenate([np.zeros(0, int), *duplicates])] |= DUPLICATE
    number_of = {name: number for number, name in enumerate(classes)}
    points = []
    for number, (x, y) in zip(shown.tolist(), places.tolist(), strict=True):
        label = collection.labels[number]
        place = -1 if label is None else number_of[label]
        points.append([round(x, 4), round(y, 4), place, int(marks[number]), text_of(collection.names[number])])
    return {
        "tile": TILE,
        "columns": _columns(len(shown)),
        "classes": [text_of(each) for each in classes],
        "marks": [
            [name, mark]
            for name, mark in (("selected", SELECTED), ("outliers", OUTLIER), ("near-duplicates", DUPLICATE))
            if (marks[shown] & mark).any()
        ],
        "points": points,
    }


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _sprite(images: np.ndarray) -> np.ndarray:
    """Put pictures, uint8 [n, S, S, 3], row by row into one, near to a square."""
    columns = _columns(len(images))
    lines, side = -(-len(images) // columns), images.shape[1]
    whole = np.zeros((lines * columns, side, side, 3), np.uint8)
    whole[: len(images)] = images
    return whole.reshape(lines, columns, side, side, 3).swapaxes(1, 2).reshape(lines * side, columns * side, 3)
