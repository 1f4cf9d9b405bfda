"""The figures of studies, in the report's style."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfssl import runs
from tfssl.evaluation.results import PROTOCOLS
from tfssl.report.figures import QUIET, RANDOM, TRAINED
from tfssl.studies.table import RANDOM as RANDOM_ROW
from tfssl.studies.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DARK = "#22343c"  # on bars


def comparison_bars(rows: Sequence[Row], largest_class: float) -> "Figure":
    """A bar for each row and protocol, in percent, with 95 % intervals, and a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 1.1 + 0.62 * len(rows)), layout="constrained")
    for axes, protocol in zip(figure.subplots(1, 2, sharey=True), PROTOCOLS, strict=True):
        for place, row in enumerate(rows):
            found = row.downstream[protocol]
            mean, half = 100 * found.estimate.mean, found.estimate.half
            colour = RANDOM if row.tasks == RANDOM_ROW else TRAINED
            axes.barh(place, mean, 0.62, color=colour, zorder=1)
            if half is not None:
                axes.errorbar(mean, place, xerr=100 * half, fmt="none", ecolor=DARK, elinewidth=1.2, capsize=3)
            if len(found.by_seed) > 1:
                values = [100 * value for value in found.by_seed.values()]
                axes.plot(values, [place] * len(values), "o", color="white", markeredgecolor=DARK, markersize=3.5)
            end = max([mean + 100 * (half or 0), *(100 * value for value in found.by_seed.values())])
            axes.text(end + 0.8, place, f"{mean:.1f}", va="center", fontsize=8.5, color=QUIET)
        axes.axvline(100 * largest_class, color=QUIET, linestyle=":", linewidth=1, label="commonest class")
        _plain(axes)
        axes.set_xlim(0, min(112, axes.get_xlim()[1] * 1.1))
        axes.set_xlabel(f"top-1 of the best stage, {PROTOCOLS[protocol]}, %")
        axes.set_yticks(range(len(rows)), [row.tasks.replace("), ", "),\n") for row in rows])
    axes.invert_yaxis()
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", frameon=False, fontsize=8)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with runs.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9fb0b7")
    axes.tick_params(color="#9fb0b7", labelcolor=QUIET, labelsize=8)
    axes.xaxis.label.set_color(QUIET)
    axes.yaxis.label.set_color(QUIET)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
