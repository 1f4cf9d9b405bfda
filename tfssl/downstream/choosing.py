"""One network: its candidates learn, validation chooses, the test part measures; whatever the answers are."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.candidates import Candidate, Lesson, Trained, learn
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.target import Choice, Job, Part, Sight
from tfssl.frozen.precise import with_precise_batch_norm
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel
from tfssl.runs import metrics_log
from tfssl.training.callbacks import DivergedError
from tfssl.training.opening import say

FEW = 5000
"""Pictures to learn from, under which batch norm keeps its statistics: those of small batches mislead."""


def choose(job: Job, settings: FinetuneSettings) -> Any:
    """Train the candidates of a job, choose, learn from the validation part too, measure, write it down.

    What is done already is read: the same call resumes.

    Returns:
      The `Chosen` of the job's target.
    """
    target = job.target.on(job.start)
    job = dataclasses.replace(job, target=target)
    if (job.folder / "chosen.json").exists():
        return target.read_chosen(job)
    val = target.sight(job.val, job.start.size)
    keras.utils.set_random_seed(settings.seed)
    head = target.head(job, settings, _trunk(job, settings), _test_mode(job, settings), val)
    found: dict[Candidate, tuple[Callable[[], PretextModel] | PretextModel, Trained]] = {
        target.frozen: (head.build, head.trained)
    }
    for candidate in () if job.only_probe else Candidate.all_of(settings):
        lesson = lesson_of(job, settings, folder_of(job, candidate), job.train, val, settings.steps)
        if settings.verbose:
            say(candidate.name)
        try:
            found[candidate] = learn(lesson, candidate, head.build)
        except DivergedError as problem:
            say(f"{candidate.name}: {problem}; it is no candidate any more")
    best = max(found, key=lambda each: found[each][1].measure.order)  # type: ignore[union-attr]  # all were measured
    made, trained = found[best]
    model = made if isinstance(made, PretextModel) else made()
    settled = target.settled(model, val)
    learned = job.train
    if job.whole is not None and settings.refit:
        learned = job.whole
        if best is target.frozen:
            model = head.again()()
        else:
            lesson = lesson_of(job, settings, job.folder / "refit", learned, None, trained.step)
            if settings.verbose:
                say(f"once more with the validation part: {best.name}, {counted(trained.step, 'step')}")
            model, _ = learn(lesson, best, head.again())
    _keep_metrics(job, best)
    scores = {each.name: found[each][1].measure.score for each in found}  # type: ignore[union-attr]
    test = target.sight(job.test, job.start.size)
    choice = Choice(best.name, trained.step, scores, scores[best.name], learned.count, job.val.count, head.broken)
    chosen = target.measured(job, test, model, settled, choice)
    _check_broken(job, settings, head.broken + job.test.count - len(test.rows))
    target.keep(job, chosen, model, settled)
    for weights in [*job.folder.glob("candidates/*/best.npz"), *job.folder.glob("refit*/best.npz")]:
        if job.heads is None:
            weights.unlink(missing_ok=True)  # they are in the network that was chosen, or not wanted
    return chosen


def _check_broken(job: Job, settings: FinetuneSettings, broken: int) -> None:
    whole = job.train.count + job.val.count + job.test.count
    if broken > settings.max_broken * whole:
        raise UserError(
            f"{broken} of {whole} pictures cannot be decoded to their end, more than --max-broken"
            f" {settings.max_broken:g} allows; mend or remove them, or allow more"
        )


def _trunk(job: Job, settings: FinetuneSettings) -> Trunk:
    """Return the trunk that a job begins with; of random weights with the statistics of the pictures."""
    start, trunk = job.start, job.start.random if job.random else job.start.trained
    if trunk is None or job.random:
        return with_precise_batch_norm(
            start.random.copy(), job.train.source, start.size, settings.batch_size, settings.seed
        )
    return trunk


def _test_mode(job: Job, settings: FinetuneSettings) -> bool:
    if settings.batch_norm is not None:
        return settings.batch_norm == "test"
    return not job.random and job.train.count < FEW


def lesson_of(job: Job, settings: FinetuneSettings, folder: Path, part: Part, sight: Sight | None, stop: int) -> Lesson:
    """Return what a candidate of a job learns: see `Lesson`."""
    return Lesson(
        folder=folder,
        target=job.target,
        part=part,
        sight=sight,
        settings=settings,
        stop=stop,
        size=job.start.size,
        stages=job.start.random.stages,
        decay=settings.stage_decay,
        listeners=job.listeners,
    )


def folder_of(job: Job, candidate: Candidate) -> Path:
    """Return the folder of a candidate of a job."""
    return job.folder / "candidates" / candidate.name.replace(" ", "-").replace(",", "")


def _keep_metrics(job: Job, best: Candidate) -> None:
    """Copy the log of the chosen candidate to where runs have it; of a head in closed form there is none."""
    folder = folder_of(job, best)
    if (folder / metrics_log.NAME).exists():
        shutil.copyfile(folder / metrics_log.NAME, job.folder / metrics_log.NAME)
