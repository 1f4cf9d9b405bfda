"""One classifier: its candidates learn, validation chooses, the test part measures."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, write_json
from tfssl.downstream import calibration, probe
from tfssl.downstream.candidates import BATCH, Candidate, Lesson, Sight, Trained, learn
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.data import Labelled
from tfssl.downstream.measures import balanced_accuracy, measure, right
from tfssl.downstream.network import build, set_head, with_probabilities
from tfssl.downstream.starts import Start
from tfssl.downstream.stream import class_weights, row_weights
from tfssl.frozen import features, metrics
from tfssl.frozen.precise import with_precise_batch_norm
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel
from tfssl.runs import metrics_log
from tfssl.runs.classifiers import NETWORK
from tfssl.training.callbacks import DivergedError
from tfssl.training.opening import say

ARRAYS = ("shares", "targets", "rows")
"""What of `Chosen` is no JSON."""
FEW = 5000
"""Pictures to learn from, under which batch norm keeps its statistics: those of small batches mislead."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What validation chose, and what it is measured at. Shares are 0 .. 1.

    Attributes:
      name: of the candidate.
      step: after which it was best; 0 of the frozen probe.
      candidates: name -> score on the validation part.
      validation: that of the chosen one.
      temperature: that calibrates its probabilities.
      top1, balanced, map: on the test part: share right, its mean over classes, mean average precision.
      error_before, error_after: expected calibration error on the test part, without and with the temperature.
      train, val, test: pictures of the parts.
      broken: how many of all cannot be decoded, and were left out.
      shares: probabilities of the test pictures, float32 [M, classes].
      targets: float32 [M, classes].
      rows: int64 [M], which pictures of the test part these are: all but the broken ones.
    """

    name: str
    step: int
    candidates: dict[str, float]
    validation: float
    temperature: float
    top1: float
    balanced: float
    map: float
    error_before: float
    error_after: float
    train: int
    val: int
    test: int
    broken: int
    shares: np.ndarray = dataclasses.field(repr=False)
    targets: np.ndarray = dataclasses.field(repr=False)
    rows: np.ndarray = dataclasses.field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """All but the arrays."""
        kept = (field.name for field in dataclasses.fields(self) if field.name not in ARRAYS)
        return {name: getattr(self, name) for name in kept}

    def right(self) -> np.ndarray:
        """Whether each test picture is named right, bool [M]."""
        return right(self.shares, self.targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is learned from which weights and which labels.

    Attributes:
      folder: of its own.
      start: the weights.
      random: whether they are random ones, which learn with batch norm in training mode: their statistics are worth
        nothing yet.
      only_probe: whether the frozen probe is the only candidate.
      train, val, test: the parts.
      whole: what is learned from once validation has chosen: `train` and `val` where these were divided; else None.
      several: whether a picture may have several labels.
      kept: whether its network is written.
      listeners: what else hears of each step.
    """

    folder: Path
    start: Start
    random: bool
    only_probe: bool
    train: Labelled
    val: Labelled
    test: Labelled
    whole: Labelled | None
    several: bool
    kept: bool = True
    listeners: tuple[keras.callbacks.Callback, ...] = ()


def choose(job: Job, settings: FinetuneSettings) -> Chosen:
    """Train the candidates of a job, choose, learn from the validation part too, calibrate, measure, write it down.

    What is done already is read: the same call resumes.
    """
    if (job.folder / "chosen.json").exists():
        return _read(job)
    size, stage = job.start.size, job.start.stage
    val = Sight(job.val, size)
    keras.utils.set_random_seed(settings.seed)
    begin = _trunk(job, settings)
    rows = _features(begin, job)
    broken = job.train.count + job.val.count - sum(len(targets) for _, targets in rows.values())
    fitted = probe.fit(*_weighted(rows["train"], settings), rows["val"][0], rows["val"][1], job.several)

    def network(head: probe.Probe) -> Callable[[], PretextModel]:
        def make() -> PretextModel:
            mode = _test_mode(job, settings)
            model = build(begin.copy(), size, stage, job.train.targets.shape[1], mode, settings.freeze)
            set_head(model, head)
            return model

        return make

    found: dict[Candidate, tuple[PretextModel, Trained]] = {}
    for candidate in Candidate.all_of(settings)[: 1 if job.only_probe else None]:
        if candidate.learning_rate is None:
            model = network(fitted.probe)()
            score = measure(val.logits(model), val.targets, job.several)
            found[candidate] = model, Trained(0, score)
            continue
        lesson = _lesson(job, settings, candidate, job.train, val, settings.steps)
        if settings.verbose:
            say(candidate.name)
        try:
            found[candidate] = learn(lesson, candidate, network(fitted.probe))
        except DivergedError as problem:
            say(f"{candidate.name}: {problem}; it is no candidate any more")
    best = max(found, key=lambda each: found[each][1].measure.order)  # type: ignore[union-attr]  # all were measured
    model, trained = found[best]
    heat = calibration.temperature(val.logits(model), val.targets, job.several)
    learned = job.train
    if job.whole is not None and settings.refit:
        learned = job.whole
        both = tuple(np.concatenate(pair) for pair in zip(rows["train"], rows["val"], strict=True))
        head = probe.fit_again(*_weighted(both, settings), fitted)
        if best.learning_rate is None:
            model = network(head)()
        else:
            lesson = _lesson(job, settings, best, learned, None, trained.step)
            if settings.verbose:
                say(f"once more with the validation part: {best.name}, {trained.step:,} steps")
            model, _ = learn(lesson, best, network(head))
    _keep_metrics(job, best)
    measures = {each.name: found[each][1].measure.score for each in found}  # type: ignore[union-attr]
    return _finish(job, settings, model, heat, best.name, trained.step, measures, learned.count, broken)


