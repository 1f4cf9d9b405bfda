"""`write_report`: gathers what a run's folder holds and puts it on one page."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfssl.base.environment import VERSION
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, text_of, write_json
from tfssl.base.words import counted
from tfssl.report import dense_figures, figures, gallery, tables
from tfssl.report.drawn import Drawn, Table, as_png
from tfssl.report.rate_figure import rate_figure
from tfssl.report.rendering import render
from tfssl.report.watch_figures import watch_figures
from tfssl.runs import dense_scores, metrics_log, watch
from tfssl.runs.evaluation import RANKS, TRAINED, Evaluation, best_stage, percent, read_evaluation
from tfssl.runs.run import Run, load_run

FILE_NAME = "report.html"
PUZZLES_NAME = "puzzles.json"
"""In a run's folder, its puzzles as they are drawn on its page."""
PUZZLES = 6


def write_report(run: Run | str | Path, to: Path | None = None) -> Path:
    """Write `report.html` into a run's folder: one file that needs no other and no network.

    Settings, learning curves, what was watched, puzzles with the network's answers, and, where `tfssl.evaluate` has
    run, each stage beside random weights, few labels, each class, and what came of networks that were trained on. What
    is missing is said on the page, with the command that makes it.

    Args:
        run: a run (`tfssl.load_run`) or its folder.
        to: where else it is written.

    Returns:
        Where the page is.

    Raises:
        UserError: the folder is no run, or cannot be written.
    """
    run = load_run(run)
    return write_page(to or run.folder / FILE_NAME, "page.html.jinja", contents(run))


def write_page(path: Path, template: str, contents: Mapping[str, Any]) -> Path:
    """Write a page of one of the templates here.

    Args:
        path: of the file.
        template: its name; it extends `base.html.jinja`.
        contents: what it shows, by the names that it has for it.

    Returns:
        Where the page is.
    """
    page = render(template, contents)
    with atomic_write(path) as temporary:
        temporary.write_text(text_of(page), encoding="utf-8")
    return path


def contents(run: Run) -> dict[str, Any]:
    """Return what the page shows, by the names that the template has for it."""
    lines = metrics_log.read(run.folder)
    evaluation, trained = read_evaluation(run.folder), read_evaluation(run.folder, kind=TRAINED)
    puzzles, no_puzzles = _puzzles(run)
    alone = read_evaluation(run.folder, kind=RANKS)
    dense = dense_scores.read(run.folder)
    kept = [each for each in (evaluation, trained, alone) if each]
    said = [sentence for each in kept for sentence in dataclasses.replace(each, dense={}).sentences()]
    said += [sentence for measure in dense.values() for sentence in measure.sentences()]
    measured = [each for each in (evaluation, trained) if each]
    ranks = next((each.ranks for each in (evaluation, alone) if each and each.ranks), {})
    return {
        "title": title_of(run),
        "folder": str(run.folder),
        "subtitle": f"{run.folder}; learned from {run.data['name']}, {run.data['count']:,} {items_of(run)}",
        "sentences": [*training_sentences(run, lines), *said],
        "tiles": _tiles(run, lines, evaluation),
        "curves": figures.learning_curves(lines),
        **_range_test(run),
        "watched": watch_figures(lines),
        "gallery": gallery.kept(run.folder),
        "puzzles": puzzles,
        "no_puzzles": no_puzzles,
        "evaluation": evaluation,
        "words": run.words,
        "bars": _bars(evaluation) if evaluation else {},
        "stages": tables.stages(evaluation) if evaluation else None,
        "label_curves": {name: drawn for each in measured for name, drawn in figures.label_curves(each).items()},
        "long_tail": figures.long_tail(evaluation) if evaluation else None,
        "classes": tables.classes(evaluation) if evaluation else None,
        "trained": trained,
        "trained_stages": tables.stages(trained) if trained else None,
        "rivals": Table(
            "figures beside others", tables.RIVALS, [row for each in measured for row in tables.rivals(each)], texts=2
        ),
        "ranks": tables.ranks(ranks),
        "dense": dense_figures.of_run(dense),
        "dense_table": dense_figures.table(dense),
        "dense_all": dense_figures.all_figures(dense),
        "dense_notes": [f"{measure.title}: {note}" for measure in dense.values() for note in measure.notes],
        "settings": {
            "Pretraining": readable(
                run.settings.as_json() | {"data": run.data["name"], "fingerprint": run.data["fingerprint"]}
            ),
            "Evaluation": readable(evaluation.details) if evaluation else {},
            "Evaluation by training": readable(trained.details) if trained else {},
            "Versions": run.versions,
        },
    }


def title_of(run: Run) -> str:
    """Return what a run is, in words: its tasks and its trunk."""
    return f"{run.settings.tasks} on {run.settings.trunk}" if run.words is None else run.settings.tasks


def items_of(run: Run) -> str:
    """Return what a run learned from, as a noun."""
    return "passages" if run.words else "pictures"


