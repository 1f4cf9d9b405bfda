"""Runs side by side: their figures, the settings that differ, curves over each other, best stages with intervals."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfssl.base.words import counted
from tfssl.report import dense_figures, figures
from tfssl.report.drawn import Drawn, Table, new_figure
from tfssl.report.page import readable
from tfssl.report.palette import GRID, RANDOM, SERIES
from tfssl.report.tables import cell
from tfssl.runs import dense_scores, metrics_log
from tfssl.runs.evaluation import TRAINED, Evaluation, Score, best_stage, percent, read_evaluation
from tfssl.runs.metrics_log import metrics_of
from tfssl.runs.run import Run
from tfssl.runs.watch import SHARES, TITLES, looks_of
from tfssl.tasks import parse_tasks

ALIKE = ("data", "test", "test_images", "train_images", "split_seed", "long_tail", "frames", "classes")
"""What evaluations must have in common, if their figures are to be held against each other."""


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the runs.

    Attributes:
      run: the run.
      name: what it is called among the others.
      lines: of metrics.jsonl.
      evaluation: its newest; None where it was not evaluated.
      protocol: the one that it is compared by; "" without evaluation.
      style: colour and line of its curves.
    """

    run: Run
    name: str
    lines: Sequence[dict[str, Any]]
    evaluation: Evaluation | None
    protocol: str
    style: dict[str, Any]

    @property
    def stage(self) -> str:
        """The stage that is chosen."""
        assert self.evaluation is not None
        return best_stage(self.evaluation.trained[self.protocol])

    @property
    def score(self) -> Score:
        """That of the chosen stage."""
        assert self.evaluation is not None
        return self.evaluation.trained[self.protocol][self.stage]

    @property
    def random(self) -> Score | None:
        """That of random weights, at the stage chosen alike; None where they were not measured."""
        assert self.evaluation is not None
        scores = self.evaluation.random.get(self.protocol)
        return scores[best_stage(scores)] if scores else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the score, 0 .. 1."""
        assert self.evaluation is not None
        return self.evaluation.interval_of(self.score)


def sides_of(runs: Sequence[Run]) -> list[Side]:
    """Gather what the folders of the runs hold."""
    found = [read_evaluation(run.folder) or read_evaluation(run.folder, kind=TRAINED) for run in runs]
    known = [evaluation for evaluation in found if evaluation is not None]
    common = [name for name in known[0].trained if all(name in each.trained for each in known)] if known else []
    sides = []
    for place, (run, name, evaluation) in enumerate(zip(runs, names_of(runs), found, strict=True)):
        own = "" if evaluation is None else common[0] if common else evaluation.main
        style = {"color": SERIES[place % len(SERIES)], "linestyle": ("-", "--", ":", "-.")[place // len(SERIES) % 4]}
        sides.append(Side(run, name, metrics_log.read(run.folder), evaluation, own, style))
    return sides


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with as many of the folders above as tell them apart."""
    parts = [Path(run.folder).resolve().parts for run in runs]
    for count in range(1, max(map(len, parts))):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return ["/".join(each) for each in parts]


