"""What all dense targets share: the head on frozen features, what is seen of a part, what is kept."""

import abc
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.files import atomic_write, write_json
from tfssl.base.words import counted
from tfssl.downstream.candidates import Candidate, learn
from tfssl.downstream.choosing import folder_of, lesson_of
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import network
from tfssl.downstream.dense.data import Annotated, Read, places
from tfssl.downstream.measures import Measure
from tfssl.downstream.network import INPUT, OUTPUT, forward_of
from tfssl.downstream.stream import HELD, jitter
from tfssl.downstream.target import Choice, Head, Job, Sight, Target
from tfssl.export.signatures.dense import DECODERS, Decoder
from tfssl.frozen.features import check_broken
from tfssl.models.trunks import Trunk
from tfssl.multitask.model import PretextModel
from tfssl.pipelines import batches
from tfssl.pipelines.ops.annotations import mirror
from tfssl.runs.dense import NETWORK
from tfssl.training.opening import say

HEAD_RATE = 1e-3
"""Peak learning rate of the head alone, that of Xiao et al. 2018 (arXiv 1804.06208)."""
BATCH = 64
"""Pictures that are measured at once."""
MOMENT_BATCHES = 8
"""Batches of training pictures that maps are standardised by."""

AnswerReader = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
"""(index int64 [B], box int32 [B, 4], mirrored bool [B]) -> answers of crops, float32 [B, ., ., .], in the graph."""


@dataclasses.dataclass(frozen=True)
class DenseChosen(Choice):
    """What validation chose, and what it is measured at.

    Attributes:
      broken: how many of all cannot be decoded, and were left out.
      test: pictures of the test part.
      score: the target's headline figure on the test part.
      figures: all its figures there, by name.
      curve: (threshold, share) where the target has one.
      table: float64 [M, K], what is known of each test picture, of which figures are made.
      rows: int64 [M], which pictures of the test part these are.
    """

    test: int
    score: float
    figures: Mapping[str, float]
    curve: list[list[float]]
    table: np.ndarray = dataclasses.field(repr=False)
    rows: np.ndarray = dataclasses.field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """All but the arrays."""
        return {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if each.name not in ("table", "rows")
        }


