"""One candidate: a network that learns from labels for some steps, measured on the validation part now and then."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, write_json
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.measures import Measure
from tfssl.downstream.network import INPUT, OUTPUT, scales, weights_of
from tfssl.downstream.optimizers import make_optimizer
from tfssl.downstream.target import Part, Sight, Target
from tfssl.multitask import averaging
from tfssl.multitask.model import PretextModel, build_metrics
from tfssl.pipelines import batches
from tfssl.runs import metrics_log
from tfssl.runs.checkpoints import Checkpoints
from tfssl.training import callbacks, schedules, showing
from tfssl.training.opening import say
from tfssl.training.pretrain import segments

VALIDATIONS = 10
"""How often a candidate is measured, at most."""
BATCH = 256
"""Pictures that are measured at once."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What validation chooses among.

    Attributes:
      learning_rate, weight_decay: None of what has a closed form.
      title: what it is called where that is not said by these.
    """

    learning_rate: float | None = None
    weight_decay: float | None = None
    title: str = ""

    @property
    def name(self) -> str:
        """As it is printed, and as its folder is called."""
        return self.title or f"learning rate {self.learning_rate:g}, weight decay {self.weight_decay:g}"

    @classmethod
    def all_of(cls, settings: FinetuneSettings) -> list[Self]:
        """Return the candidates of some settings that train the whole network."""
        return [cls(rate, decay) for rate in settings.learning_rates for decay in settings.weight_decays]


@dataclasses.dataclass(frozen=True)
class Trained:
    """The best state of a candidate by validation.

    Attributes:
      step: after which it was so good.
      measure: on the validation part; None where there was none.
      images_per_second: while it learned.
    """

    step: int
    measure: Measure | None
    images_per_second: float = 0.0


class Validate(keras.callbacks.Callback):
    """Measures on the validation part at the end of each epoch; best.npz has the weights that were best."""

    def __init__(self, folder: Path, steps: callbacks.Steps, sight: Sight):
        super().__init__()
        self._folder, self._steps, self._sight = folder, steps, sight

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with averaging.averaged(self.model):
            found = self._sight.measure(self.model)
            line = {"step": self._steps.done, "score": found.score, "loss": found.loss}
            append(self._folder, line)
            best = best_line(self._folder)
            if best == line:
                save_weights(self._folder, self.model)
        if logs is not None:
            logs |= {"val_score": found.score}


def append(folder: Path, line: dict[str, Any]) -> None:
    """Add a line to validation.jsonl."""
    with open(folder / "validation.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


def lines(folder: Path, up_to: int | None = None) -> list[dict[str, Any]]:
    """Read validation.jsonl, up to a step; what a kill left unfinished is passed over."""
    path = folder / "validation.jsonl"
    read = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            read.append(json.loads(text))
        except ValueError:
            continue
    return [line for line in read if up_to is None or line["step"] <= up_to]


def best_line(folder: Path) -> dict[str, Any] | None:
    """Return the line of the best measure, the first of those that are level."""
    return max(lines(folder), key=lambda line: Measure(line["score"], line["loss"]).order, default=None)


def save_weights(folder: Path, model: keras.Model) -> None:
    """Write best.npz, whole or not at all."""
    with atomic_write(folder / "best.npz") as temporary:
        np.savez(temporary, *weights_of(model))


def load_weights(folder: Path, model: keras.Model) -> None:
    """Give a network the weights of best.npz."""
    with np.load(folder / "best.npz") as arrays:
        model.set_weights([arrays[f"arr_{number}"] for number in range(len(arrays.files))])


def steps_between(steps: int) -> int:
    """Return after how many steps a candidate is measured: at most ten times, and at the end."""
    return steps // max(count for count in range(1, VALIDATIONS + 1) if steps % count == 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a candidate learns and how.

    Attributes:
      folder: of its own.
      target: what kind of answers these are.
      part: what is learned from.
      sight: the validation part; None to learn until `stop` and keep what comes of it.
      stop: the last step; the learning rate falls as if all `settings.steps` were to come.
      stages: of the trunk, first to last.
      decay: see `FinetuneSettings.stage_decay`.
      listeners: what else hears of each step.
    """

    folder: Path
    target: Target
    part: Part
    sight: Sight | None
    settings: FinetuneSettings
    stop: int
    size: int
    stages: tuple[str, ...]
    decay: float
    listeners: tuple[keras.callbacks.Callback, ...] = ()


