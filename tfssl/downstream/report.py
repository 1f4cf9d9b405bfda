"""The classifier's page: report.html in its folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfssl.base.statistics import wilson
from tfssl.base.words import counted
from tfssl.downstream import calibration, mistakes
from tfssl.downstream.candidates import lines
from tfssl.downstream.results import MAIN, NAMES, Finetuned, amount_of
from tfssl.frozen import metrics
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.report import figures
from tfssl.report.drawn import Drawn, Table, as_png, new_figure
from tfssl.report.page import FILE_NAME, readable, write_page
from tfssl.report.palette import QUIET, RANDOM, SERIES, TRAINED
from tfssl.report.tables import cell
from tfssl.runs import metrics_log
from tfssl.runs.classifiers import read_record
from tfssl.runs.evaluation import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(result: Finetuned, test: AnySource) -> Path:
    """Write the page of a classifier that has ended; one file that needs no other and no network.

    Args:
      result: what `finetune` found.
      test: the pictures that it was tested on, one a row of test.npz.
    """
    return write_page(result.folder / FILE_NAME, "classifier.html.jinja", contents(result, test))


def contents(result: Finetuned, test: AnySource) -> dict[str, Any]:
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
        "subtitle": f"{result.folder}; learned from {record['data']['name']}, {counted(chosen['train'], 'picture')}",
        "tiles": [
            (percent(score), figure, f"test pictures; {main.score} %"),
            (percent(chosen["validation"]), "on validation", chosen["name"]),
            (percent(chosen["error_after"]), "calibration error", f"{percent(chosen['error_before'])} before"),
        ],
        "sentences": str(result).splitlines()[1:],
        "pictures": drawn,
        "label_curve": _label_curve(result, figure),
        "labels": _labels(result, figure),
        **_classes(result),
        "confused": "" if result.several else _picture(mistakes.draw_confused, result, test, record["size"]),
        "mistakes": _picture(mistakes.draw, result, test, record["size"]),
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


def _validation(result: Finetuned) -> Drawn:
    """Draw the score of each candidate by step; the frozen probe is where they begin."""
    figure, axes = new_figure()
    begin = 100 * result.chosen["candidates"]["frozen probe"]
    axes.axhline(begin, color=QUIET, linestyle=":", linewidth=1, label="frozen probe")
    rows: list[tuple[str, int, float]] = [("frozen probe", 0, begin)]
    for place, folder in enumerate(sorted((result.folder / "candidates").glob("*"))):
        name = folder.name.replace("-", " ")
        points = [(line["step"], 100 * line["score"]) for line in lines(folder)]
        colour, line = SERIES[place % len(SERIES)], ("-", "--", ":")[place // len(SERIES) % 3]
        axes.plot(*zip((0, begin), *points, strict=True), line, color=colour, linewidth=1.4, label=name)
        rows += [(name, *point) for point in points]
    axes.set_xlabel("step")
    axes.set_ylabel("percent")
    figure.legend(loc="outside upper center", frameon=False, fontsize=7, labelcolor=QUIET)
    best = ", ".join(f"{name} {percent(score)}" for name, score in result.chosen["candidates"].items())
    return Drawn(
        figure, f"Score on the validation part by step; at best {best}", ("candidate", "step", "score %"), rows
    )


def _reliability(result: Finetuned) -> Drawn:
    """Draw how often answers are right, by their probability."""
    figure, axes = new_figure()
    with np.load(result.folder / "test.npz") as arrays:
        confidence, right, count = calibration.bins(arrays["probabilities"], arrays["targets"], result.several)
    held = count > 0
    axes.plot([0, 100], [0, 100], color=RANDOM, linewidth=1)
    axes.plot(100 * confidence[held], 100 * right[held], color=TRAINED, marker="o", markersize=3.5)
    axes.set_xlabel("probability, %")
    axes.set_ylabel("right, %")
    error = percent(result.chosen["error_after"])
    said = f"How often answers are right, by their probability: off by {error} on average; the diagonal is ideal"
    rows = list(zip((100 * confidence[held]).tolist(), (100 * right[held]).tolist(), count[held].tolist(), strict=True))
    return Drawn(figure, said, ("probability %", "right %", "answers"), rows)


def _label_curve(result: Finetuned, figure: str) -> Drawn | None:
    """Draw the score over labels, a curve a start; None where one amount was asked for alone."""
    amounts = {(row.labels_per_class, row.fraction) for row in result.rows}
    by_count = all(count is not None for count, _ in amounts)
    if len(amounts) < 2 or not (by_count or all(count is None for count, _ in amounts)):
        return None
    points = []
    for place, kind in enumerate(dict.fromkeys(row.kind for row in result.rows)):
        own = [row for row in result.rows if row.kind == kind]
        amount = [float(row.labels_per_class or 0) if by_count else 100 * (row.fraction or 1) for row in own]
        tops, below, above = (
            [100 * value for value in values]
            for values in zip(
                *((row.score.mean, row.score.mean - row.score.low, row.score.high - row.score.mean) for row in own),
                strict=True,
            )
        )
        name = NAMES.get(kind, kind)
        points.append((name, SERIES[place % len(SERIES)], amount, tops, below, above))
    unit = "labels a class" if by_count else "% of the labels"
    return figures.over_labels(points, f"{figure}, %", f"{figure} over {unit}", unit)


def _labels(result: Finetuned, figure: str) -> Table:
    """Return the scores of each start and amount of labels."""
    balanced = all(row.balanced is not None for row in result.rows)
    head = (
        *("begins from", "labels", figure, "95\u00a0% interval"),
        *("balanced",) * balanced,
        *("fine-tuned is ahead by", "95\u00a0% interval"),
    )
    main = next(row for row in reversed(result.rows) if row.kind == MAIN)
    rows = [
        (
            NAMES.get(row.kind, row.kind),
            amount_of(row) or "all",
            f"{100 * row.score.mean:.1f}",
            str(row.score),
            *(f"{100 * (row.balanced or 0):.1f}",) * balanced,
            "" if row.ahead is None else f"{100 * row.ahead.mean:.1f}",
            "" if row.ahead is None else str(row.ahead),
        )
        for row in result.rows
    ]
    return Table("scores by labels", head, rows, texts=2, marked=(result.rows.index(main),))


def _classes(result: Finetuned) -> dict[str, Any]:
    """Return the table of the classes one by one, and what its figures are."""
    with np.load(result.folder / "test.npz") as arrays:
        shares, targets = arrays["probabilities"], arrays["targets"]
    counts = targets.sum(0).astype(int)
    rows: list[tuple[str, ...]]
    if result.several:
        precisions = metrics.average_precisions(shares, targets)
        rows = [
            (name, f"{counts[place]}", cell(None if np.isnan(precisions[place]) else precisions[place]))
            for place, name in enumerate(result.classes)
        ]
        table = Table("figures of each class", ("class", "pictures", "average precision"), rows)
        return {"classes": table, "classes_said": ""}
    answers, named = targets.argmax(1), shares.argmax(1)
    pairs = np.zeros((len(result.classes), len(result.classes)), int)
    np.add.at(pairs, (answers, named), 1)
    rows = []
    for place, name in enumerate(result.classes):
        hits, wrong = int(pairs[place, place]), pairs[place].copy()
        wrong[place] = 0
        low, high = wilson(hits / counts[place], int(counts[place])) if counts[place] else (0.0, 0.0)
        rows.append(
            (
                name,
                f"{counts[place]}",
                cell(hits / counts[place] if counts[place] else None),
                f"{100 * low:.1f} to {100 * high:.1f}" if counts[place] else "",
                cell(hits / pairs[:, place].sum() if pairs[:, place].any() else None),
                f"{result.classes[wrong.argmax()]} ({wrong.max()})" if wrong.any() else "",
            )
        )
    head = ("class", "pictures", "right", "95\u00a0% interval", "right where named", "most often taken for")
    said = "Right where named: of all pictures that were given this name."
    return {"classes": Table("figures of each class", head, rows), "classes_said": said}


def _picture(draw: Callable[..., "Figure | None"], result: Finetuned, test: AnySource, size: int) -> str:
    """Return a picture of mistakes; "" where there are none."""
    with np.load(result.folder / "test.npz") as arrays:
        figure = draw(test, arrays["probabilities"], arrays["targets"], result.classes, size)
    return "" if figure is None else as_png(figure)
