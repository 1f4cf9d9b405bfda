"""The report's figures of a run: learning curves, stages, few labels, common and rare classes."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfssl.base.specs import parse_call
from tfssl.report.drawn import Drawn, new_figure
from tfssl.report.palette import GRID, QUIET, RANDOM, SERIES, TRAINED
from tfssl.runs.evaluation import Evaluation, Score, best_stage, percent
from tfssl.runs.metrics_log import metrics_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Lines = Sequence[dict[str, Any]]

MOST = 1000
"""Points between the ends of epochs that a figure keeps the numbers of; metrics.jsonl has all."""


def learning_curves(lines: Lines) -> dict[str, Drawn]:
    """Draw a figure for each metric of `metrics.jsonl`, losses first: name -> figure. {} without lines.

    A thin line goes through means over some steps each, a dot is the mean over a whole epoch.
    """
    metrics = {name for line in lines for name in metrics_of(line)}
    names = sorted(metrics, key=lambda name: ("loss" not in name, name))
    return {name: _curve(lines, name) for name in names}


def scale_of(metric: str) -> float:
    """Return what a metric is multiplied by to be drawn: shares are in percent."""
    return 100.0 if metric.endswith("accuracy") else 1.0


def written(metric: str, value: float) -> str:
    """Write a value of a metric."""
    return percent(value) if metric.endswith("accuracy") else f"{value:.3f}"


def _curve(lines: Lines, name: str) -> Drawn:
    figure, axes = new_figure()
    scale = scale_of(name)
    held = [line for line in lines if name in line]
    ends = [(line["step"], scale * line[name]) for line in held if line.get("epoch_end")]
    points = [(line["step"], scale * line[name]) for line in held if not line.get("epoch_end")]
    if points:
        axes.plot(*zip(*points, strict=True), color=RANDOM, linewidth=1)
    if ends:
        axes.plot(*zip(*ends, strict=True), color=TRAINED, linewidth=1.6, marker="o", markersize=3.5)
        rises = ends[-1][1] >= ends[0][1]
        axes.annotate(
            written(name, ends[-1][1] / scale),
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
    axes.set_ylabel("percent" if scale > 1 else "")
    axes.grid(axis="y", color=GRID)
    shown = ends or points
    first, last = (written(name, value / scale) for _, value in (shown[0], shown[-1]))
    said = f"{name.replace('_', ' ')} by step: {first} at step {shown[0][0]:,}, {last} at step {shown[-1][0]:,}"
    kept = points[:: len(points) // MOST + 1]
    rows = [("steps", *point) for point in kept] + [("epoch", *point) for point in ends]
    return Drawn(figure, said, ("mean over", "step", name + (" %" if scale > 1 else "")), rows)


def stage_bars(evaluation: Evaluation, protocol: str) -> Drawn:
    """Draw top-1 of each stage in percent, with 95 % intervals: this network, random weights, and others beside.

    The stage that is chosen is marked. Others whose stages have other names are lines, at the stage chosen of each.
    """
    figure, axes = new_figure()
    trained, title = evaluation.trained[protocol], evaluation.protocols[protocol].title
    stages, chosen = list(trained), best_stage(trained)
    groups = {"random weights": evaluation.random.get(protocol, {}), evaluation.subject: trained}
    rivals = {each.name: each.scores[protocol] for each in evaluation.beside if protocol in each.scores}
    groups |= {name: scores for name, scores in rivals.items() if name not in groups and list(scores) == stages}
    groups = {name: scores for name, scores in groups.items() if scores}
    colours = itertools.cycle(SERIES[1:])
    width = 0.8 / len(groups)
    rows = []
    for place, (label, scores) in enumerate(groups.items()):
        own = label == evaluation.subject
        colour = TRAINED if own else RANDOM if label == "random weights" else next(colours)
        tops, below, above = _with_intervals(evaluation, scores.values())
        where = [number + (place - (len(groups) - 1) / 2) * width for number in range(len(stages))]
        axes.bar(where, tops, width * 0.95, label=short(label), color=colour)
        axes.errorbar(where, tops, [below, above], fmt="none", ecolor=QUIET, elinewidth=1, capsize=2)
        for stage, x, top, down, up in zip(stages, where, tops, below, above, strict=True):
            mark = own and stage == chosen
            if len(groups) < 3 or mark:
                text = f"{top:.1f}" + ("\nchosen" if mark else "")
                axes.text(
                    x, top + up + 1, text, ha="center", va="bottom", fontsize=7.5, color=TRAINED if mark else QUIET
                )
            rows.append((label, stage, top, top - down, top + up))
    for name, scores in rivals.items():
        if name not in groups:
            best = best_stage(scores)
            (top,), (down,), (up,) = _with_intervals(evaluation, [scores[best]])
            colour = next(colours)
            axes.axhline(top, color=colour, linewidth=1.4, linestyle="--", label=f"{short(name)} ({best})")
            rows.append((name, best, top, top - down, top + up))
    axes.axhline(100 * evaluation.largest_class, color=QUIET, linestyle=":", linewidth=1, label="commonest class")
    axes.set_xticks(range(len(stages)), stages)
    axes.set_ylabel(f"top-1, {title}, %")
    axes.set_ylim(0, min(118, axes.get_ylim()[1] * 1.14))
    legend(figure)
    said = f"Top-1 of each stage by {title}: " + ", ".join(
        f"{stage} {percent(score.top1)}" + (" (chosen)" if stage == chosen else "") for stage, score in trained.items()
    )
    return Drawn(figure, said, ("network", "stage", "top-1 %", "95 % from", "to"), rows)


def drop_at_last(evaluation: Evaluation, protocol: str) -> str:
    """Say which stage is chosen by a protocol, and how far the last one is behind it."""
    scores = evaluation.trained[protocol]
    chosen, last = best_stage(scores), list(scores)[-1]
    said = f"Chosen: {chosen}"
    if chosen == last:
        return f"{said}, the last stage." if len(scores) > 1 else f"{said}."
    points = 100 * (scores[chosen].top1 - scores[last].top1)
    words = f"{abs(points):.1f} points {'below' if points > 0 else 'above'} it" if points else "level with it"
    return f"{said}; the last stage, {last}, is {words}."


def over_several_labels(evaluation: Evaluation) -> list[dict[int, str]]:
    """Return the protocols that were asked at several numbers of labels: labels a class -> protocol, fewest first."""
    families: dict[str, dict[int, str]] = {}
    for protocol in evaluation.trained:
        name, settings = parse_call(protocol)
        if isinstance(labels := settings.pop("labels", None), int):
            families.setdefault(f"{name} {settings}", {})[labels] = protocol
    return [dict(sorted(family.items())) for family in families.values() if len(family) > 1]


def label_curves(evaluation: Evaluation) -> dict[str, Drawn]:
    """Draw top-1 over labels a class, where a protocol was asked at several such numbers: its title -> figure.

    Each network stands at the stage that is chosen of it at that number of labels.
    """
    curves = {}
    for family in over_several_labels(evaluation):
        title = evaluation.protocols[next(iter(family.values()))].title.split(" (labels=")[0]
        curves[title] = _label_curve(evaluation, title, family)
    return curves


def _label_curve(evaluation: Evaluation, title: str, protocols: Mapping[int, str]) -> Drawn:
    networks = {evaluation.subject: evaluation.trained, "random weights": evaluation.random}
    networks |= {each.name: each.scores for each in evaluation.beside if each.name not in networks}
    colours = itertools.cycle(SERIES[1:])
    points = []
    for name, scores in networks.items():
        own = {count: scores[protocol] for count, protocol in protocols.items() if scores.get(protocol)}
        if not own:
            continue
        best = [stages[best_stage(stages)] for stages in own.values()]
        tops, below, above = _with_intervals(evaluation, best)
        colour = TRAINED if name == evaluation.subject else RANDOM if name == "random weights" else next(colours)
        points.append((name, colour, list(own), tops, below, above))
    return over_labels(points, f"top-1, {title}, %", f"Top-1 by {title} over labels a class")


def over_labels(
    points: Sequence[tuple[str, str, Sequence[float], Sequence[float], Sequence[float], Sequence[float]]],
    figure_of: str,
    said: str,
    unit: str = "labels a class",
) -> Drawn:
    """Draw scores over labels, on a logarithmic axis, with 95 % intervals.

    Args:
      points: of each network its name, colour, numbers of labels, scores in percent, and how far the interval reaches
        below and above.
      figure_of: what the scores are.
      said: what is drawn, in words; the last scores are added.
      unit: of what there are so many.
    """
    figure, axes = new_figure()
    rows = []
    for name, colour, counts, tops, below, above in points:
        axes.errorbar(
            counts,
            tops,
            [below, above],
            color=colour,
            marker="o",
            markersize=3.5,
            linewidth=1.4,
            elinewidth=0.9,
            capsize=2,
            label=short(name),
        )
        each = zip(counts, tops, below, above, strict=True)
        rows += [(name, count, top, top - down, top + up) for count, top, down, up in each]
    axes.set_xscale("log")
    ticks = sorted({count for _, count, *_ in rows})
    axes.set_xticks(ticks, [f"{count:g}" for count in ticks])
    axes.minorticks_off()
    axes.set_xlabel(unit)
    axes.set_ylabel(figure_of)
    axes.grid(axis="y", color=GRID)
    legend(figure)
    ends = "; ".join(f"{name} {tops[-1]:.1f} % at {counts[-1]:g}" for name, _, counts, tops, *_ in points)
    return Drawn(figure, f"{said}: {ends}", ("network", unit, "score %", "95 % from", "to"), rows)


THIRDS = ("most labels", "fewer", "fewest")


def long_tail(evaluation: Evaluation) -> Drawn | None:
    """Draw how right common, middle and rare classes are at the chosen stage, beside random weights; None without."""
    scores, title = evaluation.trained[evaluation.main], evaluation.protocols[evaluation.main].title
    own = scores[best_stage(scores)]
    if own.thirds is None:
        return None
    random = evaluation.random.get(evaluation.main, {})
    groups = {"random weights": random[best_stage(random)].thirds if random else None, evaluation.subject: own.thirds}
    known = {name: shares for name, shares in groups.items() if shares is not None}
    figure, axes = new_figure()
    width = 0.8 / len(known)
    rows = []
    for place, (name, shares) in enumerate(known.items()):
        colour = TRAINED if name == evaluation.subject else RANDOM
        where = [number + (place - (len(known) - 1) / 2) * width for number in range(3)]
        axes.bar(where, [100 * share for share in shares], width * 0.95, label=short(name), color=colour)
        for x, share in zip(where, shares, strict=True):
            text = f"{100 * share:.1f}"
            axes.text(x, 100 * share + 1, text, ha="center", va="bottom", fontsize=7.5, color=QUIET)
        rows += [(name, third, 100 * share) for third, share in zip(THIRDS, shares, strict=True)]
    axes.set_xticks(range(3), THIRDS)
    axes.set_xlabel("thirds of the classes, by training pictures")
    axes.set_ylabel(f"right, {title}, %")
    axes.set_ylim(0, min(112, axes.get_ylim()[1] * 1.08))
    legend(figure)
    said = f"Share right by {title}, mean over classes: " + ", ".join(
        f"{percent(share)} in the third with {third}" for third, share in zip(THIRDS, own.thirds, strict=True)
    )
    return Drawn(figure, said, ("network", "third of classes with", "right %"), rows)


def legend(figure: "Figure") -> None:
    """Put a legend above what is drawn, as wide as the figure."""
    figure.legend(
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=8,
        handlelength=1.4,
        columnspacing=1.2,
        labelcolor=QUIET,
    )


def short(name: str, most: int = 32) -> str:
    """Return a name that fits into a legend: of a long path its end. A $ begins no formula."""
    return (name if len(name) <= most else f"…{name[-most + 1 :]}").replace("$", r"\$")


def _with_intervals(evaluation: Evaluation, scores: Iterable[Score]) -> tuple[list[float], list[float], list[float]]:
    """Return top-1 in percent, and how far its interval reaches below and above."""
    scores = list(scores)
    tops = [100 * score.top1 for score in scores]
    bounds = [evaluation.interval_of(score) for score in scores]
    below = [max(0.0, top - 100 * low) for top, (low, _) in zip(tops, bounds, strict=True)]
    above = [max(0.0, 100 * high - top) for top, (_, high) in zip(tops, bounds, strict=True)]
    return tops, below, above