@dataclasses.dataclass(frozen=True)
class DenseTarget(Target):
    """Something at places of the picture. Answers have rank 4, as what the network says: Keras would squeeze others.

    Attributes:
      names: of classes or joints, () where there are none.
      partners: which of them each becomes in a mirror; () where all stay what they are.
      title: what it is called among protocols; its name where empty.
      headline: the figure that candidates are chosen by.
      lower: whether less of it is better.
      unit: of the headline: "%" of a share 0 .. 1, or a word.
      full_size: whether the network's map has the size of the picture.
    """

    names: tuple[str, ...] = ()
    partners: tuple[int, ...] = ()

    title: ClassVar[str] = ""
    headline: ClassVar[str]
    lower: ClassVar[bool] = False
    unit: ClassVar[str] = "%"
    full_size: ClassVar[bool] = True
    head_trainings: ClassVar[int] = 1
    frozen: ClassVar[Candidate] = Candidate(HEAD_RATE, 0.01, title="frozen head")

    @classmethod
    @abc.abstractmethod
    def read(cls, place: Any, settings: FinetuneSettings) -> Read:
        """Read pictures with their answers. Raise UserError where these do not fit."""

    @classmethod
    def read_parts(cls, data: Any, settings: FinetuneSettings) -> dict[str, Read]:
        """Read each part of DATA; "train" alone where it has no parts."""
        return {part: cls.read(place, settings) for part, place in places(data).items()}

    @classmethod
    def made_of(cls, reads: Mapping[str, Read]) -> Self:
        """Make the target of what was read of each part."""
        return cls(names=reads["train"].names)

    def stages(self, trunk: Trunk, stage: str) -> tuple[str, ...]:
        """Return the stages that the head reads, first to last, of a trunk that is cut at a stage."""
        return network.stages_up_to(trunk, stage)

    def answer_on(self, maps: Sequence[keras.KerasTensor], size: int) -> keras.KerasTensor:
        """Build the head on standardised maps of `stages`; of pictures with `size` pixels a side."""
        return network.pyramid(maps, size, self.outputs, self.full_size)

    @property
    @abc.abstractmethod
    def outputs(self) -> int:
        """Channels of the network's map."""

    @abc.abstractmethod
    def answer_reader(self, part: Annotated, size: int) -> AnswerReader:
        """Make what reads the answers of crops of `size` pixels."""

    @abc.abstractmethod
    def answer_shape(self, model: PretextModel) -> tuple[int, int, int]:
        """Return the shape of the answer of one picture."""

    @abc.abstractmethod
    def losses(self, answers: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return the loss of each picture, float32 [B], of answers and of what the network says."""

    @abc.abstractmethod
    def finish(self, outputs: Any) -> Any:
        """Make the map that is handed on of what the network says, by Keras's own layers."""

    @abc.abstractmethod
    def add_up(self, answers: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what is known of each picture, of which figures are made, float64 [B, K].

        Args:
          answers: of `answer_reader`.
          found: what is found in the pictures, of `export.signatures.dense`.
        """

    @abc.abstractmethod
    def as_found(self, answer: np.ndarray) -> dict[str, np.ndarray]:
        """Return the answer of one picture as what would be found in it, to be drawn."""

    @abc.abstractmethod
    def scores_of(self, table: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the headline figure of each draw of pictures, float64 [D].

        Args:
          table: of `add_up`, [M, K].
          counts: how often each picture is in each draw, float64 [D, M].
        """

    @abc.abstractmethod
    def figures_of(self, table: np.ndarray) -> dict[str, float]:
        """Return all figures of pictures, by name; what `add_up` gave of them is [M, K]."""

    def curve_of(self, table: np.ndarray) -> list[list[float]]:
        """Return (threshold, share) pairs, [] where the target has no curve."""
        return []

    def says(self, value: float) -> str:
        """Say a value of the headline figure with its unit."""
        return f"{100 * value:.1f} %" if self.unit == "%" else f"{value:.1f} {self.unit}"

    @property
    def decode(self) -> Decoder:
        """Makes of the finished map what is found."""
        return DECODERS[self.name]

    def batches(
        self,
        part: Annotated,
        size: int,
        batch_size: int,
        settings: FinetuneSettings,
        start: int,
        broken: batches.BrokenPictures,
    ) -> tf.data.Dataset:
        """Make batches of random squares with their answers, mirrored and jittered, all from (seed, step)."""
        answers, regions = self.answer_reader(part, size), tf.constant(part.source.regions)

        def make(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], ...]:
            flip_seed, colour_seed = tf.unstack(tf.random.split(seed, 2))
            images, index = batch["image"], batch["index"]
            box = batch["box"] if "box" in batch else tf.gather(regions, index)
            mirrored = tf.zeros([batch_size], tf.bool)
            if settings.flip:
                mirrored = tf.random.stateless_uniform([batch_size], flip_seed) < 0.5
                images = mirror(images, mirrored)
            if settings.colour:
                images = jitter(images, settings.colour, colour_seed)
            made = tf.ensure_shape(answers(index, box, mirrored), [batch_size, None, None, None])
            return {INPUT: images}, {OUTPUT: made}, {OUTPUT: tf.ones([batch_size])}

        return batches.training(
            part.source, size, batch_size, settings.seed, start, make, broken, verbose=0, crop=settings.crop
        )

    def answer_spec(self, model: PretextModel, rows: int) -> tf.TensorSpec:
        return tf.TensorSpec([rows, *self.answer_shape(model)], tf.float32)

    def loss(self, settings: FinetuneSettings) -> tuple[keras.losses.Loss, list[keras.metrics.Metric]]:
        return RowLoss(self.losses), []

    def sight(self, part: Annotated, size: int) -> "MapSight":
        return MapSight(self, part, size)

    def head(self, job: Job, settings: FinetuneSettings, trunk: Trunk, test_mode: bool, val: "MapSight") -> Head:
        return _LearnedHead(self, job, settings, trunk, test_mode, val)

    def settled(self, model: keras.Model, val: "MapSight") -> None:
        return None

    def measured(self, job: Job, test: "MapSight", model: keras.Model, settled: None, choice: Choice) -> DenseChosen:
        table = test.table(model)[:, 1:]
        broken = choice.broken + job.test.count - len(test.rows)
        return DenseChosen(
            **(vars(choice) | {"broken": broken}),
            test=len(test.rows),
            score=_score(self, table),
            figures=self.figures_of(table),
            curve=self.curve_of(table),
            table=table,
            rows=test.rows,
        )

    def keep(self, job: Job, chosen: DenseChosen, model: keras.Model, settled: None) -> None:
        """Write the network, test.npz and chosen.json."""
        if job.kept:
            handed_on = keras.Model(model.input[INPUT], self.finish(model.output[OUTPUT]), name=self.name)
            with atomic_write(job.folder / NETWORK) as temporary:
                handed_on.save(temporary)
        with atomic_write(job.folder / "test.npz") as temporary:
            paths = np.array([job.test.source.paths[row] for row in chosen.rows])
            np.savez(temporary, table=chosen.table, rows=chosen.rows, path=paths)
        write_json(job.folder / "chosen.json", chosen.as_json())

    def read_chosen(self, job: Job) -> DenseChosen:
        """Read what `keep` wrote."""
        content = json.loads((job.folder / "chosen.json").read_text())
        with np.load(job.folder / "test.npz") as arrays:
            return DenseChosen(**content, table=arrays["table"], rows=arrays["rows"])

    def record(self) -> dict[str, Any]:
        return {"target": self.name, "names": list(self.names), "partners": list(self.partners)}


@dataclasses.dataclass(frozen=True)
class Additive(DenseTarget):
    """A dense target whose figures are functions of sums over pictures, of what `add_up` returns."""

    @abc.abstractmethod
    def scores(self, sums: np.ndarray) -> np.ndarray:
        """Return the headline figure of sums [..., K]."""

    @abc.abstractmethod
    def figures(self, sums: np.ndarray) -> dict[str, float]:
        """Return all figures of sums [K], by name."""

    def curve(self, sums: np.ndarray) -> list[list[float]]:
        """Return (threshold, share) pairs of sums [K], [] where the target has no curve."""
        return []

    def scores_of(self, table: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return self.scores(counts @ table)

    def figures_of(self, table: np.ndarray) -> dict[str, float]:
        return self.figures(table.sum(0))

    def curve_of(self, table: np.ndarray) -> list[list[float]]:
        return self.curve(table.sum(0))


def _score(target: DenseTarget, table: np.ndarray) -> float:
    return float(target.scores_of(table, np.ones((1, len(table))))[0])


class RowLoss(keras.losses.Loss):
    """A loss that is a function of answers and of what the network says, [B] of each."""

    def __init__(self, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        super().__init__(name="loss")
        self._function = function

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self._function(y_true, y_pred)


class MapSight(Sight):
    """A part as the network sees it: what is known of each picture, of which figures are made."""

    def __init__(self, target: DenseTarget, part: Annotated, size: int):
        answers, regions = target.answer_reader(part, size), tf.constant(part.source.regions)

        def with_answers(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            index = batch["index"]
            plain = tf.zeros([tf.shape(index)[0]], tf.bool)
            return batch | {"answer": answers(index, tf.gather(regions, index), plain)}

        self._target, self._part = target, part
        made = batches.plain(part.source, size, BATCH).map(with_answers)
        # An answer has up to four floats where a picture has three bytes.
        self._pictures = made.cache() if part.count * size * size * 19 <= HELD else made
        self._traced: tuple[keras.Model, Callable[..., tuple[dict[str, tf.Tensor], tf.Tensor]]] | None = None
        self.rows = np.arange(part.count)

    def table(self, model: keras.Model) -> np.ndarray:
        """Return float64 [M, 1 + K] of a network in test mode: the loss of each picture, and `add_up` of it."""
        if self._traced is None or self._traced[0] is not model:
            self._traced = model, self._trace(model)
        target, tables, rows = self._target, [], []
        for batch in self._pictures:
            valid = batch["valid"]
            images, answers = tf.boolean_mask(batch["image"], valid), tf.boolean_mask(batch["answer"], valid)
            rows.append(batch["index"].numpy()[valid.numpy()])
            if not len(rows[-1]):
                continue
            made, losses = self._traced[1](images, answers)
            found = {name: each.numpy() for name, each in made.items()}
            own = losses.numpy().astype(np.float64)[:, None]
            tables.append(np.concatenate([own, target.add_up(answers.numpy(), found)], 1))
        self.rows = np.concatenate(rows)
        check_broken(self._part.source, self._part.count - len(self.rows), 1.0)
        return np.concatenate(tables)

    def _trace(self, model: keras.Model) -> Callable[..., tuple[dict[str, tf.Tensor], tf.Tensor]]:
        """Trace what is found in pictures, and the loss of each."""
        target, forward = self._target, forward_of(model)
        said = keras.Input(model.output[OUTPUT].shape[1:])
        finish = keras.Model(said, target.finish(said))

        def find(images: tf.Tensor, answers: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            outputs = forward(images)
            return target.decode(finish(outputs)), target.losses(answers, outputs)

        spec = tf.TensorSpec([None, *target.answer_shape(model)], tf.float32)
        call = tf.function(find, input_signature=[tf.TensorSpec(model.input[INPUT].shape, tf.uint8), spec])
        return call.get_concrete_function()

    def measure(self, model: keras.Model) -> Measure:
        table = self.table(model)
        score = _score(self._target, table[:, 1:])
        return Measure(-score if self._target.lower else score, float(table[:, 0].mean()))


class _LearnedHead(Head):
    """The head, learned by gradients on the frozen trunk."""

    def __init__(
        self,
        target: DenseTarget,
        job: Job,
        settings: FinetuneSettings,
        trunk: Trunk,
        test_mode: bool,
        val: MapSight,
    ):
        self._target, self._job, self._settings = target, job, settings
        self._learning = job if job.heads is None else dataclasses.replace(job, folder=job.heads)
        self._trunk, self._test_mode = trunk, test_mode
        self._stages = target.stages(trunk, job.start.stage)
        self._moments = network.moments(trunk, job.start.size, self._stages, _some_pictures(job, settings))
        if settings.verbose:
            say(target.frozen.name)
        lesson = lesson_of(job, settings, folder_of(self._learning, target.frozen), job.train, val, settings.steps)
        model, self.trained = learn(lesson, target.frozen, lambda: self._network(frozen=True))
        self.build = self._with(model)
        self.broken = job.val.count - len(val.rows)

    def again(self) -> Callable[[], PretextModel]:
        job = self._job
        if self._settings.verbose:
            say(f"{self._target.frozen.name} once more with the validation part, {counted(self.trained.step, 'step')}")
        folder = self._learning.folder / "refit-head"
        lesson = lesson_of(job, self._settings, folder, job.whole, None, self.trained.step)
        model, _ = learn(lesson, self._target.frozen, lambda: self._network(frozen=True))
        return self._with(model)

    def _network(self, frozen: bool = False) -> PretextModel:
        start, settings = self._job.start, self._settings
        return network.build(
            self._trunk.copy(),
            start.size,
            self._stages,
            self._target.answer_on,
            self._moments,
            test_mode=frozen or self._test_mode,
            freeze=settings.freeze,
            frozen=frozen,
        )

    def _with(self, learned: keras.Model) -> Callable[[], PretextModel]:
        weights = [np.array(weight) for weight in learned.get_layer("head").get_weights()]

        def make() -> PretextModel:
            model = self._network()
            model.get_layer("head").set_weights(weights)
            return model

        return make


def _some_pictures(job: Job, settings: FinetuneSettings) -> list[tf.Tensor]:
    source = batches.sample(job.train.source, MOMENT_BATCHES * BATCH, settings.seed)
    made = [tf.boolean_mask(batch["image"], batch["valid"]) for batch in batches.plain(source, job.start.size, BATCH)]
    return [images for images in made if len(images)]