def _finish(
    job: Job,
    settings: FinetuneSettings,
    model: PretextModel,
    heat: float,
    name: str,
    step: int,
    scores: dict[str, float],
    learned: int,
    broken: int,
) -> Chosen:
    """Measure on the test part, and write classifier.keras, test.npz and chosen.json."""
    test = Sight(job.test, job.start.size)
    logits = test.logits(model)
    targets = test.targets
    broken += job.test.count - len(targets)
    whole = job.train.count + job.val.count + job.test.count
    if broken > settings.max_broken * whole:
        raise UserError(
            f"{broken} of {whole} pictures cannot be decoded to their end, more than --max-broken"
            f" {settings.max_broken:g} allows; mend or remove them, or allow more"
        )
    shares = calibration.probabilities(logits, job.several, heat).astype(np.float32)
    before = calibration.probabilities(logits, job.several)
    chosen = Chosen(
        name=name,
        step=step,
        candidates=scores,
        validation=scores[name],
        temperature=heat,
        top1=float(right(shares, targets).mean()),
        balanced=balanced_accuracy(shares, targets),
        map=metrics.mean_average_precision(shares, targets),
        error_before=calibration.calibration_error(before, targets, job.several),
        error_after=calibration.calibration_error(shares, targets, job.several),
        train=learned,
        val=job.val.count,
        test=len(targets),
        broken=broken,
        shares=shares,
        targets=targets,
        rows=test.rows,
    )
    if job.kept:
        with atomic_write(job.folder / NETWORK) as temporary:
            with_probabilities(model, heat, job.several).save(temporary)
    with atomic_write(job.folder / "test.npz") as temporary:
        paths = np.array([job.test.source.paths[row] for row in test.rows])
        np.savez(temporary, probabilities=chosen.shares, targets=targets, path=paths)
    write_json(job.folder / "chosen.json", chosen.as_json())
    for weights in [*job.folder.glob("candidates/*/best.npz"), job.folder / "refit" / "best.npz"]:
        weights.unlink(missing_ok=True)  # they are in the network that was chosen, or not wanted
    return chosen


def _read(job: Job) -> Chosen:
    content = json.loads((job.folder / "chosen.json").read_text())
    with np.load(job.folder / "test.npz") as arrays:
        rows = np.flatnonzero(np.isin(job.test.source.paths, arrays["path"]))
        return Chosen(**content, shares=arrays["probabilities"], targets=arrays["targets"], rows=rows)


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


def _features(trunk: Trunk, job: Job) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what the frozen trunk makes of "train" and "val", float16 [N, D], and targets; without broken pictures."""
    model = features.stage_model(trunk, job.start.size)
    extractor = features.make_extractor(model, {job.start.stage: (1,)})
    rows = {}
    for name, part in (("train", job.train), ("val", job.val)):
        made = features.Reading(part.source, job.start.size, BATCH).features(extractor)
        rows[name] = made.stages[job.start.stage][1], part.targets[made.rows]
    return rows


def _weighted(rows: tuple[np.ndarray, ...], settings: FinetuneSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made, targets = rows
    return made, targets, row_weights(targets, class_weights(targets, settings.class_weights))


def _lesson(
    job: Job, settings: FinetuneSettings, candidate: Candidate, part: Labelled, sight: Sight | None, stop: int
) -> Lesson:
    return Lesson(
        folder=_folder(job, candidate) if sight is not None else job.folder / "refit",
        part=part,
        sight=sight,
        several=job.several,
        settings=settings,
        stop=stop,
        size=job.start.size,
        stages=job.start.random.stages,
        decay=settings.stage_decay,
        listeners=job.listeners,
    )


def _folder(job: Job, candidate: Candidate) -> Path:
    return job.folder / "candidates" / candidate.name.replace(" ", "-").replace(",", "")


def _keep_metrics(job: Job, best: Candidate) -> None:
    """Copy the log of the chosen candidate to where runs have it; of the frozen probe there is none."""
    folder = _folder(job, best)
    if (folder / metrics_log.NAME).exists():
        shutil.copyfile(folder / metrics_log.NAME, job.folder / metrics_log.NAME)