def training_sentences(run: Run, lines: list[dict[str, Any]]) -> list[str]:
    """Say what pretraining came to, in plain words."""
    settings = run.settings
    total = settings.steps
    if not run.result:
        done = max((line["step"] for line in lines), default=0)
        return [
            f"The run has not ended: {done:,} of {counted(total, 'step')} are done. Go on by the command that began it."
        ]
    if run.words:
        network = f"A table of {run.words['count']:,} words"
        source, items = f"{run.data['name']} ({run.data['count']:,} passages)", "passage"
    else:
        network, source, items = f"The trunk {settings.trunk}", _pictures(run), "picture"
    said = [
        f"{network} learned {settings.tasks} from {source} in "
        f"{counted(run.result['steps'], 'step')} of {counted(settings.batch_size, items)}."
    ]
    chances = {task.name: task.chance_accuracy(settings.batch_size) for task in run.tasks()}
    if settings.start:
        said.append(f"It began with the weights {settings.start['weights']}.")
    for name, value in run.result["metrics"].items():
        if name.endswith("_accuracy"):
            chance = chances.get(name.removesuffix("_accuracy"))
            beside = "" if chance is None else f"; guessing gets {percent(chance)}"
            said.append(
                f"Over the last epoch it answered {percent(value)} of the {name.removesuffix('_accuracy')} puzzles "
                f"right, counted on the pictures that it learned from{beside}."
            )
    broken = run.result.get("broken_files", 0)
    if broken:
        said.append(f"{counted(broken, 'picture')} could not be read and took no part: broken.txt has the names.")
    said += watch.sentences(watch.looks_of(lines))
    if stopped := run.result.get("stopped"):
        said.append(f"It was ended before its last epoch. {stopped[0].upper()}{stopped[1:]}.")
    return said


def _range_test(run: Run) -> dict[str, Any]:
    """Return the figure of the range test that chose the learning rate, and what it chose; None and "" without."""
    found = run.prepared.get("learning_rate")
    if not found:
        return {"range_test": None, "range_test_said": ""}
    from tfssl.multitask.rate_range import sentence

    return {"range_test": rate_figure(found), "range_test_said": sentence(found)}


def readable(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as a person writes them; those that are not set are left out."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Mapping):
            return ", ".join(
                f"{key} ({text(inner)})" if isinstance(inner, Mapping) else f"{key} {inner}"
                for key, inner in value.items()
            )
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    return {key: text(value) for key, value in settings.items() if value not in (None, {})}


def _pictures(run: Run) -> str:
    return f"{run.data['name']} ({counted(run.data['count'], 'picture')}, labels unused)"


def _puzzles(run: Run) -> tuple[dict[str, str], str]:
    """Return pictures by task name, and why there are none.

    A run that has ended keeps them: its data need not be opened again, nor its networks built, each time that
    something is measured and the page is written anew.
    """
    from tfssl.report.puzzles import draw

    kept = run.folder / PUZZLES_NAME
    this = {"format": 1, "tfssl": VERSION, "count": PUZZLES}
    if run.result and kept.is_file():
        with contextlib.suppress(ValueError):  # a damaged file is written anew
            content = json.loads(kept.read_text())
            if content.items() >= this.items():  # another version may draw them otherwise
                return content["pictures"], ""
    try:
        pictures = {name: as_png(figure) for name, figure in draw(run, count=PUZZLES).items()}
    except UserError as problem:
        return {}, str(problem)
    if run.result:
        with contextlib.suppress(UserError, OSError):  # a page may be wanted elsewhere, of a folder that is only read
            write_json(kept, this | {"pictures": pictures})
    return pictures, ""


def _tiles(run: Run, lines: list[dict[str, Any]], evaluation: Evaluation | None) -> list[tuple[str, str, str]]:
    """Return the figures at the top of the page: (value, what it is, what to hold it against)."""
    ends = [line for line in lines if line.get("epoch_end")]
    tiles = []
    for name, value in (ends[-1] if ends else {}).items():
        if name.endswith("_accuracy"):
            tiles.append((percent(value), name.replace("_", " "), "last epoch, training pictures"))
    if evaluation:
        scores, best = evaluation.trained[evaluation.main], evaluation.best_stage
        low, high = evaluation.interval(evaluation.main, best)
        what = f"{evaluation.protocols[evaluation.main].title} on {best}"
        tiles.append((percent(scores[best].top1), what, f"{100 * low:.1f} to {100 * high:.1f} %"))
        if evaluation.main in evaluation.random:
            rivals = evaluation.random[evaluation.main]
            rival = best_stage(rivals)
            tiles.append((percent(rivals[rival].top1), "random weights", f"{rival} of the same trunk, chosen alike"))
        stage = evaluation.stage_to_export()
        for protocol in evaluation.measured_as_exported(stage)[:1]:
            if protocol != evaluation.main:
                share = evaluation.trained[protocol][stage].top1
                tiles.append(
                    (percent(share), f"{evaluation.protocols[protocol].title} on {stage}", "as export gives it")
                )
    if run.result:
        unit = "words" if run.words else "images"
        tiles.append((f"{run.result[f'{unit}_per_second']:,.0f}", f"{unit} a second", "while training"))
    return tiles


def _bars(evaluation: Evaluation) -> dict[str, Drawn]:
    """Return a figure of the stages for each protocol, by its caption; many numbers of labels are a curve instead."""
    over_labels = {protocol for family in figures.over_several_labels(evaluation) for protocol in family.values()}
    drawn = [protocol for protocol in evaluation.of_features if protocol not in over_labels]
    return {
        f"Top-1 by {evaluation.protocols[protocol].title}; the thin lines are 95 % intervals."
        f" {figures.drop_at_last(evaluation, protocol)}": figures.stage_bars(evaluation, protocol)
        for protocol in drawn or [evaluation.main]
    }
