"""The target `classes`: what a picture shows, one class of several, or some of them."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.files import atomic_write, write_json
from tfssl.downstream import calibration, probe
from tfssl.downstream.candidates import Candidate, Trained
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.data import Labelled
from tfssl.downstream.measures import Measure, balanced_accuracy, measure, right
from tfssl.downstream.network import OUTPUT, build, forward_of, set_head, with_probabilities
from tfssl.downstream.stream import class_weights, learning_batches, plain_pictures, row_weights
from tfssl.downstream.target import Choice, Head, Job, Sight, Target
from tfssl.frozen import features, metrics
from tfssl.frozen.features import check_broken
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel
from tfssl.pipelines import batches
from tfssl.runs.classifiers import NETWORK

ARRAYS = ("shares", "targets", "rows")
"""What of `Chosen` is no JSON."""
BATCH = 256
"""Pictures that are measured at once."""


@dataclasses.dataclass(frozen=True)
class Chosen(Choice):
    """What validation chose, and what it is measured at. Shares are 0 .. 1.

    Attributes:
      broken: how many of all cannot be decoded, and were left out.
      temperature: that calibrates its probabilities.
      top1, balanced, map: on the test part: share right, its mean over classes, mean average precision.
      error_before, error_after: expected calibration error on the test part, without and with the temperature.
      test: pictures of the test part.
      shares: probabilities of the test pictures, float32 [M, classes].
      targets: float32 [M, classes].
      rows: int64 [M], which pictures of the test part these are: all but the broken ones.
    """

    temperature: float
    top1: float
    balanced: float
    map: float
    error_before: float
    error_after: float
    test: int
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


class LogitSight(Sight):
    """A part as the network sees it: its logits, and the targets of what can be decoded; the rest is left out."""

    def __init__(self, part: Labelled, size: int, several: bool = False):
        self._part, self._several = part, several
        self._pictures = plain_pictures(part.source, size, BATCH)
        self._traced: tuple[keras.Model, Callable[[tf.Tensor], tf.Tensor]] | None = None
        self.rows = np.arange(part.count)

    @property
    def targets(self) -> np.ndarray:
        """float32 [M, classes], of what was decoded in the last pass."""
        return self._part.targets[self.rows]

    def logits(self, model: keras.Model) -> np.ndarray:
        """Return float32 [M, classes] of a network in test mode."""
        if self._traced is None or self._traced[0] is not model:
            self._traced = model, forward_of(model)
        forward = self._traced[1]
        logits, rows = [], []
        for batch in self._pictures:
            valid = batch["valid"].numpy()
            logits.append(forward(batch["image"]).numpy()[valid])
            rows.append(batch["index"].numpy()[valid])
        self.rows = np.concatenate(rows)
        check_broken(self._part.source, self._part.count - len(self.rows), 1.0)
        return np.concatenate(logits)

    def measure(self, model: keras.Model) -> Measure:
        return measure(self.logits(model), self.targets, self._several)


class _Probe(Head):
    """The probe in closed form."""

    def __init__(self, job: Job, settings: FinetuneSettings, trunk: Trunk, test_mode: bool, val: LogitSight):
        several = job.target.several  # type: ignore[attr-defined]
        self._job, self._settings, self._trunk, self._test_mode = job, settings, trunk, test_mode
        self._rows = _features(trunk, job)
        self.broken = job.train.count + job.val.count - sum(len(targets) for _, targets in self._rows.values())
        self._fitted = probe.fit(*_weighted(self._rows["train"], settings), *self._rows["val"], several)
        self.build = self._with(self._fitted.probe)
        self.trained = Trained(0, val.measure(self.build()))

    def again(self) -> Callable[[], PretextModel]:
        both = tuple(np.concatenate(pair) for pair in zip(self._rows["train"], self._rows["val"], strict=True))
        return self._with(probe.fit_again(*_weighted(both, self._settings), self._fitted))

    def _with(self, fitted: probe.Probe) -> Callable[[], PretextModel]:
        job = self._job

        def make() -> PretextModel:
            classes, start = job.train.targets.shape[1], job.start
            model = build(self._trunk.copy(), start.size, start.stage, classes, self._test_mode, self._settings.freeze)
            set_head(model, fitted)
            return model

        return make


@dataclasses.dataclass(frozen=True)
class Classes(Target):
    """Names of what pictures show.

    Attributes:
      names: of the classes.
      several: whether a picture may have several of them.
    """

    names: tuple[str, ...] = ()
    several: bool = False

    name: ClassVar[str] = "classes"
    frozen: ClassVar[Candidate] = Candidate(title="frozen probe")
    head_trainings: ClassVar[int] = 0

    @property
    def what(self) -> str:
        return f"{len(self.names)} classes"

    def batches(
        self,
        part: Labelled,
        size: int,
        batch_size: int,
        settings: FinetuneSettings,
        start: int,
        broken: batches.BrokenPictures,
    ) -> tf.data.Dataset:
        return learning_batches(part, size, batch_size, settings, start, broken, settings.verbose)

    def answer_spec(self, model: PretextModel, rows: int) -> tf.TensorSpec:
        return tf.TensorSpec([rows, model.output[OUTPUT].shape[1]], tf.float32)

    def loss(self, settings: FinetuneSettings) -> tuple[keras.losses.Loss, list[keras.metrics.Metric]]:
        smoothing = settings.label_smoothing
        if self.several:
            loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
            return loss, [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        return loss, [keras.metrics.CategoricalAccuracy(name="accuracy")]

    def sight(self, part: Labelled, size: int) -> LogitSight:
        return LogitSight(part, size, self.several)

    def head(self, job: Job, settings: FinetuneSettings, trunk: Trunk, test_mode: bool, val: LogitSight) -> Head:
        return _Probe(job, settings, trunk, test_mode, val)

    def settled(self, model: keras.Model, val: LogitSight) -> float:
        """Return the temperature that calibrates the network's probabilities."""
        return calibration.temperature(val.logits(model), val.targets, self.several)

    def measured(self, job: Job, test: LogitSight, model: keras.Model, settled: float, choice: Choice) -> Chosen:
        logits = test.logits(model)
        targets = test.targets
        shares = calibration.probabilities(logits, self.several, settled).astype(np.float32)
        before = calibration.probabilities(logits, self.several)
        broken = choice.broken + job.test.count - len(targets)
        return Chosen(
            **(vars(choice) | {"broken": broken}),
            temperature=settled,
            top1=float(right(shares, targets).mean()),
            balanced=balanced_accuracy(shares, targets),
            map=metrics.mean_average_precision(shares, targets),
            error_before=calibration.calibration_error(before, targets, self.several),
            error_after=calibration.calibration_error(shares, targets, self.several),
            test=len(targets),
            shares=shares,
            targets=targets,
            rows=test.rows,
        )

    def keep(self, job: Job, chosen: Chosen, model: keras.Model, settled: float) -> None:
        """Write classifier.keras, test.npz and chosen.json."""
        if job.kept:
            with atomic_write(job.folder / NETWORK) as temporary:
                with_probabilities(model, settled, self.several).save(temporary)
        with atomic_write(job.folder / "test.npz") as temporary:
            paths = np.array([job.test.source.paths[row] for row in chosen.rows])
            np.savez(temporary, probabilities=chosen.shares, targets=chosen.targets, path=paths)
        write_json(job.folder / "chosen.json", chosen.as_json())

    def read_chosen(self, job: Job) -> Chosen:
        content = json.loads((job.folder / "chosen.json").read_text())
        with np.load(job.folder / "test.npz") as arrays:
            rows = np.flatnonzero(np.isin(job.test.source.paths, arrays["path"]))
            return Chosen(**content, shares=arrays["probabilities"], targets=arrays["targets"], rows=rows)

    def record(self) -> dict[str, Any]:
        return {"classes": list(self.names), "several": self.several}


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
