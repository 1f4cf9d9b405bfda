"""The classifier's page: report.html in its folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfssl.downstream import calibration
from tfssl.downstream.candidates import lines
from tfssl.downstream.results import MAIN, NAMES, Finetuned, amount_of
from tfssl.report import figures
from tfssl.report.page import readable, write_page
from tfssl.runs import metrics_log
from tfssl.runs.classifiers import read_record
from tfssl.runs.evaluation import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(result: Finetuned) -> Path:
    """Write the page of a classifier that has ended; one file that needs no other and no network."""
    return write_page(result.folder, "classifier.html.jinja", contents(result))


def contents(result: Finetuned) -> dict[str, Any]:
    """Return what the page shows, by the names that the template has for it."""
    chosen, record = result.chosen, read_record(result.folder)
    score = chosen["map"] if result.several else chosen["top1"]
    main = next(row for row in reversed(result.rows) if row.kind == MAIN)
    figure = "mean average precision" if result.several else "top-1"
    drawn = {
        "Score on the validation part, by step": _validation(result),
        "Confidence and being right, on the test part": _reliability(result),
    } | {name.replace("_", " "): each for name, each in figures.learning_curves(_log(result)).items()}
    return {
        "title": f"{len(result.classes)} classes, from {record['settings']['start']}",
        "folder": str(result.folder),
        "data": {"name": record["data"]["name"], "count": chosen["train"]},
        "tiles": [
            (percent(score), figure, f"test pictures; {main.score} %"),
            (percent(chosen["validation"]), "on validation", chosen["name"]),
            (percent(chosen["error_after"]), "calibration error", f"{percent(chosen['error_before'])} before"),
        ],
        "sentences": str(result).splitlines()[1:],
        "pictures": {caption: figures.as_svg(each) for caption, each in drawn.items()},
        "figure": figure,
        "rows": [
            {
                "kind": NAMES.get(row.kind, row.kind),
                "labels": amount_of(row) or "all",
                "score": f"{100 * row.score.mean:.1f}",
                "interval": str(row.score),
                "ahead": "" if row.ahead is None else f"{100 * row.ahead.mean:.1f}",
                "ahead_interval": "" if row.ahead is None else str(row.ahead),
                "best": row is main,
            }
            for row in result.rows
        ],
        "settings": {
            "Fine-tuning": readable(
                record["settings"]
                | {"labels": amount_of(main) or "all", "data": record["data"]["name"], "stage": record["stage"]}
            ),
            "Versions": record["versions"],
        },
    }


def _log(result: Finetuned) -> list[dict[str, Any]]:
    return metrics_log.read(result.folder)


def _validation(result: Finetuned) -> "Figure":
    """Draw the score of each candidate by step; the frozen probe is where they begin."""
    figure, axes = figures.new_figure()
    begin = 100 * result.chosen["candidates"]["frozen probe"]
    axes.axhline(begin, color=figures.QUIET, linestyle=":", linewidth=1, label="frozen probe")
    for folder in sorted((result.folder / "candidates").glob("*")):
        points = [(line["step"], 100 * line["score"]) for line in lines(folder)]
        axes.plot(*zip((0, begin), *points, strict=True), linewidth=1.4, label=folder.name.replace("-", " "))
    axes.set_xlabel("step")
    axes.set_ylabel("percent")
    figure.legend(loc="outside upper center", frameon=False, fontsize=7)
    return figure


def _reliability(result: Finetuned) -> "Figure":
    """Draw how often answers are right, by their probability."""
    figure, axes = figures.new_figure()
    with np.load(result.folder / "test.npz") as arrays:
        confidence, right, count = calibration.bins(arrays["probabilities"], arrays["targets"], result.several)
    axes.plot([0, 100], [0, 100], color=figures.RANDOM, linewidth=1)
    axes.plot(100 * confidence[count > 0], 100 * right[count > 0], color=figures.TRAINED, marker="o", markersize=3.5)
    axes.set_xlabel("probability, %")
    axes.set_ylabel("right, %")
    return figure
