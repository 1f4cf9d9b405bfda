"""The figures of studies, in the report's style."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfssl.base.figures import save_figure
from tfssl.base.files import atomic_write
from tfssl.report.palette import QUIET, RANDOM, TRAINED
from tfssl.studies.statistics import Estimate
from tfssl.studies.table import RANDOM as RANDOM_ROW
from tfssl.studies.table import Row
from tfssl.studies.trials import MAIN, PROTOCOLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DARK = "#22343c"  # on bars
SECOND = "#d0803a"  # a second curve
COLOURS = (TRAINED, SECOND, "#6a9a3b", "#8a5a9e", "#b8504f", "#4f5fb0")


def comparison_bars(rows: Sequence[Row], largest_class: float) -> "Figure":
    """Draw a bar for each row and protocol, in percent, with 95 % intervals, and a dot for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 1.1 + 0.62 * len(rows)), layout="constrained")
    for axes, protocol in zip(figure.subplots(1, len(PROTOCOLS), sharey=True), PROTOCOLS, strict=True):
        for place, row in enumerate(rows):
            measured = row.downstream[protocol]
            mean, bars = 100 * measured.estimate.mean, _bars([measured.estimate], 100)
            colour = RANDOM if row.tasks == RANDOM_ROW else TRAINED
            axes.barh(place, mean, 0.62, color=colour, zorder=1)
            axes.errorbar([mean], [place], xerr=bars, fmt="none", ecolor=DARK, elinewidth=1.2, capsize=3)
            values = [100 * value for value in measured.by_seed.values()]
            if len(values) > 1:
                axes.plot(values, [place] * len(values), "o", color="white", markeredgecolor=DARK, markersize=3.5)
            end = max(mean + bars[1][0], *values)
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


def sweep_curves(points: Sequence[tuple[str, int, Row]], untrained: Row, metric: str, by_steps: bool) -> "Figure":
    """Draw pretext metric against linear probe, each point with its name; and both over variants or over steps.

    Args:
      points: (variant, steps, row), variant by variant.
      untrained: the row of random weights.
      metric: of the pretext task.
      by_steps: a curve over steps for each variant; else one curve over variants.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    other = right.twinx()
    scale, named = (100, ", %") if metric.endswith("accuracy") else (1, "")
    variants = list(dict.fromkeys(variant for variant, _, _ in points))
    if by_steps:
        curves = [[(steps, row, f"{steps:,}") for variant, steps, row in points if variant == v] for v in variants]
    else:
        curves = [[(place, row, variant) for place, (variant, _, row) in enumerate(points)]]
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        pretext = [row.pretext[metric] for _, row, _ in curve]
        probed = [row.downstream[MAIN].estimate for _, row, _ in curve]
        places = [place for place, _, _ in curve]
        xs, ys = [scale * estimate.mean for estimate in pretext], [100 * estimate.mean for estimate in probed]
        x_bars, y_bars = _bars(pretext, scale), _bars(probed, 100)
        bars = {"elinewidth": 1, "capsize": 2, "ecolor": to_rgba(colour, 0.4)}
        left.errorbar(xs, ys, y_bars, x_bars, marker="o", color=colour, linestyle="-" if by_steps else "none", **bars)
        for (_, _, text), x, y in zip(curve, xs, ys, strict=True):
            left.annotate(text, (x, y), (5, 5), textcoords="offset points", fontsize=7.5, color=QUIET)
        right.errorbar(places, ys, y_bars, marker="o", color=colour, **bars)
        second = colour if len(curves) > 1 else SECOND
        bars["ecolor"] = to_rgba(second, 0.4)
        other.errorbar(places, xs, x_bars, marker="s", markersize=4, color=second, linestyle="--", **bars)
        chances = [scale * row.chance[metric] if metric in row.chance else None for _, row, _ in curve]
        _draw_chances(other, places, chances, second, by_steps)
    random = 100 * untrained.downstream[MAIN].estimate.mean
    for axes in (left, right):
        axes.axhline(random, color=QUIET, linestyle="-.", linewidth=1)
    _plain(left)
    _plain(right)
    _plain(other)
    other.spines["right"].set_visible(True)
    other.spines["right"].set_color("#9fb0b7")
    left.margins(0.15)
    left.set_xlabel(f"pretext task: {metric.replace('_', ' ')}{named}")
    left.set_ylabel(f"{PROTOCOLS[MAIN]}, best stage, top-1, %")
    right.set_ylabel(f"{PROTOCOLS[MAIN]}, %  (solid)")
    other.set_ylabel(f"{metric.replace('_', ' ')}{named}  (dashed)")
    if by_steps:
        right.set_xlabel("steps")
    else:
        turned = {"rotation": 25, "ha": "right"} if max(map(len, variants)) * len(variants) > 45 else {}
        right.set_xticks(range(len(variants)), variants, **turned)
        right.margins(x=0.12)
    _legend(figure, variants if by_steps else [], any(metric in row.chance for _, _, row in points))
    return figure


def _draw_chances(
    axes: "Axes", places: Sequence[float], chances: Sequence[float | None], colour: str, by_steps: bool
) -> None:
    """Draw a dotted line at what guessing gets; a short one at each variant, which has a chance level of its own."""
    if by_steps:
        if chances[0] is not None:
            axes.axhline(chances[0], color=colour, linestyle=":", linewidth=1)
        return
    for place, chance in zip(places, chances, strict=True):
        if chance is not None:
            axes.plot([place - 0.2, place + 0.2], [chance, chance], color=colour, linestyle=":", linewidth=1.6)


def _legend(figure: "Figure", variants: Sequence[str], has_chance: bool) -> None:
    from matplotlib.lines import Line2D

    labels = list(variants)
    handles = [Line2D([], [], color=COLOURS[place % len(COLOURS)], marker="o") for place in range(len(variants))]
    handles.append(Line2D([], [], color=QUIET, linestyle="-.", linewidth=1))
    labels.append(f"{PROTOCOLS[MAIN]} of random weights")
    if has_chance:
        handles.append(Line2D([], [], color=SECOND if len(variants) < 2 else QUIET, linestyle=":", linewidth=1.6))
        labels.append("chance level of the pretext task")
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8)


def _bars(estimates: Sequence[Estimate], scale: float) -> tuple[list[float], list[float]]:
    """Return how far intervals reach below and above their means; those of percentages end at 0 and 100."""
    lowest, highest = (0.0, 100.0) if scale == 100 else (-math.inf, math.inf)
    below, above = [], []
    for estimate in estimates:
        mean = scale * estimate.mean
        low, high = (mean if end is None else scale * end for end in (estimate.low, estimate.high))
        below.append(max(0.0, mean - max(lowest, low)))
        above.append(max(0.0, min(highest, high) - mean))
    return below, above


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        save_figure(figure, temporary, dpi=150)


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9fb0b7")
    axes.tick_params(color="#9fb0b7", labelcolor=QUIET, labelsize=8)
    axes.xaxis.label.set_color(QUIET)
    axes.yaxis.label.set_color(QUIET)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
