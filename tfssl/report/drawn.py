"""Figures and tables as pages have them: text inside of the page, what it shows in words, and its numbers."""

import base64
import csv
import dataclasses
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tfssl.base.figures import save_figure
from tfssl.report.palette import COLOURS, QUIET

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (4.2, 2.8)  # inches; small, so that its letters can still be read on a telephone


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes:
      figure: of Matplotlib, in colours of `palette`.
      said: what it shows, for those who do not see it; an image's `alt`.
      head: names of the columns of its numbers.
      rows: its numbers, as they are drawn.
    """

    figure: "Figure"
    said: str
    head: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    @property
    def axes(self) -> "list[Axes]":
        """Those of the figure."""
        return self.figure.axes

    @property
    def svg(self) -> "Markup":
        """The figure, for the inside of a page."""
        return as_svg(self.figure, self.said)

    @property
    def csv(self) -> str:
        """The numbers as CSV."""
        return as_csv(self.head, self.rows)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      name: what it has, for those who do not see it.
      head: names of its columns.
      rows: its cells.
      texts: how many columns, from the left, are words; the others are numbers.
      marked: numbers of rows that are set off.
      sorts: whether a click on the head sorts it.
    """

    name: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: int = 1
    marked: tuple[int, ...] = ()
    sorts: bool = True


def as_csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV; figures have six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue()


def new_figure(size: tuple[float, float] = SIZE) -> "tuple[Figure, Axes]":
    """Make an empty figure of the report's size and colours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(which="both", color=QUIET, labelcolor=QUIET, labelsize=8.5)
    axes.xaxis.label.set(color=QUIET, size=9)
    axes.yaxis.label.set(color=QUIET, size=9)
    return figure, axes


def as_svg(figure: "Figure", said: str = "") -> "Markup":
    """Return a figure as an element of a page, whose colours it takes; the same figure gives the same text.

    Letters are the reader's own, so that names in any writing are shown. What another figure of the page could refer to
    by the same id has a name of its own.
    """
    import matplotlib
    from markupsafe import Markup, escape

    target = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "tfssl", "svg.fonttype": "none"}):
        save_figure(figure, target, format="svg", metadata={"Date": None}, transparent=True)
    text = target.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.S)
    used = set(re.findall(r"(?:url\(|href=\")#([\w-]+)", text))
    own = hashlib.sha256(f"{said}{text}".encode()).hexdigest()[:8]
    text = re.sub(r' id="([\w.-]+)"', lambda found: f' id="{own}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r"(url\(|href=\")#", rf"\1#{own}-", text)
    text = re.sub(r'style="[^"]*"', lambda found: _named(found[0]), text)
    head = re.search(r'viewBox="[^"]*"', text)
    assert head is not None
    opening = f'<svg {head[0]} role="img" aria-label="{escape(said)}" class="drawn">'
    return Markup(opening + text[text.index(">") + 1 :])


def _named(style: str) -> str:
    """Name the colours in an attribute, and leave the font to the page."""
    for name, (light, _) in COLOURS.items():
        style = style.replace(light, f"var(--{name})")
    return re.sub(r"font-family: [^;\"]*", "font-family: inherit", style)


def as_png(figure: "Figure") -> str:
    """Return a figure of photos as a data URI."""
    target = io.BytesIO()
    save_figure(figure, target, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()
