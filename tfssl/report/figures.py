"""The report's figures, and figures as text that stands inside of the page."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfssl.base.figures import save_figure
from tfssl.runs.evaluation import Evaluation
from tfssl.runs.metrics_log import metrics_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = Sequence[dict[str, Any]]

SIZE = (4.4, 2.9)  # inches; small, so that its letters can still be read on a telephone
TRAINED, RANDOM, QUIET = "#1f6f8b", "#b8c4c9", "#5c6b73"


def learning_curves(lines: Lines) -> dict[str, "Figure"]:
    """Draw a figure for each metric of `metrics.jsonl`, losses first: name -> figure. {} without lines.

    A thin line goes through means over some steps each, a dot is the mean over a whole epoch.
    """
    metrics = {name for line in lines for name in metrics_of(line)}
    names = sorted(metrics, key=lambda name: ("loss" not in name, name))
    return {name: _curve(lines, name) for name in names}


def _curve(lines: Lines, name: str) -> "Figure":
    figure, axes = new_figure()
    percent = name.endswith("accuracy")
    scale = 100.0 if percent else 1.0
    ends = [(line["step"], scale * line[name]) for line in lines if name in line and line.get("epoch_end")]
    points = [(line["step"], scale * line[name]) for line in lines if name in line and not line.get("epoch_end")]
    if points:
        axes.plot(*zip(*points, strict=True), color=RANDOM, linewidth=1)
    if ends:
        axes.plot(*zip(*ends, strict=True), color=TRAINED, linewidth=1.6, marker="o", markersize=3.5)
        rises = ends[-1][1] >= ends[0][1]
        axes.annotate(
            f"{ends[-1][1]:.1f} %" if percent else f"{ends[-1][1]:.3f}",
            ends[-1],
            xytext=(0, 8 if rises else -8),
            textcoords="offset points",
            ha="right",
            va="bottom" if rises else "top",
            color=TRAINED,
            weight="bold",
        )
    axes.margins(y=0.18)
    axes.set_xlabel("step")
    axes.set_ylabel("percent" if percent else "")
    axes.grid(axis="y", color="#e4eaec")
    return figure


def stage_bars(evaluation: Evaluation, protocol: str) -> "Figure":
    """Draw top-1 of each stage, trained beside random weights, in percent, with 95 % intervals."""
    figure, axes = new_figure()
    stages = list(evaluation.trained[protocol])
    series = [("random weights", evaluation.random.get(protocol, {}), RANDOM, True)]
    series.append(("trained", evaluation.trained[protocol], TRAINED, False))
    for place, (label, scores, colour, random) in enumerate(series):
        if not scores:
            continue
        tops = [100 * scores[stage].top1 for stage in stages]
        bounds = [evaluation.interval(protocol, stage, random) for stage in stages]
        below = [max(0.0, top - 100 * low) for top, (low, _) in zip(tops, bounds, strict=True)]
        above = [max(0.0, 100 * high - top) for top, (_, high) in zip(tops, bounds, strict=True)]
        where = [number + (place - 0.5) * 0.4 for number in range(len(stages))]
        axes.bar(where, tops, 0.38, label=label, color=colour)
        axes.errorbar(where, tops, [below, above], fmt="none", ecolor=QUIET, elinewidth=1, capsize=2)
        for x, top, up in zip(where, tops, above, strict=True):
            axes.text(x, top + up + 1, f"{top:.1f}", ha="center", va="bottom", fontsize=7.5, color=QUIET)
    axes.axhline(100 * evaluation.largest_class, color=QUIET, linestyle=":", linewidth=1, label="commonest class")
    axes.set_xticks(range(len(stages)), stages)
    axes.set_ylabel(f"top-1, {evaluation.protocols[protocol].title}, %")
    axes.set_ylim(0, min(112, axes.get_ylim()[1] * 1.08))
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8, handlelength=1.4, columnspacing=1.2)
    return figure


def as_svg(figure: "Figure") -> str:
    """Return a figure as a data URI; the same figure gives the same text. Ids of several pictures cannot collide."""
    import matplotlib

    target = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tfssl"}):
        save_figure(figure, target, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(target.getvalue()).decode()


def as_png(figure: "Figure") -> str:
    """Return a figure of photos as a data URI."""
    target = io.BytesIO()
    save_figure(figure, target, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def new_figure() -> "tuple[Figure, Axes]":
    """Make an empty figure of the report's size and colours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9fb0b7")
    axes.tick_params(color="#9fb0b7", labelcolor=QUIET, labelsize=8)
    axes.xaxis.label.set_color(QUIET)
    axes.yaxis.label.set_color(QUIET)
    return figure, axes
