"""The report's figures of what was seen while a run trained: pretext against downstream."""

from collections.abc import Sequence

from tfssl.base.statistics import wilson
from tfssl.report.drawn import Drawn, new_figure
from tfssl.report.figures import Lines
from tfssl.report.palette import GRID, QUIET, RANDOM, SECOND, TRAINED
from tfssl.runs.metrics_log import metrics_of
from tfssl.runs.watch import SHARES, TITLES, Look, looks_of

COLOURS = {"probe": TRAINED, "knn": SECOND}


def watch_figures(lines: Lines) -> dict[str, Drawn]:
    """Draw what the looks of a run came to: caption -> figure. {} where there is none.

    Downstream figures by step; the effective rank by step; and each pretext accuracy, or where there is none the loss,
    against the probe, or where there were no labels against the rank.
    """
    looks = looks_of(lines)
    if not looks:
        return {}
    made = {}
    if all(name in looks[-1] for name in SHARES):
        made["what features were worth, by step; held-out pictures, 95 % intervals"] = _shares(looks)
    made["effective rank of the last stage, by step"] = _rank(looks)
    metrics = list(metrics_of(looks[-1]))
    for name in [name for name in metrics if name.endswith("accuracy")] or ["loss"]:
        caption = f"pretext against downstream: each point is a look, {name.replace('_', ' ')} over the epoch before it"
        made[caption] = _against(looks, name)
    return made


def _shares(looks: Sequence[Look]) -> Drawn:
    figure, axes = new_figure()
    steps = [look["step"] for look in looks]
    for name in SHARES:
        bounds = [wilson(look[name], look["watch"]["held_out"]) for look in looks]
        low, high = ([100 * bound[side] for bound in bounds] for side in (0, 1))
        axes.fill_between(steps, low, high, color=COLOURS[name], alpha=0.13, linewidth=0)
        shares = [100 * look[name] for look in looks]
        axes.plot(steps, shares, color=COLOURS[name], marker="o", markersize=3.5, linewidth=1.6, label=TITLES[name])
    axes.set_xlabel("step")
    axes.set_ylabel("percent")
    axes.grid(axis="y", color=GRID)
    axes.legend(frameon=False, fontsize=8, labelcolor=QUIET)
    last = ", ".join(f"{TITLES[name]} {100 * looks[-1][name]:.1f} %" for name in SHARES)
    head = ("step", *(f"{TITLES[name]} %" for name in SHARES))
    rows = [(look["step"], *(100 * look[name] for name in SHARES)) for look in looks]
    return Drawn(figure, f"What features were worth, by step; at the last look {last}", head, rows)


def _rank(looks: Sequence[Look]) -> Drawn:
    figure, axes = new_figure()
    axes.plot(
        [look["step"] for look in looks],
        [look["rank"] for look in looks],
        color=TRAINED,
        marker="o",
        markersize=3.5,
        linewidth=1.6,
    )
    axes.set_ylim(0, None)
    axes.set_xlabel("step")
    axes.set_ylabel("directions")
    axes.grid(axis="y", color=GRID)
    said = f"Effective rank by step: {looks[0]['rank']:.1f} at first, {looks[-1]['rank']:.1f} at the last look"
    return Drawn(figure, said, ("step", "effective rank"), [(look["step"], look["rank"]) for look in looks])


def _against(looks: Sequence[Look], metric: str) -> Drawn:
    figure, axes = new_figure()
    looks = [look for look in looks if metric in look]  # before training there is none
    figure_of = "probe" if "probe" in looks[-1] else "rank"
    x_scale, y_scale = (100.0 if name.endswith(("accuracy", "probe")) else 1.0 for name in (metric, figure_of))
    x, y = [x_scale * look[metric] for look in looks], [y_scale * look[figure_of] for look in looks]
    axes.plot(x, y, color=RANDOM, linewidth=1)
    axes.scatter(x, y, color=TRAINED, s=14, zorder=2)
    for place in sorted({0, len(looks) - 1}):
        axes.annotate(
            f"epoch {looks[place]['epoch']}",
            (x[place], y[place]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=QUIET,
        )
    axes.margins(0.14)
    axes.set_xlabel(metric.replace("_", " ") + (", %" if x_scale > 1 else ""))
    axes.set_ylabel(TITLES[figure_of] + (", %" if y_scale > 1 else ""))
    axes.grid(color=GRID)
    head = ("epoch", axes.get_xlabel(), axes.get_ylabel())
    rows = [(look["epoch"], *point) for look, point in zip(looks, zip(x, y, strict=True), strict=True)]
    return Drawn(figure, f"{head[2]} against {head[1]}, a point a look", head, rows)
