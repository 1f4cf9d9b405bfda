"""`quickstart`: from a folder of photos and some minutes to all that this package makes of them.

What lies in the folder:

    quickstart.json     what was asked, chosen and done, with the command of each part
    puzzles*.png        what the network is asked
    run/                the run, see `tfssl.runs.run`; report.html in it
    classifier/         where there are labels, see `tfssl.runs.classifiers`; report.html in it
    models/encoder, models/classifier    what was exported
"""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfssl.base.keras_state import on_its_own
from tfssl.runs.run import load_run
from tfssl.starting import budget, plan, record
from tfssl.starting.choosing import choose
from tfssl.starting.config import QuickstartSettings
from tfssl.starting.looking import look
from tfssl.starting.parts import Part, parts_of
from tfssl.starting.record import Record
from tfssl.starting.results import Quickstart
from tfssl.training.opening import say

NOTHING: Mapping[str, Any] = {"says": [], "files": [], "ok": True}
"""What is kept of a part that was done, where the call was killed before that was written down."""
SAID = ("pretrain", "evaluate", "finetune")
"""Parts whose result is said in the end, too."""


@on_its_own()
def quickstart(
    photos: str | Path,
    minutes: float = 30.0,
    *,
    out: str | Path,
    labels: str | Path | None = None,
    max_broken: float = 0.01,
    verbose: int = 1,
) -> Quickstart:
    """Draw puzzles, pretrain, measure, make a classifier where there are labels, export and check, within some minutes.

    Trunk, size, tasks, batch, precision and steps are chosen from what is in the folder and from a few measured steps;
    see `tfssl.starting.plan`. Each part is a call of another command, which is printed. Called again after an
    interruption, it resumes: what was chosen stays, parts that are done are skipped.

    Args:
      photos: a folder of pictures, whose sub-folders are classes; or 'toy:images', 'tfds:NAME'. Where it has train/ and
        test/, or is divided here, test pictures are not pretrained on.
      minutes: how long all may take, 2 at least.
      out: folder of all that is made.
      labels: a table with the columns file, within PHOTOS, and label; in place of class folders.
      max_broken: largest part of the pictures that may be unreadable.
      verbose: 1 what is done and a progress bar, 2 a line an epoch, 0 nothing.

    Raises:
      UserError: whatever the user can mend, a machine too slow for these minutes among it. What existed stays.
      Stopped: SIGTERM or Ctrl-C came; it is saved, and resumed when called again.
    """
    settings = QuickstartSettings(**locals())
    kept = record.read(settings) or _begin(settings)
    names = [part.name for part in parts_of(settings, kept.choice)]
    for number, name in enumerate(names, 1):
        if name in kept.done:
            continue
        kept = _adapted(settings, kept) if name == "finetune" and name not in kept.lines else kept
        (part,) = (each for each in parts_of(settings, kept.choice) if each.name == name)
        if settings.verbose:
            say(headline(number, len(names), part.title, kept.choice.seconds[name], 60 * settings.minutes, kept.spent))
            say(part.line)
        kept = kept.replaced(lines=kept.lines | {name: part.line})
        kept = _run(part, kept, settings.verbose)
    return _sum_up(settings, kept)


def headline(number: int, of: int, title: str, seconds: float, total: float, spent: float) -> str:
    """Say which part comes, how long it will take, and what is left of the whole; in seconds."""
    left = max(0.0, total - spent)
    return (
        f"part {number} of {of}, {title}: {_about(seconds)} of {total / 60:g} minutes; {_about(left).split()[-1]} left"
    )


def _about(seconds: float) -> str:
    return f"about {round(seconds / 60)}" if seconds >= 45 else "under 1"


def _begin(settings: QuickstartSettings) -> Record:
    """Look, measure, choose and write it down."""
    began = time.monotonic()
    if settings.verbose:
        share = _about(60 * plan.MEASURING * settings.minutes)
        say(f"looking at {settings.photos} and measuring this machine: {share} of {settings.minutes:g} minutes")
    found = look(settings.photos, settings.labels, settings.max_broken)
    if settings.verbose:
        say(str(found))
    choice = choose(found, settings.minutes, began)
    if settings.verbose:
        say(str(choice))
    asked = record.asked_of(settings)
    return Record(settings.out, asked, choice).replaced(spent=time.monotonic() - began)


def _adapted(settings: QuickstartSettings, kept: Record) -> Record:
    """Choose fine-tuning anew, for the time that is left and the speed that pretraining had."""
    choice = kept.choice
    after = [name for name in choice.seconds if name.startswith(("export", "check"))]
    left = 60 * settings.minutes * (1 - budget.RESERVE / 2) - kept.spent - sum(choice.seconds[name] for name in after)
    measured = load_run(settings.out / "run").result["images_per_second"]
    step = choice.batch_size / measured if measured else choice.speed.step
    speed = choice.speed._replace(step=step)
    evaluated = bool(choice.evaluate_on)
    tuned = budget.finetuning(left, choice.counts, choice.batch_size, speed, evaluated)
    if tuned is None:
        return kept
    seconds = budget.finetuning_seconds(tuned, choice.counts, choice.batch_size, speed)
    choice = dataclasses.replace(choice, finetuning=tuned, seconds=choice.seconds | {"finetune": seconds})
    return kept.replaced(choice=choice)


def _run(part: Part, kept: Record, verbose: int) -> Record:
    """Run a part, and write down that it is done; the time that it took also where it is interrupted."""
    began = time.monotonic()
    try:
        is_done = part.writes is not None and part.writes.is_dir()
        ended = dict(NOTHING) if is_done else _result(part, verbose)
    except BaseException:
        kept.replaced(spent=kept.spent + time.monotonic() - began)
        raise
    took = time.monotonic() - began
    done = kept.done | {part.name: {"seconds": round(took, 1), **ended}}
    return kept.replaced(done=done, spent=kept.spent + took)


def _result(part: Part, verbose: int) -> dict[str, Any]:
    result = part.run()
    if verbose:
        print(result, flush=True)
    # Of an evaluation the best stage, and what it is beside random weights: the rest is in the report.
    says = result.sentences()[:2] if hasattr(result, "sentences") else str(result).splitlines()
    files = [str(Path(file).name) for file in getattr(result, "files", {}).values()]
    return {"says": says if part.name in SAID else [], "files": files, "ok": getattr(result, "ok", True)}


def _sum_up(settings: QuickstartSettings, kept: Record) -> Quickstart:
    out, done = settings.out, kept.done
    classifier = out / "classifier" if "finetune" in done else None
    folders = [out / "run", *([classifier] if classifier else [])]
    kinds = [name.removeprefix("export ") for name in done if name.startswith("export ")]
    return Quickstart(
        folder=out,
        minutes=round(kept.spent / 60, 2),
        asked_minutes=settings.minutes,
        puzzles=tuple(out / name for name in done["show"]["files"]),
        run=out / "run",
        classifier=classifier,
        reports=tuple(folder / "report.html" for folder in folders),
        models=tuple(out / "models" / kind for kind in kinds),
        commands=tuple(kept.lines.values()),
        says=tuple(line for name in SAID if name in done for line in done[name]["says"]),
        wrong=tuple(out / "models" / kind for kind in kinds if not done[f"check {kind}"]["ok"]),
    )
