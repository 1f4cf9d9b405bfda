"""The page of a network of a dense target: report.html in its folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfssl.apply.dense_drawing import DRAW
from tfssl.apply.predict_dense import finder
from tfssl.base.words import counted
from tfssl.downstream.candidates import lines
from tfssl.downstream.dense.base import DenseTarget
from tfssl.downstream.dense.data import Annotated
from tfssl.downstream.dense.results import NAMES, DenseFinetuned
from tfssl.downstream.results import MAIN, amount_of
from tfssl.pipelines import batches
from tfssl.report import figures
from tfssl.report.drawn import Drawn, Table, as_png, new_figure
from tfssl.report.page import FILE_NAME, readable, write_page
from tfssl.report.palette import QUIET, SERIES, TRAINED
from tfssl.runs import metrics_log
from tfssl.runs.classifiers import read_record
from tfssl.runs.dense import load_dense

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
"""Test pictures on the page, spread over the part."""
DRAWN = 192
"""Pixels of a side of each."""


def write_dense_report(result: DenseFinetuned, target: DenseTarget, test: Annotated) -> Path:
    """Write the page of a network that has ended; one file that needs no other and no network.

    Args:
      result: what `finetune` found.
      target: what was learned.
      test: the pictures that it was tested on, with their answers.
    """
    return write_page(result.folder / FILE_NAME, "dense.html.jinja", contents(result, target, test))


def contents(result: DenseFinetuned, target: DenseTarget, test: Annotated) -> dict[str, Any]:
    """Return what the page shows, by the names that the template has for it."""
    chosen, record = result.chosen, read_record(result.folder)
    main = next(row for row in reversed(result.rows) if row.kind == MAIN)
    drawn = {f"{result.headline} on the validation part, by step": _validation(result)}
    if chosen["curve"]:
        drawn["Share of joints that are found within a distance, on the test part"] = _curve(result)
    log = metrics_log.read(result.folder)
    drawn |= {name.replace("_", " "): each for name, each in figures.learning_curves(log).items()}
    better = chosen["validation"] * (-1 if result.lower else 1)
    return {
        "title": f"{target.what}, from {record['settings']['start']}",
        "subtitle": f"{result.folder}; learned from {record['data']['name']}, {counted(chosen['train'], 'picture')}",
        "tiles": [
            (result.says(chosen["score"]), result.headline, f"test pictures; {result.interval(main.score)}"),
            (result.says(better), "on validation", chosen["name"]),
        ],
        "sentences": str(result).splitlines()[1:],
        "pictures": drawn,
        "gallery": as_png(gallery(result.folder, target, test)),
        "gallery_said": "Test pictures: as they are, with the answers that are known, and as the network says",
        "labels": _labels(result),
        "figures": Table(
            "figures of the test part",
            ("figure", "value"),
            [(name, result.says(value, name)) for name, value in chosen["figures"].items()],
        ),
        "settings": {
            "Fine-tuning": readable(
                record["settings"]
                | {"labels": amount_of(main) or "all", "data": record["data"]["name"], "stage": record["stage"]}
            ),
            "Versions": record["versions"],
        },
    }


def _validation(result: DenseFinetuned) -> Drawn:
    """Draw the headline figure of each candidate by step."""
    figure, axes = new_figure()
    factor = (100 if result.unit == "%" else 1) * (-1 if result.lower else 1)
    rows: list[tuple[str, int, float]] = []
    for place, folder in enumerate(sorted((result.folder / "candidates").glob("*"))):
        name = folder.name.replace("-", " ")
        points = [(line["step"], factor * line["score"]) for line in lines(folder)]
        colour, line = SERIES[place % len(SERIES)], ("-", "--", ":")[place // len(SERIES) % 3]
        axes.plot(*zip(*points, strict=True), line, color=colour, linewidth=1.4, label=name)
        rows += [(name, *point) for point in points]
    axes.set_xlabel("step")
    unit = "percent" if result.unit == "%" else result.unit
    axes.set_ylabel(unit)
    figure.legend(loc="outside upper center", frameon=False, fontsize=7, labelcolor=QUIET)
    tried = result.chosen["candidates"].items()
    best = ", ".join(f"{name} {result.says(-score if result.lower else score)}" for name, score in tried)
    said = f"{result.headline} on the validation part by step; at best {best}"
    return Drawn(figure, said, ("candidate", "step", unit), rows)


def _curve(result: DenseFinetuned) -> Drawn:
    figure, axes = new_figure()
    at, shares = zip(*result.chosen["curve"], strict=True)
    axes.plot(at, [100 * share for share in shares], color=TRAINED, marker="o", markersize=3.5)
    axes.set_xlabel("distance, in torso lengths or sides of the person's box")
    axes.set_ylabel("percent")
    axes.set_ylim(0, 100)
    score = result.says(result.chosen["score"])
    said = f"Share of joints that are found within a distance; {result.headline} is {score}"
    rows = [(one, 100 * other) for one, other in zip(at, shares, strict=True)]
    return Drawn(figure, said, ("distance", "found %"), rows)


def _labels(result: DenseFinetuned) -> Table:
    """Return the figure of each start and amount of labels."""
    unit = "%" if result.unit == "%" else result.unit
    head = ("begins from", "labels", f"{result.headline}, {unit}", "95\u00a0% interval", "fine-tuned is better by",
            "95\u00a0% interval")  # fmt: skip
    factor = 100 if result.unit == "%" else 1
    main = next(row for row in reversed(result.rows) if row.kind == MAIN)
    rows = [
        (
            NAMES.get(row.kind, row.kind),
            amount_of(row) or "all",
            f"{factor * row.score.mean:.1f}",
            result.interval(row.score),
            "" if row.ahead is None else f"{factor * row.ahead.mean:.1f}",
            "" if row.ahead is None else result.interval(row.ahead),
        )
        for row in result.rows
    ]
    return Table("figures by labels", head, rows, texts=2, marked=(result.rows.index(main),))


def gallery(folder: Path, target: DenseTarget, test: Annotated) -> "Figure":
    """Draw test pictures: each as it is, with its answer, and with what the network says."""
    from matplotlib.figure import Figure

    dense = load_dense(folder)
    numbers = np.unique(np.linspace(0, test.count - 1, min(SHOWN, test.count)).round().astype(int))
    part = test.subset(numbers, test.source.name)
    (seen,) = batches.plain(part.source, dense.size, len(numbers))
    (large,) = batches.plain(part.source, max(DRAWN, dense.size), len(numbers))
    found = {name: each.numpy() for name, each in finder(dense)(seen["image"]).items()}
    read = target.answer_reader(part, dense.size)
    index = tf.range(len(numbers), dtype=tf.int64)
    answers = read(index, tf.constant(part.source.regions), tf.zeros([len(numbers)], tf.bool)).numpy()
    draw = DRAW[target.name]
    figure = Figure(figsize=(3 * 1.7 * 2, 1.75 * -(-len(numbers) // 2)), layout="constrained")
    places = figure.subplots(-(-len(numbers) // 2), 6, squeeze=False).reshape(-1, 3)
    for row in places:
        for axes in row:
            axes.set_axis_off()
    for number, (row, image) in enumerate(zip(places, large["image"].numpy(), strict=False)):
        own = {name: each[number] for name, each in found.items()}
        shown = (image, draw(image, target.as_found(answers[number]), target.names), draw(image, own, target.names))
        for axes, pixels, title in zip(row, shown, ("picture", "answer", "network"), strict=True):
            axes.imshow(pixels)
            if number < 2:
                axes.set_title(title, fontsize=9)
    return figure
