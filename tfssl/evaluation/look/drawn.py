"""The page of `look`."""

import itertools
import math
from typing import Any

import numpy as np

from tfssl.base.files import text_of
from tfssl.evaluation.look.findings import Findings
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


def draw(looked: Looked, findings: Findings) -> None:
    """Write index.html."""
    collection, duplicates = findings.collection, findings.duplicates
    groups = [group[:MOST_OF_GROUP].tolist() for group in duplicates[:MOST_GROUPS]]
    pairs = [
        (each, findings.votes.surest(each.label, each.taken_for, MOST_EXAMPLES).tolist())
        for each in looked.confusions[:MOST_CONFUSIONS]
    ]
    few = findings.chosen[:MOST_SELECTED]
    wanted = list(dict.fromkeys(itertools.chain(few, findings.outliers, *groups, *(rows for _, rows in pairs))))
    images = dict(zip(wanted, collection.pictures(wanted, SHOWN), strict=True))

    def picture(number: int, caption: str = "") -> dict[str, str]:
        label, part = collection.labels[number], collection.part_of(number)
        name = collection.names[number]
        said = [each for each in (caption, label or name, part if looked.leaked is not None else "") if each]
        return {"uri": as_uri(images[number]), "alt": name, "caption": "\n".join(said)}

    contents = {
        "title": f"{looked.data} through {looked.subject}",
        "subtitle": looked.opening,
        "sentences": looked.sentences,
        "tiles": (),
        "settings": {},
        "found": looked,
        "map": _map(findings),
        "sprite": as_uri(_sprite(collection.pictures(findings.shown.tolist(), TILE))),
        "selected": [picture(number, str(order)) for order, number in enumerate(few, 1)],
        "groups": [
            ([picture(number) for number in group], len(duplicates[place])) for place, group in enumerate(groups)
        ],
        "outliers": [picture(number, f"{findings.away[number]:.3f}") for number in findings.outliers],
        "confusions": [(each, [picture(number) for number in rows]) for each, rows in pairs],
    }
    write_page(looked.folder / "index.html", "look.html.jinja", contents)


def _map(findings: Findings) -> dict[str, Any]:
    """Return what the map is drawn from: a list of [x, y, class or -1, marks, name] in the order of the tiles."""
    collection, shown, classes = findings.collection, findings.shown, findings.votes.classes
    marks = np.zeros(collection.count, int)
    marks[findings.chosen] |= SELECTED
    marks[findings.outliers] |= OUTLIER
    marks[np.concatenate([np.zeros(0, int), *findings.duplicates])] |= DUPLICATE
    points = []
    for number, (x, y) in zip(shown.tolist(), findings.places.tolist(), strict=True):
        about = int(findings.votes.answers[number]), int(marks[number]), text_of(collection.names[number])
        points.append([round(x, 4), round(y, 4), *about])
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
