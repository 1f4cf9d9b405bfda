"""Galleries: pictures that were asked for, a row each, and what was found like them; as a figure or as a page."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.base.figures import save_figure
from tfssl.base.files import atomic_write, check_format, text_of, write_json
from tfssl.report.rendering import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE_NAME = "neighbours.json"
"""In a run's folder, a gallery for its page."""
DRAWN = 160
"""Pixels of a picture of the gallery."""
RIGHT, BOX = "#1a7f37", "#ffd400"
WIDTH, HEIGHT, ABOVE, BETWEEN = 1.1, 1.35, 0.35, 0.25
"""Inches of a picture with what stands above it, of the names of columns, and between these."""
LETTERS = 16
"""Of a line above a picture of a figure: more would run into the next one."""


class Picture(NamedTuple):
    """A picture of the gallery.

    Attributes:
      image: uint8 [S, S, 3].
      caption: a line or two above it.
      alt: what it is, for who cannot see it.
      right: whether it is marked as one that was hoped for.
      box: of a patch: top, left, height, width as shares of the picture, 0..1.
      patch: uint8 [s, s, 3], what is in the box; None of a whole picture.
    """

    image: np.ndarray
    caption: str
    alt: str
    right: bool = False
    box: tuple[float, float, float, float] | None = None
    patch: np.ndarray | None = None


class Row(NamedTuple):
    """What was asked for, and what was found in each of the gallery's columns, the most similar first."""

    asked: Picture
    found: Sequence[Sequence[Picture]]


def write(
    to: Path, rows: Sequence[Row], count: int, columns: Sequence[str] = ("",), title: str = "", said: str = ""
) -> None:
    """Write a gallery: a page where the file's name ends in .html, else a figure.

    Args:
      to: .html, or what Matplotlib writes.
      rows: the rows.
      count: pictures of a row in a column, at most.
      columns: their names.
      title, said: of the page: its heading, and lines below that.

    Raises:
      UserError: the file cannot be written.
    """
    with atomic_write(to) as temporary:
        if to.suffix.lower() == ".html":
            temporary.write_text(text_of(page(rows, columns, title, said)), encoding="utf-8")
        else:
            save_figure(figure(rows, count, columns), temporary, dpi=120)


def figure(rows: Sequence[Row], count: int, columns: Sequence[str]) -> "Figure":
    """Draw a row for each query, which stands first; of a patch the picture that it is of stands below."""
    from matplotlib.figure import Figure

    lines = 2 if any(row.asked.patch is not None for row in rows) else 1
    above = ABOVE if any(columns) else 0.0
    between = BETWEEN if above else 0.0
    wide, tall = WIDTH * (1 + count * len(columns)) + between * len(columns), HEIGHT * len(rows) * lines + above
    drawn = Figure(figsize=(wide, tall), layout="constrained")
    widths = [1, *[count] * len(columns)]
    parts: Any = drawn.subfigures(1, len(widths), width_ratios=widths, wspace=between * len(widths) / wide)
    blocks: list[list[Sequence[Picture]]] = [
        [[row.asked] for row in rows],
        *([row.found[number] for row in rows] for number in range(len(columns))),
    ]
    for part, name, block, width in zip(parts, ("", *columns), blocks, widths, strict=True):
        if above:
            short = (
                name if len(name) <= LETTERS * width else f"\u2026{name[1 - LETTERS * width :]}"
            )  # of a folder, its end
            part.suptitle(short or " ", fontsize=8 if width > 1 else 7, parse_math=False)
        cells = part.subplots(lines * len(rows), width, squeeze=False)
        for axes in cells.flat:
            axes.set_axis_off()
        for number, pictures in enumerate(block):
            for place, picture in enumerate(pictures[:width]):
                _draw(cells[lines * number : lines * (number + 1), place].tolist(), picture)
    return drawn


def _draw(cells: "list[Axes]", picture: Picture) -> None:
    from matplotlib.patches import Rectangle

    lines = [line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}\u2026" for line in picture.caption.splitlines()]
    cells[0].set_title(
        "\n".join(lines),
        fontsize=7,
        parse_math=False,  # a $ in the name of a class begins no formula
        color=RIGHT if picture.right else "black",
    )
    cells[-1].imshow(picture.image)
    if picture.patch is not None:
        cells[0].imshow(picture.patch)
    if picture.box is not None:
        side = len(picture.image)
        top, left, height, width = (side * share - 0.5 * (place < 2) for place, share in enumerate(picture.box))
        for colour, line in (("black", 2.6), (BOX, 1.4)):
            cells[-1].add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=line))


def page(rows: Sequence[Row], columns: Sequence[str], title: str, said: str) -> str:
    """Return a page of its own, which needs no other file and no network."""
    contents = {"title": title, "subtitle": "", "tiles": (), "settings": {}, "gallery": shown(rows, columns, said)}
    return render("gallery.html.jinja", contents)


def shown(rows: Sequence[Row], columns: Sequence[str], said: str) -> dict[str, Any]:
    """Return what a page shows of a gallery, of what JSON has: pictures are data URIs."""

    def picture(one: Picture) -> dict[str, Any]:
        patch = None if one.patch is None else as_uri(one.patch)
        return one._asdict() | {"image": as_uri(one.image), "patch": patch}

    return {
        "sentences": said.splitlines(),
        "columns": list(columns),
        "rows": [
            {"asked": picture(row.asked), "found": [[picture(each) for each in column] for column in row.found]}
            for row in rows
        ],
    }


def keep(folder: Path, gallery: dict[str, Any]) -> None:
    """Write what `shown` gave into a run's folder, whose page then has it."""
    write_json(folder / FILE_NAME, gallery | {"format": 1})


def kept(folder: Path) -> dict[str, Any] | None:
    """Return what `keep` wrote into a run's folder; None where it wrote nothing.

    Raises:
      NewerFormatError: a newer version of tfssl wrote it.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    check_format(path, content, 1)
    return content


def as_uri(image: np.ndarray) -> str:
    """Return a picture, uint8 [H, W, 3], as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(tf.io.encode_jpeg(image, quality=85).numpy()).decode()