def learn(lesson: Lesson, candidate: Candidate, build: Callable[[], PretextModel]) -> tuple[PretextModel, Trained]:
    """Train a candidate, or resume it; return the network as validation found it best.

    Args:
      build: makes the network with its head as it begins.

    Raises:
      DivergedError: a loss or a weight is not finite.
      Stopped: SIGTERM or Ctrl-C came; it is saved, and is resumed when called again.
    """
    folder, settings = lesson.folder, lesson.settings
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(settings.seed)
    model = build()
    ended = folder / "result.json"
    if ended.exists():
        load_weights(folder, model)
        content = json.loads(ended.read_text())
        found = None if content["measure"] is None else Measure(*content["measure"])
        return model, Trained(content["step"], found, content["images_per_second"])
    speed = _fit(lesson, candidate, model)
    best = best_line(folder) if lesson.sight is not None else None
    if best is None:
        save_weights(folder, model)
    load_weights(folder, model)
    found = None if best is None else Measure(best["score"], best["loss"])
    trained = Trained(lesson.stop if best is None else best["step"], found, speed)
    write_json(ended, {"candidate": candidate.name, **dataclasses.asdict(trained), "measure": found})
    shutil.rmtree(folder / "checkpoints")  # three times the weights, for each of a curve's dozens of candidates
    return model, trained


def _fit(lesson: Lesson, candidate: Candidate, model: PretextModel) -> float:
    """Train what is left of a candidate; return the pictures a second."""
    folder, settings = lesson.folder, lesson.settings
    broken = batches.BrokenPictures(lesson.part.source)
    batch_size = min(settings.batch_size, lesson.part.count)

    def stream(first: int) -> tf.data.Dataset:
        return lesson.target.batches(lesson.part, lesson.size, batch_size, settings, first, broken)

    _compile(model, lesson, candidate)
    build_metrics(model, _spec(model, lesson.target, batch_size))
    checkpoints = Checkpoints(model, folder / "checkpoints", broken)
    start = checkpoints.restore(say)
    between = min(steps_between(settings.steps), lesson.stop)
    steps = callbacks.Steps(start, _schedule(settings, candidate), batch_size)
    saved = checkpoints.metrics() if start % between else None
    metrics_log.cut(folder, start)
    _cut_validation(folder, start)
    log = callbacks.MetricsLog(folder, steps, settings.log_every, saved)
    save = callbacks.SaveAndStop(steps, log, checkpoints, settings.checkpoint_every, between, lesson.stop)
    listeners: list[keras.callbacks.Callback] = [steps, *lesson.listeners]
    listeners += [] if saved is None else [callbacks.RestoreMetrics(saved)]
    listeners += [callbacks.StopWhenNotFinite(steps, checkpoints), log]
    if lesson.sight is not None:
        listeners.append(Validate(folder, steps, lesson.sight))
    verbose = showing.fit_verbose(settings.verbose)
    listeners += [showing.NowAndThen()] if settings.verbose and verbose == 2 else []
    listeners.append(keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False, update_freq="epoch"))
    limit = callbacks.BrokenLimit(lesson.part.source, broken, settings.max_broken)
    limit.check()
    save.listen()
    try:
        for first, length, last_epoch in segments(start, between, lesson.stop // between):
            with showing.colours_as_wanted():
                model.fit(
                    stream(first),
                    steps_per_epoch=length,
                    initial_epoch=first // between,
                    epochs=last_epoch,
                    callbacks=[*listeners, save, limit],
                    shuffle=False,
                    verbose=verbose,
                )
    except BaseException as problem:
        save.rescue(problem)
        raise
    finally:
        save.forget()
    if lesson.sight is None:
        averaging.take(model)
    return round(steps.images_per_second, 1)


def _spec(model: PretextModel, target: Target, rows: int) -> Any:
    """Return the `tf.TensorSpec`s of a batch to learn from."""
    images = model.input[INPUT]
    return (
        {INPUT: tf.TensorSpec([rows, *images.shape[1:]], tf.uint8)},
        {OUTPUT: target.answer_spec(model, rows)},
        {OUTPUT: tf.TensorSpec([rows], tf.float32)},
    )


def _compile(model: PretextModel, lesson: Lesson, candidate: Candidate) -> None:
    settings = lesson.settings
    loss, metrics = lesson.target.loss(settings)
    if candidate.weight_decay is None:
        raise UserError(f"{candidate.name} does not learn")
    by_stage = scales(model, lesson.stages, lesson.decay)
    optimizer = make_optimizer(settings.optimizer, model, by_stage, candidate.weight_decay, settings.ema)
    model.compile(optimizer, loss={OUTPUT: loss}, weighted_metrics={OUTPUT: metrics}, jit_compile=False)


def _schedule(settings: FinetuneSettings, candidate: Candidate) -> Callable[[int], float]:
    peak = candidate.learning_rate or 0.0
    return lambda step: schedules.learning_rate(step, settings.steps, peak, "cosine", settings.warm_up)


def _cut_validation(folder: Path, step: int) -> None:
    kept = lines(folder, step)
    with atomic_write(folder / "validation.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
