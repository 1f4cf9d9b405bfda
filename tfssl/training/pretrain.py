"""`pretrain`: from a source to an encoder, in a folder that can be resumed. Its steps: open, build, fit, finish."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.base.files import atomic_write, write_json
from tfssl.base.keras_state import on_its_own, plain_keras
from tfssl.multitask.encoders import save_trained, save_weights
from tfssl.multitask.model import PretextModel, build_metrics, compile_model, make_model, make_optimizer
from tfssl.multitask.puzzle_stream import stream, stream_spec
from tfssl.pipelines import batches
from tfssl.runs import heads, metrics_log
from tfssl.runs.checkpoints import Checkpoints
from tfssl.runs.run import Run
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.training import callbacks, schedules, showing
from tfssl.training.config import PretrainSettings
from tfssl.training.guessing import AboveGuessing
from tfssl.training.opening import Opened, open_run, say
from tfssl.training.warm_start import take_over


def pretrain(
    data: Any,
    tasks: str | PretextTask | Sequence[str | PretextTask] = "rotation",
    trunk: str | keras.Model = "resnet18",
    size: int = 96,
    epochs: int = 20,
    out: str | Path = "runs/first",
    *,
    sound_trunk: str = "l3(width=64)",
    steps_per_epoch: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    learning_rate: float = 0.1,
    schedule: str = "cosine",
    warm_up: float = 0.02,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    mixed_precision: str | None = None,
    jit_compile: bool = False,
    deterministic: bool = False,
    max_broken: float = 0.01,
    log_every: int = 20,
    checkpoint_every: int = 500,
    mixing: str = "joint",
    balance: str = "initial",
    init: str | Path | Run | None = None,
    keep_every: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    report: bool = True,
    verbose: int = 1,
) -> Run:
    """Train one encoder on pretext tasks, or resume the run of a folder that was interrupted.

    Args:
      data: a folder of pictures, clips that `ingest` prepared, 'toy:images', 'toy:clips', 'tfds:NAME', a
        `tf.data.Dataset`: see `open_source`.
      tasks: pretext tasks, as 'rotation' or 'rotation(rotations=4)', or objects.
      trunk: the network, as 'resnet18' or 'resnet10(width=32)', or a Keras model: see `tfssl.models.trunks`.
      size: side of the crops, pixels.
      epochs: passes over the source, or of `steps_per_epoch` steps where that is given.
      out: the run's folder.
      sound_trunk: the network for sound, of tasks that listen: see `tfssl.models.trunks.sound`.
      steps_per_epoch: steps of an epoch; one pass over the source where None.
      batch_size: source images in a step, on all devices together.
      seed: weights, order, crops and puzzles follow from it.
      learning_rate: the peak for 64 source images a step; grows in proportion to `batch_size` (Goyal et al. 2017).
      schedule: "cosine" or "step": see `tfssl.training.schedules`.
      warm_up: part of the steps in which the learning rate rises.
      momentum: Nesterov's.
      weight_decay: L2, part of the gradient as in the papers (Caffe, PyTorch), and not decoupled as Keras has it: see
        `tfssl.multitask.optimizers`. On kernels; not on batch norm and biases.
      mixed_precision: None, "float16" or "bfloat16".
      jit_compile: compile the step with XLA.
      deterministic: turn TensorFlow's op determinism on, for the whole process: the run repeats bit by bit, and a run
        that was killed ends with the weights of one that was not. Slower.
      max_broken: largest part of the pictures that may be unreadable before the run stops.
      log_every: steps between lines of metrics.jsonl, which hold means over these steps, and over the whole epoch in
        the line at the end of each.
      checkpoint_every: steps between checkpoints; there is one at the end of each epoch too.
      mixing: "joint", one update a step from the weighted sum of the tasks' losses; or "alternate", one update a task,
        each at the full learning rate. A step costs about the same either way, but n tasks get n times the updates.
      balance: with "initial", the losses of several tasks are divided so that before training all are of the same
        size, and their sum is what it was. With "gradient", so that the gradients that they send into the shared
        encoders are of the same size, and what losses count is 1 in the mean: measured on a network that is trained
        for 100 steps and thrown away. A task's `weight` comes on top. "none" leaves them as they are.
      init: a run whose weights to begin with: its trunk, which must be of the same shape, and the heads of the tasks
        that both have, where they fit; what is not taken over is said.
      keep_every: epochs between copies of the trunk that are kept, see `Run.trunk`.
      strategy: one of `tf.distribute`; where None, that in whose scope it is called, or `MirroredStrategy` where there
        are several GPUs.
      report: write report.html at the end.
      verbose: 1 a progress bar, on a terminal or in a notebook, and elsewhere as 2; 2 a line an epoch, and every five
        minutes; 0 neither.

    Returns:
      The run. `run.result` holds steps, images/s, metrics and the count of broken files.

    Raises:
      UserError: whatever the user can mend. What existed stays as it was.
      Stopped: SIGTERM or Ctrl-C came; the run is saved, and is resumed when called again.
    """
    settings = PretrainSettings(**locals())
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = strategy or default_strategy()
    with on_its_own():
        opened = open_run(settings, data, tasks, trunk, init)
        if opened.run.result:
            say(f"the run in {opened.run.folder} has ended already; nothing is left to do")
            return opened.run
        built = _build(settings, opened, strategy)
        steps, metrics = _fit(settings, opened, built)
        return _finish(settings, opened, built, steps, metrics)


@dataclasses.dataclass(frozen=True)
class Built:
    """What is trained. `start` is the step that its checkpoint is of, 0 where it has none."""

    model: PretextModel
    encoders: Encoders
    checkpoints: Checkpoints
    broken: batches.BrokenPictures
    start: int


def _build(settings: PretrainSettings, opened: Opened, strategy: tf.distribute.Strategy) -> Built:
    """Build what is trained, as it was when it was saved last; keep the encoders as they were before training."""
    run, plans, tasks = opened.run, opened.plans, opened.tasks
    broken = batches.BrokenPictures(opened.source)
    precision = f"mixed_{settings.mixed_precision}" if settings.mixed_precision else "float32"
    keras.utils.set_random_seed(settings.seed)  # whether anything had to be prepared or not
    with strategy.scope(), plain_keras(precision):
        encoders = plans.make()
        spec = stream_spec(tasks, settings.size, settings.batch_size)
        model = make_model(tasks, encoders, spec)
        optimizer = make_optimizer(settings.momentum, settings.weight_decay)
        scales = run.prepared["scales"]
        compile_model(model, tasks, encoders, optimizer, settings.jit_compile, settings.mixing, scales)
        if not tf.distribute.has_strategy():
            build_metrics(model, spec)
        checkpoints = Checkpoints(model, run.folder / "checkpoints", broken)
    for kind, each in plans.kept.items():
        if not run.random_path(kind).exists():
            each.body.set_weights(encoders[kind].body.get_weights())
            save_weights(run.random_path(kind), plans, kind, each)
    start = checkpoints.restore(say)
    if opened.parent is not None and not start:
        say(take_over(opened.parent, model, tasks, encoders))
    if start:
        say(f"resuming the run in {run.folder} from step {start} of {run.settings.steps}")
    return Built(model, encoders, checkpoints, broken, start)


def _fit(settings: PretrainSettings, opened: Opened, built: Built) -> tuple[callbacks.Steps, dict[str, float]]:
    """Train what is left of the run: its steps, and the metrics of the last epoch."""
    steps_per_epoch = opened.run.settings.steps_per_epoch
    steps = _steps(settings, opened, built)
    saved = built.checkpoints.metrics() if built.start % steps_per_epoch else None
    metrics_log.cut(opened.run.folder, built.start)
    log = callbacks.MetricsLog(opened.run.folder, steps, settings.log_every, saved)
    total = opened.run.settings.steps
    save = callbacks.SaveAndStop(steps, log, built.checkpoints, settings.checkpoint_every, steps_per_epoch, total)
    listeners = [steps, *([] if saved is None else [callbacks.RestoreMetrics(saved)])]
    listeners += [callbacks.StopWhenNotFinite(steps, built.checkpoints), log]
    limit = callbacks.BrokenLimit(opened.source, built.broken, settings.max_broken)
    listeners += [*_watchers(settings, opened, built, steps), save, limit]
    verbose = showing.fit_verbose(settings.verbose)
    metrics: dict[str, float] = {}
    limit.check()
    _keep_missing(settings, opened, built)
    save.listen()
    try:
        for first, length, last_epoch in segments(built.start, steps_per_epoch, settings.epochs):
            with showing.colours_as_wanted():
                history = built.model.fit(
                    _stream(settings, opened, first, built.broken),
                    steps_per_epoch=length,
                    initial_epoch=first // steps_per_epoch,
                    epochs=last_epoch,
                    callbacks=listeners,
                    shuffle=False,
                    verbose=verbose,
                ).history
            metrics = {key: float(values[-1]) for key, values in history.items()}
    except BaseException as problem:
        save.rescue(problem)
        _end_bar(settings)
        raise
    finally:
        save.forget()
    return steps, metrics


def _keep_missing(settings: PretrainSettings, opened: Opened, built: Built) -> None:
    """Keep the trunk of the epoch that the run is resumed behind, where an error came before that was done."""
    epoch, inside = divmod(built.start, opened.run.settings.steps_per_epoch)
    if not settings.keep_every or not epoch or inside or epoch % settings.keep_every:
        return
    if not all(opened.run.trained_path(kind, epoch).exists() for kind in opened.plans.kept):
        _save_trained(opened, built, epoch)


def _steps(settings: PretrainSettings, opened: Opened, built: Built) -> callbacks.Steps:
    total, peak = opened.run.settings.steps, settings.peak

    def learning_rate(step: int) -> float:
        return schedules.learning_rate(step, total, peak, settings.schedule, settings.warm_up)

    return callbacks.Steps(built.start, learning_rate, settings.batch_size)


def _watchers(
    settings: PretrainSettings, opened: Opened, built: Built, steps: callbacks.Steps
) -> list[keras.callbacks.Callback]:
    """Make the callbacks that look on while a run trains, and say or keep something."""

    def say_below_bar(line: str) -> None:
        _end_bar(settings)
        say(line)

    def keep_trunk(epoch: int) -> None:
        _save_trained(opened, built, epoch)

    warm_up = schedules.warm_up_steps(opened.run.settings.steps, settings.warm_up)
    return [
        AboveGuessing(opened.tasks, steps, warm_up, say_below_bar),
        *([callbacks.EachEpochs(settings.keep_every, keep_trunk)] if settings.keep_every else []),
        *([showing.NowAndThen()] if settings.verbose and showing.fit_verbose(settings.verbose) == 2 else []),
        keras.callbacks.TensorBoard(str(opened.run.folder / "tensorboard"), write_graph=False, update_freq="epoch"),
    ]


def _finish(
    settings: PretrainSettings, opened: Opened, built: Built, steps: callbacks.Steps, metrics: dict[str, float]
) -> Run:
    """Write the encoders, the heads, what was broken, the result and the report."""
    run, source = opened.run, opened.source
    _save_trained(opened, built)
    for task in opened.tasks:
        heads.save(run, task, built.model, opened.plans.kept, source)
    names = built.broken.names()
    if names:
        with atomic_write(run.folder / "broken.txt") as temporary:
            lines = "".join(f"{name} {problem}\n" for name, problem in sorted(names.items()))
            temporary.write_bytes(os.fsencode(lines))
        listed = f"{len(names)} of {source.listed} {source.items}"
        say(f"{listed} are broken and were left out: see {run.folder / 'broken.txt'}")
    last = metrics_log.read_epoch_end(run.folder)  # of a run killed after its last step, the only source of figures
    result = {
        "run": str(run.folder),
        "epochs": settings.epochs,
        "steps": steps.done,
        "images_per_second": round(steps.images_per_second, 1) or last["images_per_second"],
        "metrics": metrics_log.metrics_of(metrics or last),
        "broken_files": len(names),
    }
    write_json(run.folder / "result.json", result)
    if settings.report:
        from tfssl.report.page import write_report

        write_report(run)
    return run


def _stream(settings: PretrainSettings, opened: Opened, first: int, broken: batches.BrokenPictures) -> tf.data.Dataset:
    """Make puzzles from step `first` on."""
    size, batch_size, seed = settings.size, settings.batch_size, settings.seed
    return stream(opened.source, opened.tasks, size, batch_size, seed, first, broken, settings.verbose)


def _save_trained(opened: Opened, built: Built, epoch: int | None = None) -> None:
    settings = opened.run.settings
    path = functools.partial(opened.run.trained_path, epoch=epoch)
    save_trained(path, opened.plans, built.encoders, opened.source, settings.batch_size, settings.seed)


def segments(start: int, steps_per_epoch: int, epochs: int) -> Iterator[tuple[int, int, int]]:
    """List the calls of `fit` that resume from step `start`: (first step, steps an epoch, last epoch).

    An epoch that was interrupted is ended by a call of its own; all others share one.
    """
    epoch, inside = divmod(start, steps_per_epoch)
    if inside:
        yield start, steps_per_epoch - inside, epoch + 1
        epoch += 1
    if epoch < epochs:
        yield epoch * steps_per_epoch, steps_per_epoch, epochs


def default_strategy() -> tf.distribute.Strategy:
    """Return `MirroredStrategy` where there are several GPUs, else the strategy that is in force."""
    if tf.distribute.has_strategy() or len(tf.config.list_physical_devices("GPU")) < 2:
        return tf.distribute.get_strategy()
    return _strategy_of_all_gpus()


@functools.cache
def _strategy_of_all_gpus() -> tf.distribute.Strategy:
    """Return one strategy for all runs of a process: two give their collective operations the same keys."""
    return tf.distribute.MirroredStrategy()


def _end_bar(settings: PretrainSettings) -> None:
    if showing.fit_verbose(settings.verbose) == 1:
        print(flush=True)  # to where Keras draws its bar, whose line is not ended while it trains
