"""`write_report`: gathers what a run's folder holds and puts it on one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, text_of
from tfssl.report import figures
from tfssl.runs import metrics_log
from tfssl.runs.evaluation import Evaluation, percent, read_evaluation
from tfssl.runs.run import Run, load_run

FILE_NAME = "report.html"
PUZZLES = 6


def write_report(run: Run | str | Path) -> Path:
    """Write `report.html` into a run's folder: one file that needs no other and no network.

    Settings, learning curves, puzzles with the network's answers, and, where `tfssl.evaluate` has run, each stage
    beside random weights. What is missing is said on the page, with the command that makes it.

    Args:
        run: a run (`tfssl.load_run`) or its folder.

    Returns:
        Where the page is.

    Raises:
        UserError: the folder is no run, or cannot be written.
    """
    run = load_run(run)
    return write_page(run.folder, "page.html.jinja", contents(run))


def write_page(folder: Path, template: str, contents: Mapping[str, Any]) -> Path:
    """Write `report.html` into a folder, of one of the templates here.

    Args:
        folder: of a run, or of a classifier.
        template: its name; it extends `base.html.jinja`.
        contents: what it shows, by the names that it has for it.

    Returns:
        Where the page is.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfssl.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    page = environment.get_template(template).render(contents)
    path = folder / FILE_NAME
    with atomic_write(path) as temporary:
        temporary.write_text(text_of(page), encoding="utf-8")
    return path


def contents(run: Run) -> dict[str, Any]:
    """Return what the page shows, by the names that the template has for it."""
    lines = metrics_log.read(run.folder)
    evaluation = read_evaluation(run.folder)
    puzzles, no_puzzles = _puzzles(run)
    curves = figures.learning_curves(lines)
    return {
        "title": f"{run.settings.tasks} on {run.settings.trunk}",
        "folder": str(run.folder),
        "data": run.data,
        "sentences": [*training_sentences(run, lines), *(evaluation.sentences() if evaluation else [])],
        "notes": list(evaluation.notes) if evaluation else [],
        "tiles": _tiles(run, lines, evaluation),
        "curves": {name: figures.as_svg(figure) for name, figure in curves.items()},
        "puzzles": puzzles,
        "no_puzzles": no_puzzles,
        "evaluation": evaluation,
        "bars": _bars(evaluation) if evaluation else {},
        "rows": _rows(evaluation) if evaluation else [],
        "settings": {
            "Pretraining": readable(
                run.settings.as_json() | {"data": run.data["name"], "fingerprint": run.data["fingerprint"]}
            ),
            "Evaluation": readable(evaluation.details) if evaluation else {},
            "Versions": run.versions,
        },
    }


def training_sentences(run: Run, lines: list[dict[str, Any]]) -> list[str]:
    """Say what pretraining came to, in plain words."""
    settings = run.settings
    total = settings.steps
    if not run.result:
        done = max((line["step"] for line in lines), default=0)
        return [f"The run has not ended: {done:,} of {total:,} steps are done. Go on by the command that began it."]
    source = f"{run.data['name']} ({run.data['count']:,} pictures, labels unused)"
    said = [
        f"The trunk {settings.trunk} learned {settings.tasks} from {source} in "
        f"{_counted(run.result['steps'], 'step')} of {_counted(settings.batch_size, 'picture')}."
    ]
    for name, value in run.result["metrics"].items():
        if name.endswith("_accuracy"):
            said.append(
                f"Over the last epoch it answered {percent(value)} of the {name.removesuffix('_accuracy')} puzzles "
                "right, counted on the pictures that it learned from."
            )
    broken = run.result.get("broken_files", 0)
    if broken:
        said.append(f"{_counted(broken, 'picture')} could not be read and took no part: broken.txt has the names.")
    return said


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


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _puzzles(run: Run) -> tuple[dict[str, str], str]:
    """Return pictures by task name, and why there are none."""
    from tfssl.report.puzzles import draw

    try:
        return {name: figures.as_png(figure) for name, figure in draw(run, count=PUZZLES).items()}, ""
    except UserError as problem:
        return {}, str(problem)


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
            best_random = max(score.top1 for score in evaluation.random[evaluation.main].values())
            tiles.append((percent(best_random), "random weights", "best stage of the same trunk"))
        stage = evaluation.stage_to_export()
        for protocol in evaluation.measured_as_exported(stage)[:1]:
            if protocol != evaluation.main:
                share = evaluation.trained[protocol][stage].top1
                tiles.append(
                    (percent(share), f"{evaluation.protocols[protocol].title} on {stage}", "as export gives it")
                )
    if run.result:
        tiles.append((f"{run.result['images_per_second']:,.0f}", "images a second", "while training"))
    return tiles


def _bars(evaluation: Evaluation) -> dict[str, str]:
    return {
        evaluation.protocols[protocol].title: figures.as_svg(figures.stage_bars(evaluation, protocol))
        for protocol in evaluation.trained
    }


def _rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the lines of the table of stages."""
    rows = []
    for protocol, stages in evaluation.trained.items():
        for stage, score in stages.items():
            low, high = evaluation.interval(protocol, stage)
            rival = evaluation.random.get(protocol, {}).get(stage)
            rows.append(
                {
                    "protocol": evaluation.protocols[protocol].title,
                    "stage": stage,
                    "top1": f"{100 * score.top1:.1f}",
                    "interval": f"{100 * low:.1f} to {100 * high:.1f}",
                    "random": f"{100 * rival.top1:.1f}" if rival else "",
                    "map": f"{100 * score.map:.1f}",
                    "random_map": f"{100 * rival.map:.1f}" if rival else "",
                    "best": protocol == evaluation.main and stage == evaluation.best_stage,
                }
            )
    return rows
