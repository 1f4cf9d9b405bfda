"""What an evaluation found of places in the picture, on pages: of one run, and of runs side by side."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tfssl.report import figures
from tfssl.report.drawn import Drawn, Table, new_figure
from tfssl.report.palette import GRID, RANDOM, SERIES, TRAINED
from tfssl.runs.dense_scores import BESIDE, HEAD, TUNED, DenseMeasured, DenseScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Measured = Mapping[str, DenseMeasured]
Point = tuple[str, str, str, DenseScore]
"""Whose it is, how it learned, a colour, the score."""


def of_run(measured: Measured) -> dict[str, Drawn]:
    """Draw the networks of each protocol, beside random weights and others: caption -> figure."""
    drawn = {}
    for each in measured.values():
        colours = itertools.cycle(SERIES[1:])
        named = {name: next(colours) for name in each.beside}
        points = [
            (name, how, TRAINED if name == each.subject else named.get(name, RANDOM), score)
            for name, how, score in each.networks
        ]
        drawn[f"{each.title}: {each.figure}, with 95 % intervals."] = _points(each, points)
    return drawn


def _points(measured: DenseMeasured, points: Sequence[Point]) -> Drawn:
    figure, axes = new_figure((4.2, 1.0 + 0.4 * len(points)))
    factor, rows = measured.factor, []
    for place, (name, how, colour, score) in enumerate(points):
        at, low, high = (factor * value for value in (score.score, score.low, score.high))
        reach = [[max(0.0, at - low)], [max(0.0, high - at)]]
        axes.errorbar([at], [place], xerr=reach, fmt="o", color=colour, markersize=5, capsize=3)
        rows.append((name, how, at, low, high))
    _label(axes, [f"{figures.short(name, 24)}\n{how}" for name, how, _, _ in points], measured.figure)
    said = f"{measured.figure}: " + ", ".join(
        f"{name} {how} {measured.says(score.score)}" for name, how, _, score in points
    )
    return Drawn(figure, said, ("network", "how it learned", measured.figure, "95 % from", "to"), rows)


def _label(axes: "Axes", names: Sequence[str], figure_of: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlabel(figure_of)
    axes.grid(axis="x", color=GRID)


def table(measured: Measured) -> Table:
    """Return the figures of all networks, a row each; without rows where nothing was measured."""
    rows = [row for each in measured.values() for row in each.rows()]
    return Table("figures of places in the picture", HEAD, rows, texts=len(HEAD))


def all_figures(measured: Measured) -> dict[str, Table]:
    """Return all figures of each protocol that has several, of every joint or class too: its title -> table."""
    tables = {}
    for each in measured.values():
        columns = [(f"{name}, {how}", score) for name, how, score in each.networks]
        names = list(dict.fromkeys(figure for _, score in columns for figure in score.figures))
        rows = [
            (
                name,
                *(each.says(score.figures[name], name) if name in score.figures else "" for _, score in columns),
            )
            for name in names
        ]
        if len(rows) > 1:
            head = ("figure", *(name for name, _ in columns))
            tables[each.title] = Table(f"all figures: {each.title}", head, rows)
    return tables


Sides = Sequence[tuple[str, str, Measured]]
"""Of each run its name, the colour of its curves, and what was measured of it."""


def of_runs(sides: Sides) -> dict[str, Drawn]:
    """Draw the same of several runs, protocol by protocol: caption -> figure. Grey: random weights."""
    drawn = {}
    for protocol, held in _by_protocol(sides):
        first = held[0][2]
        points: list[Point] = []
        for way in dict.fromkeys(way for _, _, each in held for way in each.trained):
            for name, colour, each in held:
                points += [(name, way, colour, each.trained[way])] if way in each.trained else []
                if way in each.random:
                    points.append((f"random weights of {name}", BESIDE[way], RANDOM, each.random[way]))
        drawn[f"{protocol}: {first.figure}, with 95 % intervals; grey: random weights."] = _points(first, points)
    return drawn


def sentences(sides: Sides) -> Iterator[str]:
    """Say which run is ahead by each protocol, and how sure that is, where they were measured alike."""
    for protocol, held in _by_protocol(sides):
        if len(held) < 2:
            continue
        if len({(each.details["data"], each.test, each.train) for _, _, each in held}) > 1:
            yield f"By {protocol} they were not measured alike, and cannot be held against each other: data differ."
            continue
        for way in held[0][2].trained:
            found = [(name, each, each.trained[way]) for name, _, each in held if way in each.trained]
            (best, measured, score), *others = sorted(found, key=lambda one: one[2].score * (1 if one[1].lower else -1))
            how = "all of the network trained" if way == TUNED else "the head alone"
            for name, _, other in others:
                away = measured.factor * abs(score.score - other.score)
                width = measured.factor * math.hypot(*((each.high - each.low) / 2 for each in (score, other)))
                unit = "points" if measured.unit == "%" else measured.unit
                unsure = f", within the uncertainty of {width:.1f}: no difference is shown" if away <= width else ""
                ahead = f"{away:.1f} {unit} ahead{unsure}" if away else "level"
                yield (
                    f"By {protocol}, {how}, {best} has {measured.headline} {measured.says(score.score)}, {name}"
                    f" {measured.says(other.score)}: {ahead}."
                )


def _by_protocol(sides: Sides) -> Iterator[tuple[str, list[tuple[str, str, DenseMeasured]]]]:
    """Yield each protocol with the runs that were measured by it."""
    for protocol in dict.fromkeys(name for _, _, measured in sides for name in measured):
        yield protocol, [(name, colour, each[protocol]) for name, colour, each in sides if protocol in each]
