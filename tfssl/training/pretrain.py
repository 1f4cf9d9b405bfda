"""`pretrain`: from a source to an encoder, in a folder that can be resumed. Its steps: open, build, fit, finish."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.base.files import atomic_write, write_json
from tfssl.base.keras_state import on_its_own, plain_keras
from tfssl.models.trunks.files import with_random_weights
from tfssl.multitask import averaging
from tfssl.multitask.encoders import AnyPlans, save_trained, save_weights
from tfssl.multitask.model import PretextModel, build_metrics, compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.multitask.puzzle_stream import stream, stream_spec
from tfssl.pipelines import batches
from tfssl.runs import heads, metrics_log
from tfssl.runs.checkpoints import Checkpoints
from tfssl.runs.run import Run
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.tasks.parts.many_updates import ManyUpdates
from tfssl.training import callbacks, schedules, showing
from tfssl.training.config import Complete, PretrainSettings
from tfssl.training.guessing import AboveGuessing
from tfssl.training.learning import optimizer_of
from tfssl.training.opening import Opened, open_run, say
from tfssl.training.warm_start import take_over
from tfssl.training.watching import Watching, make_watching


def pretrain(
    data: Any,
    tasks: str | PretextTask | Sequence[str | PretextTask] = "rotation, contrastive",
    trunk: str | Path | keras.Model = "resnet10(width=16)",
    size: int | None = None,
    epochs: int | None = None,
    out: str | Path = "runs/first",
    *,
    sound_trunk: str = "l3(width=64)",
    steps_per_epoch: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    optimizer: str = "sgd",
    learning_rate: float | str | None = None,
    schedule: str = "cosine",
    warm_up: float = 0.02,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    clip_norm: float | None = None,
    accumulate: int = 1,
    ema: float | None = None,
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
    watch: Any = None,
    watch_every: int | None = None,
    stop_when: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    report: bool = True,
    verbose: int = 1,
) -> Run:
    """Train one encoder on pretext tasks, or resume the run of a folder that was interrupted.

    Args:
      data: a folder of pictures, clips that `ingest` prepared, 'toy:images', 'toy:clips', 'tfds:NAME', a
        `tf.data.Dataset`, or text, 'text:FILES': see `open_source`.
      tasks: pretext tasks, as 'rotation' or 'rotation(rotations=4)', or objects.
      trunk: the network. With new weights 'resnet18', 'resnet10(width=32)', or the name of any network of
        `keras.applications`; with weights that exist "mobilenet_v3_small(weights='imagenet')", or a file of weights in
        place of 'imagenet'; a .keras file of an encoder or a trunk; or a Keras model, with the weights that it has. See
        `tfssl.models.trunks.opening`. The run keeps weights that it began with beside random ones, and `evaluate`
        measures both.
      size: side of the crops, pixels. Where None, 96; 32 for pictures whose shorter side is below 64 in the median.
      epochs: passes over the source, or of `steps_per_epoch` steps where that is given. Where None, as many as make
        2,000 steps (20 of text).
      out: the run's folder.
      sound_trunk: the network for sound, of tasks that listen: see `tfssl.models.trunks.sound`.
      steps_per_epoch: steps of an epoch; one pass over the source where None.
      batch_size: source images in a step, on all devices together.
      seed: weights, order, crops and puzzles follow from it.
      optimizer: "sgd" with Nesterov momentum; "adamw"; or "lars", layer-wise adaptive rates for large batches: see
        `tfssl.multitask.optimizers`.
      learning_rate: the peak for 64 source images a step. Grows with `batch_size`: in proportion with "sgd" (Goyal et
        al. 2017), by the square root with "adamw" (Malladi et al. 2022) and "lars" (Chen et al. 2020). Where None, 0.1
        with "sgd", 0.001 with "adamw", 0.6 with "lars". "auto" chooses the peak, for the pictures of an update that
        there are, by a range test (Smith 2017): a hundred updates on a network that is thrown away, at rates from a
        thousandth to a hundred times the optimizer's own; a third of the rate at which the smoothed loss was lowest
        before it rose.
      schedule: "cosine" or "step": see `tfssl.training.schedules`.
      warm_up: part of the steps in which the learning rate rises.
      momentum: Nesterov's of "sgd", plain of "lars", beta_1 of "adamw".
      weight_decay: on kernels; not on batch norm and biases. Of "sgd" L2, part of the gradient as in the papers
        (Caffe, PyTorch), and not decoupled as Keras has it; of "lars" the same, before the step gets its length
        (SimCLR: 1e-6); of "adamw" decoupled, w -= rate * decay * w (common: 0.05).
      clip_norm: the largest norm that the gradient of all weights together may have, before weight decay comes to it
        and on all devices together; a larger one is made shorter. None for any.
      accumulate: steps whose mean gradient makes one update, where more pictures are wanted than memory has room for.
        The learning rate grows with the pictures of an update; steps, epochs and the schedule count small batches.
        Batch norm sees each small batch by itself, and losses that compare pictures do so within it. Not with mixing
        "alternate", whose steps make several updates.
      ema: momentum of a moving average of the weights, as 0.999, moved at each update. The encoder and the heads that
        are kept, watched and read are of the average, with batch norm statistics of their own; metrics are those of
        the weights that learn. None for no average.
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
        that both have, where they fit; what is not taken over is said. A run that began with weights that existed is
        continued by the same `trunk`; else these come from one of both.
      keep_every: epochs between copies of the trunk that are kept, see `Run.trunk`.
      watch: labelled data, anything that `open_splits` takes, or 'none' for nothing. k-NN and a closed-form probe of
        the best two stages are measured on a small part of its training pictures, see `tfssl.training.watched`; where
        None, the effective rank of a few pictures of `data` is. Shown as knn, probe and rank, and kept in
        metrics.jsonl: see `tfssl.runs.watch`. No weight depends on it.
      watch_every: epochs between looks; where None, so many that they take at most 5 % of the time, 1 % without labels.
      stop_when: "flat" ends the run where neither k-NN nor the probe has risen by more than a standard error for five
        looks: see `watch.is_flat`. The schedule is still that of all `epochs`, so that a run that was stopped never
        came to its low learning rates.
      strategy: one of `tf.distribute`; where None, that in whose scope it is called, or `MirroredStrategy` where there
        are several GPUs.
      report: write report.html at the end.
      verbose: 1 a progress bar, on a terminal or in a notebook, and elsewhere as 2; 2 a line an epoch, and every five
        minutes; 0 neither.

    Returns:
      The run. `run.result` holds steps, images/s, metrics and the count of broken files; "watch" where it was looked
      at, and "stopped" where it ended before its last epoch.

    Raises:
      UserError: whatever the user can mend. What existed stays as it was.
      Stopped: SIGTERM or Ctrl-C came; the run is saved, and is resumed when called again.
    """
    asked = PretrainSettings(**locals())
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = strategy or default_strategy()
    with on_its_own():
        opened = open_run(asked, data, tasks, trunk, init)
        settings = opened.settings
        if opened.run.result:
            say(f"the run in {opened.run.folder} has ended already; nothing is left to do")
            return opened.run
        built = _build(settings, opened, strategy)
        fitted = _fit(settings, opened, built)
        return _finish(settings, opened, built, fitted)


@dataclasses.dataclass(frozen=True)
class Built:
    """What is trained. `start` is the step that its checkpoint is of, 0 where it has none."""

    model: PretextModel
    encoders: Encoders
    checkpoints: Checkpoints
    broken: batches.BrokenPictures
    start: int


def _build(settings: Complete, opened: Opened, strategy: tf.distribute.Strategy) -> Built:
    """Build what is trained, as it was when it was saved last; keep the encoders as they were before training."""
    run, plans, tasks = opened.run, opened.plans, opened.tasks
    broken = batches.BrokenPictures(opened.source)
    precision = f"mixed_{settings.mixed_precision}" if settings.mixed_precision else "float32"
    keras.utils.set_random_seed(settings.seed)  # whether anything had to be prepared or not
    with strategy.scope(), plain_keras(precision):
        encoders = plans.make()
        spec = stream_spec(tasks, settings.size, settings.batch_size)
        model = make_model(tasks, encoders, spec)
        # Momentum and decay would change every row of a table at each update.
        is_many = any(isinstance(task, ManyUpdates) for task in tasks)
        optimizer = make_optimizer(0.0, 0.0) if is_many else optimizer_of(settings)
        scales = run.prepared["scales"]
        compile_model(model, tasks, encoders, optimizer, settings.jit_compile, settings.mixing, scales)
        if not tf.distribute.has_strategy():
            build_metrics(model, spec)
        checkpoints = Checkpoints(model, run.folder / "checkpoints", broken, averaging.averages(model))
    _keep_beginning(run, plans, encoders)
    start = checkpoints.restore(say)
    if opened.parent is not None and not start:
        say(take_over(opened.parent, model, tasks, encoders))
    if not start:
        averaging.begin(model)
    if start:
        say(f"resuming the run in {run.folder} from step {start} of {run.settings.steps}")
    return Built(model, encoders, checkpoints, broken, start)


def _keep_beginning(run: Run, plans: AnyPlans, encoders: Encoders) -> None:
    """Keep the encoders as they are before training; of a trunk with weights that existed, with random ones too."""
    for kind, each in plans.kept.items():
        path = run.start_path if kind == "image" and run.settings.start else run.random_path(kind)
        if not path.exists():
            each.body.set_weights(encoders[kind].body.get_weights())
            save_weights(path, plans, kind, each)
    if run.settings.start and not run.random_path().exists():
        keras.utils.set_random_seed(run.settings.seed)
        save_weights(run.random_path(), plans, "image", with_random_weights(plans.kept["image"]))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What training came to in this process.

    Attributes:
      steps: counts those of the whole run.
      metrics: of the last epoch; {} where none was left to train.
      watching: what was seen; None where nothing was watched.
      seconds: that it took.
    """

    steps: callbacks.Steps
    metrics: dict[str, float]
    watching: Watching | None
    seconds: float