def contents(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the page shows, by the names that the template has for it."""
    sides = sides_of(runs)
    measured = [side for side in sides if side.evaluation is not None]
    dense = [(side.name, side.style["color"], dense_scores.read(side.run.folder)) for side in sides]
    return {
        "title": f"{len(runs)} runs side by side",
        "subtitle": ", ".join(str(run.folder) for run in runs),
        "tiles": [
            (
                percent(side.score.top1),
                side.name,
                f"{_title(side)} on {side.stage}; {100 * side.interval[0]:.1f} to {100 * side.interval[1]:.1f} %",
            )
            for side in measured
        ],
        "sentences": [*sentences(sides), *dense_figures.sentences(dense)],
        "figures": _figures(sides),
        "best": best_stages(measured) if measured else None,
        "stages": all_stages(measured) if measured else None,
        "dense": dense_figures.of_runs(dense),
        "settings_that_differ": differences(sides),
        "curves": curves(sides),
        "settings": {},
    }


def sentences(sides: Sequence[Side]) -> list[str]:
    """Say in plain words what each run came to, which is ahead, and whether they may be compared."""
    said = []
    for side in sides:
        done = max((line["step"] for line in side.lines), default=0)
        state = (
            ""
            if side.run.result
            else f"; it has not ended: {done:,} of {counted(side.run.settings.steps, 'step')} are done"
        )
        what = f"{side.name} learned {side.run.settings.tasks} from {side.run.data['name']}{state}."
        if side.evaluation is None:
            how = f" It has not been evaluated: tfssl evaluate {side.run.folder} LABELLED_DATA"
            said.append(what + ("" if side.run.words or dense_scores.read(side.run.folder) else how))
            continue
        random = "" if side.random is None else f"; random weights {percent(side.random.top1)}"
        low, high = side.interval
        said.append(
            f"{what} {_capital(_title(side))} on {side.stage} names {percent(side.score.top1)} right (95 % interval"
            f" {100 * low:.1f} to {percent(high)}){random}."
        )
    measured = [side for side in sides if side.evaluation is not None]
    if len(measured) < 2:
        return said
    if apart := _unlike(measured):
        return [*said, f"They were not measured alike, and cannot be held against each other: {apart} differ."]
    first, *others = sorted(measured, key=lambda side: -side.score.top1)
    for other in others:
        points = 100 * (first.score.top1 - other.score.top1)
        width = 100 * math.hypot(*(_half(side) for side in (first, other)))
        if not points:
            said.append(f"{first.name} and {other.name} are level.")
        else:
            unsure = f", within the uncertainty of {width:.1f}: no difference is shown" if points <= width else ""
            said.append(f"{first.name} is {points:.1f} points ahead of {other.name}{unsure}.")
    said.append(
        "The uncertainty is that of test pictures (of few labels, that of draws of them), as if each run had pictures"
        " of its own, which is cautious; another seed of the training may move figures by more."
    )
    return said


def _half(side: Side) -> float:
    low, high = side.interval
    return (high - low) / 2


def _title(side: Side) -> str:
    assert side.evaluation is not None
    return side.evaluation.protocols[side.protocol].title


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _unlike(sides: Sequence[Side]) -> str:
    """Name what evaluations differ in, so that they say nothing of each other; "" where they are alike."""

    def fact(side: Side, name: str) -> Any:
        assert side.evaluation is not None
        return getattr(side.evaluation, name, None) if name in _FIELDS else side.evaluation.details.get(name)

    apart = [name.replace("_", " ") for name in ALIKE if len({str(fact(side, name)) for side in sides}) > 1]
    return ", ".join((["protocol"] if len({side.protocol for side in sides}) > 1 else []) + apart)


_FIELDS = {field.name for field in dataclasses.fields(Evaluation)}


def _figures(sides: Sequence[Side]) -> Table:
    """Return a row a run: what it is and what it came to."""
    metrics = list(dict.fromkeys(name for side in sides for name in side.run.result.get("metrics", {})))
    shown = [name for name in metrics if name.endswith("accuracy")] + [name for name in metrics if name == "loss"]
    head = ("run", "tasks", "trunk", "stage", "top-1", "95\u00a0% interval", "random weights", "steps")
    rows = []
    for side in sides:
        result, settings = side.run.result, side.run.settings
        row: tuple[str, ...] = (side.name, settings.tasks, "" if side.run.words else settings.trunk)
        if side.evaluation is None:
            row += ("", "", "", "")
        else:
            low, high = side.interval
            row += (side.stage, cell(side.score.top1), f"{100 * low:.1f} to {100 * high:.1f}")
            row += (cell(side.random.top1 if side.random else None),)
        values = [(name, result.get("metrics", {}).get(name)) for name in shown]
        speed = result.get("images_per_second")
        row += (f"{result.get('steps', 0):,}",)
        row += tuple("" if value is None else figures.written(name, value) for name, value in values)
        rows.append((*row, "" if speed is None else f"{speed:,.0f}"))
    head += (*(name.replace("_", " ") for name in shown), "images a second")
    return Table("figures of each run", head, rows, texts=4)


def differences(sides: Sequence[Side]) -> Table:
    """Return the settings, data and versions that are not the same in all runs, a row each."""
    given = [
        readable(
            side.run.settings.as_json()
            | {"data": side.run.data["name"], "fingerprint of the data": side.run.data["fingerprint"][:12]}
            | side.run.versions
        )
        for side in sides
    ]
    names = dict.fromkeys(name for each in given for name in each)
    rows = [(name.replace("_", " "), *(each.get(name, "-") for each in given)) for name in names]
    apart = [row for row in rows if len(set(row[1:])) > 1]
    return Table(
        "settings that differ", ("setting", *(side.name for side in sides)), apart, len(sides) + 1, sorts=False
    )


def best_stages(sides: Sequence[Side]) -> Drawn:
    """Draw the chosen stage of each run with its 95 % interval, and that of random weights, grey."""
    figure, axes = new_figure((4.2, 1.0 + 0.42 * len(sides)))
    rows = []
    for place, side in enumerate(sides):
        assert side.evaluation is not None
        each = [(side.name, side.score, side.style["color"], 0.0)]
        each += [("random weights", side.random, RANDOM, 0.22)] if side.random else []
        for name, score, colour, down in each:
            top = 100 * score.top1
            low, high = (100 * end for end in side.evaluation.interval_of(score))
            reach = [[max(0.0, top - low)], [max(0.0, high - top)]]
            axes.errorbar([top], [place + down], xerr=reach, fmt="o", color=colour, markersize=5, capsize=3)
            rows.append((side.name, "this run" if name == side.name else name, side.protocol, top, low, high))
    axes.set_yticks(range(len(sides)), [f"{figures.short(side.name)}\n{side.stage}" for side in sides])
    axes.set_ylim(len(sides) - 0.45, -0.45)
    axes.set_xlabel("top-1, %")
    axes.grid(axis="x", color=GRID)
    said = "Top-1 at the chosen stage: " + ", ".join(f"{side.name} {percent(side.score.top1)}" for side in sides)
    return Drawn(figure, said, ("run", "weights", "protocol", "top-1 %", "95 % from", "to"), rows)


def all_stages(sides: Sequence[Side]) -> Drawn:
    """Draw top-1 of all stages of each run, from the first to the last; the chosen one is a large dot."""
    figure, axes = new_figure()
    rows = []
    named = [list(side.evaluation.trained[side.protocol]) for side in sides if side.evaluation is not None]
    for side, stages in zip(sides, named, strict=True):
        assert side.evaluation is not None
        tops = [100 * side.evaluation.trained[side.protocol][stage].top1 for stage in stages]
        axes.plot(
            range(len(stages)),
            tops,
            marker="o",
            markersize=3,
            linewidth=1.4,
            label=figures.short(side.name),
            **side.style,
        )
        chosen = stages.index(side.stage)
        axes.plot([chosen], [tops[chosen]], marker="o", markersize=7, color=side.style["color"])
        rows += [(side.name, stage, top) for stage, top in zip(stages, tops, strict=True)]
    longest = max(named, key=len)
    same = all(stages == longest[: len(stages)] for stages in named)
    axes.set_xticks(range(len(longest)), longest if same else [str(place + 1) for place in range(len(longest))])
    axes.set_xlabel("" if same else "stage, from the first on")
    axes.set_ylabel("top-1, %")
    axes.grid(axis="y", color=GRID)
    figures.legend(figure)
    said = "Top-1 by stage: " + "; ".join(f"{side.name} is best at {side.stage}" for side in sides)
    return Drawn(figure, said, ("run", "stage", "top-1 %"), rows)


def curves(sides: Sequence[Side]) -> dict[str, Drawn]:
    """Draw what runs came to, over each other: caption -> figure. Means over epochs, and what they were watched at.

    By step; by pictures where the batches differ.
    """
    names = sorted({name for side in sides for line in side.lines for name in metrics_of(line)})
    ends = {side.name: _ends_of(side, names) for side in sides}
    drawn = {}
    for name in sorted(names, key=lambda name: "loss" not in name):
        lines = {run: [line for line in found if name in line] for run, found in ends.items()}
        if any(lines.values()):
            drawn[name.replace("_", " ")] = _over_each_other(sides, lines, name, figures.scale_of(name))
    for name in SHARES:
        looks = {side.name: [look for look in looks_of(side.lines) if name in look] for side in sides}
        if any(looks.values()):
            drawn[f"{TITLES[name]}, watched while it trained"] = _over_each_other(sides, looks, name, 100.0)
    return drawn


def _ends_of(side: Side, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the lines of the ends of epochs; the loss of a run of one task is that task's, where others log it so."""
    ends = [line for line in side.lines if line.get("epoch_end")]
    tasks = parse_tasks(side.run.settings.tasks)
    own = f"{tasks[0].name}_loss"
    if len(tasks) > 1 or own not in names:
        return ends
    return [line | {own: line["loss"]} for line in ends]


def _over_each_other(
    sides: Sequence[Side], lines: Mapping[str, Sequence[Mapping[str, Any]]], name: str, scale: float
) -> Drawn:
    figure, axes = new_figure()
    batches = {side.run.settings.batch_size for side in sides}
    unit = "step" if len(batches) == 1 else "pictures"
    rows = []
    for side in (side for side in sides if lines[side.name]):
        each = 1 if unit == "step" else side.run.settings.batch_size
        points = [(line["step"] * each, scale * line[name]) for line in lines[side.name]]
        axes.plot(
            *zip(*points, strict=True),
            marker="o",
            markersize=3,
            linewidth=1.4,
            label=figures.short(side.name),
            **side.style,
        )
        rows += [(side.name, *point) for point in points]
    axes.set_xlabel(unit)
    axes.set_ylabel("percent" if scale > 1 else "")
    axes.grid(axis="y", color=GRID)
    figures.legend(figure)
    ends = {row[0]: row[2] for row in rows}
    said = f"{name.replace('_', ' ')} by {unit}; at last " + ", ".join(f"{one} {end:.4g}" for one, end in ends.items())
    return Drawn(figure, said, ("run", unit, name + (" %" if scale > 1 else "")), rows)
