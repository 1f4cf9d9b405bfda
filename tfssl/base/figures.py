"""Figures of Matplotlib, written without warnings of what a reader sees anyhow."""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: "Figure", target: Any, **settings: Any) -> None:
    """Write a figure to a path or file, as `Figure.savefig` does.

    Names of classes may hold emoji, or writing that Matplotlib's own font lacks: a box stands in their place, as in any
    program, and Matplotlib's warning, one for each of them, would be all that a command says.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font|Matplotlib currently does not support")
        figure.savefig(target, **settings)