def _fit(settings: Complete, opened: Opened, built: Built) -> Fitted:
    """Train what is left of the run."""
    began = time.perf_counter()
    steps_per_epoch = opened.run.settings.steps_per_epoch
    steps = _steps(settings, opened, built)
    saved = built.checkpoints.metrics() if built.start % steps_per_epoch else None
    metrics_log.cut(opened.run.folder, built.start)
    watching = make_watching(settings, opened, built.encoders, _say_below_bar(settings))
    seen: Callable[[], dict[str, Any]] = dict if watching is None else lambda: watching.latest
    log = callbacks.MetricsLog(opened.run.folder, steps, settings.log_every, saved, seen)
    total = opened.run.settings.steps
    save = callbacks.SaveAndStop(steps, log, built.checkpoints, settings.checkpoint_every, steps_per_epoch, total)
    listeners = [steps, *([] if saved is None else [callbacks.RestoreMetrics(saved)])]
    listeners += [callbacks.StopWhenNotFinite(steps, built.checkpoints)]
    listeners += [log] if watching is None else [watching, log]
    limit = callbacks.BrokenLimit(opened.source, built.broken, settings.max_broken)
    listeners += [*_watchers(settings, opened, built, steps), save, limit]
    verbose = showing.fit_verbose(settings.verbose)
    metrics: dict[str, float] = {}
    limit.check()
    _keep_missing(settings, opened, built)
    save.listen()
    try:
        if watching is not None and not built.start:
            watching.look_before_training(settings.verbose)
        for first, length, last_epoch in segments(built.start, steps_per_epoch, settings.epochs):
            if watching is not None and watching.is_flat:
                break
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
    return Fitted(steps, metrics, watching, time.perf_counter() - began)


def _keep_missing(settings: Complete, opened: Opened, built: Built) -> None:
    """Keep the trunk of the epoch that the run is resumed behind, where an error came before that was done."""
    epoch, inside = divmod(built.start, opened.run.settings.steps_per_epoch)
    if not settings.keep_every or not epoch or inside or epoch % settings.keep_every:
        return
    if not all(opened.run.trained_path(kind, epoch).exists() for kind in opened.plans.kept):
        _save_trained(opened, built, epoch)


def _steps(settings: Complete, opened: Opened, built: Built) -> callbacks.Steps:
    total, peak = opened.run.settings.steps, opened.run.peak

    def learning_rate(step: int) -> float:
        for task in opened.tasks:
            if isinstance(task, ManyUpdates):
                return task.learning_rate(step / total)
        return schedules.learning_rate(step, total, peak, settings.schedule, settings.warm_up)

    source = opened.source
    each = source.measures_per_item
    return callbacks.Steps(built.start, learning_rate, settings.batch_size * each, source.measure)


def _watchers(
    settings: Complete, opened: Opened, built: Built, steps: callbacks.Steps
) -> list[keras.callbacks.Callback]:
    """Make the callbacks that look on while a run trains, and say or keep something."""

    def keep_trunk(epoch: int) -> None:
        _save_trained(opened, built, epoch)

    warm_up = schedules.warm_up_steps(opened.run.settings.steps, settings.warm_up)
    return [
        AboveGuessing(opened.tasks, steps, warm_up, _say_below_bar(settings)),
        *([callbacks.EachEpochs(settings.keep_every, keep_trunk)] if settings.keep_every else []),
        *([showing.NowAndThen()] if settings.verbose and showing.fit_verbose(settings.verbose) == 2 else []),
        keras.callbacks.TensorBoard(str(opened.run.folder / "tensorboard"), write_graph=False, update_freq="epoch"),
    ]


def _finish(settings: Complete, opened: Opened, built: Built, fitted: Fitted) -> Run:
    """Write the encoders, the heads, what was broken, the result and the report."""
    run, source, steps = opened.run, opened.source, fitted.steps
    _save_trained(opened, built)
    with averaging.averaged(built.model):
        for task in opened.tasks:
            heads.save(run, task, built.model, opened.plans.kept, source)
    names = built.broken.names()
    if names:
        with atomic_write(run.folder / "broken.txt") as temporary:
            lines = "".join(f"{name} {problem}\n" for name, problem in sorted(names.items()))
            temporary.write_bytes(os.fsencode(lines))
        listed = f"{len(names):,} of {source.listed:,} {source.items}"
        say(f"left out: {listed} that cannot be read; see {run.folder / 'broken.txt'}")
    last = metrics_log.read_epoch_end(run.folder)  # of a run killed after its last step, the only source of figures
    speed = f"{source.measure}_per_second"
    result = {
        "run": str(run.folder),
        "epochs": steps.done // run.settings.steps_per_epoch,
        "steps": steps.done,
        speed: round(steps.images_per_second, 1) or last[speed],
        "metrics": metrics_log.metrics_of(fitted.metrics or last),
        "broken_files": len(names),
        **({} if fitted.watching is None else fitted.watching.result(fitted.seconds, settings.verbose)),
    }
    write_json(run.folder / "result.json", result)
    if settings.report:
        from tfssl.report.page import write_report

        write_report(run)
    return run


def _stream(settings: Complete, opened: Opened, first: int, broken: batches.BrokenPictures) -> tf.data.Dataset:
    """Make puzzles from step `first` on."""
    size, batch_size, seed = settings.size, settings.batch_size, settings.seed
    return stream(opened.source, opened.tasks, size, batch_size, seed, first, broken, settings.verbose)


def _save_trained(opened: Opened, built: Built, epoch: int | None = None) -> None:
    settings = opened.run.settings
    path = functools.partial(opened.run.trained_path, epoch=epoch)
    with averaging.averaged(built.model):
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


def _say_below_bar(settings: Complete) -> Callable[[str], None]:
    """Make what says a line while Keras draws its bar."""

    def say_it(line: str) -> None:
        _end_bar(settings)
        say(line)

    return say_it


def _end_bar(settings: Complete) -> None:
    if showing.fit_verbose(settings.verbose) == 1:
        print(flush=True)  # to where Keras draws its bar, whose line is not ended while it trains
