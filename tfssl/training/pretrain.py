"""`pretrain`: from a source to an encoder, in a folder that can be resumed. Its steps: open, build, fit, finish."""

import dataclasses
import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.base import environment
from tfssl.base.files import atomic_write, write_json
from tfssl.models.trunks import make_trunk
from tfssl.multitask import loss_balance
from tfssl.multitask.encoders import Plans, save_trained, save_weights, sound_plan
from tfssl.multitask.model import PretextModel, build_metrics, compile_model, make_model, make_optimizer
from tfssl.multitask.puzzle_stream import check_fits, stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, absolute_name, open_source
from tfssl.runs import heads, metrics_log, seen
from tfssl.runs.checkpoints import Checkpoints
from tfssl.runs.config import Recipe, RunSettings
from tfssl.runs.run import Run, create_or_match, load_run
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.training import callbacks, schedules
from tfssl.training.config import PretrainSettings
from tfssl.training.guessing import AboveGuessing
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
      strategy: of `tf.distribute`; several GPUs get `MirroredStrategy` by themselves.
      report: write report.html at the end.
      verbose: 1 a progress bar, 2 a line an epoch, 0 nothing.

    Returns:
      The run. `run.result` holds steps, images/s, metrics and the count of broken files.

    Raises:
      UserError: whatever the user can mend. What existed stays as it was.
      Stopped: SIGTERM or Ctrl-C came; the run has saved, and goes on when called again.
    """
    settings = PretrainSettings(**locals())
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    opened = _open(settings, data, tasks, trunk, init)
    if opened.run.result:
        _say(f"the run in {opened.run.folder} has ended already; nothing is left to do")
        return opened.run
    built = _build(settings, opened, strategy)
    steps, metrics = _fit(settings, opened, built)
    return _finish(settings, opened, built, steps, metrics)


@dataclasses.dataclass(frozen=True)
class Opened:
    """What a run reads and where it lies.

    Attributes:
      run: begun, or found in its folder.
      source: what it is trained on.
      tasks: prepared.
      plans: of its encoders.
      parent: the run whose weights it begins with.
    """

    run: Run
    source: AnySource
    tasks: Sequence[PretextTask]
    plans: Plans
    parent: Run | None


@dataclasses.dataclass(frozen=True)
class Built:
    """What is trained. `start` is the step that its checkpoint is of, 0 where it has none."""

    model: PretextModel
    encoders: Encoders
    checkpoints: Checkpoints
    broken: batches.BrokenPictures
    start: int


def _open(settings: PretrainSettings, data: Any, tasks: Any, trunk: str | keras.Model, init: Any) -> Opened:
    """Opens the source and the run's folder. Whatever does not fit is refused here, before anything is written."""
    parsed = parse_tasks(tasks)
    source = open_source(data, settings.max_broken)
    parent = None if init is None else load_run(init)
    if settings.batch_size > source.count:
        raise batches.batch_too_large(settings.batch_size, source)
    check_fits(parsed, settings.batch_size, source)
    keras.utils.set_random_seed(settings.seed)
    stages = make_trunk(trunk, settings.size).stages
    plans = Plans(trunk, settings.size)

    def prepare() -> dict[str, Any]:
        nonlocal plans
        tasks = [task.prepared(source) for task in parsed]
        plans = dataclasses.replace(plans, sound=sound_plan(tasks, source, settings.size, settings.sound_trunk))
        _ = plans.kept  # refused here where they do not fit
        return {
            "learned": {task.name: task.learned() for task in tasks},
            "sound": plans.sound,
            "scales": _scales(tasks, plans, source, settings),
        }

    recipe = _recipe(settings, parsed, source, stages, parent)
    data_facts = {"name": absolute_name(source.name), "count": source.count, "fingerprint": source.fingerprint}
    run = create_or_match(settings.out, recipe, data_facts, prepare)
    if plans.sound != run.sound:
        plans = dataclasses.replace(plans, sound=run.sound)
    seen.keep(run, source, parent)
    learned = run.prepared["learned"]
    opened = Opened(run, source, [task.with_learned(learned[task.name]) for task in parsed], plans, parent)
    _advise(settings, opened)
    return opened


def _recipe(
    settings: PretrainSettings,
    tasks: Sequence[PretextTask],
    source: AnySource,
    stages: Sequence[str],
    parent: Run | None,
) -> RunSettings:
    """What run.json holds of the settings, with what the source and the trunk make of them."""
    kept = settings.model_dump(include=set(Recipe.model_fields)) | {
        "tasks": ", ".join(map(str, tasks)),
        "steps_per_epoch": settings.steps_per_epoch or source.count // settings.batch_size,
        "init": None if parent is None else parent.folder.resolve(),
        "stages": stages,
    }
    if not any("sound" in task.reads for task in tasks):
        del kept["sound_trunk"]
    return RunSettings(**kept)


def _advise(settings: PretrainSettings, opened: Opened) -> None:
    """Says what is not wrong, but should be known before hours of training."""
    for task in opened.tasks:
        for sentence in task.advice(settings.size, opened.source):
            _say(f"{task.name}: {sentence}")
    if settings.mixing == "alternate" and len(opened.tasks) > 1:
        _say(
            f"mixing alternate: a step makes {len(opened.tasks)} updates at the full learning rate, where joint makes"
            " one"
        )
    if not opened.run.result and (others := environment.changes(opened.run.versions)):
        began = f"the run in {opened.run.folder} began with {others}"
        _say(f"{began}; that it ends as it would have, bit for bit, is not promised")


def _build(settings: PretrainSettings, opened: Opened, strategy: tf.distribute.Strategy | None) -> Built:
    """Builds what is trained, as it was when it was saved last; keeps the encoders as they were before training."""
    run, plans, tasks = opened.run, opened.plans, opened.tasks
    broken = batches.BrokenPictures(opened.source)
    precision = f"mixed_{settings.mixed_precision}" if settings.mixed_precision else "float32"
    keras.utils.set_random_seed(settings.seed)  # whether anything had to be prepared or not
    with (strategy or default_strategy()).scope(), dtype_policy(precision):
        encoders = plans.make()
        spec = _stream(settings, opened, 0, broken).element_spec
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
    start = checkpoints.restore(_say)
    if opened.parent is not None and not start:
        _say(take_over(opened.parent, model, tasks, encoders))
    if start:
        _say(f"going on with the run in {run.folder} from step {start} of {run.settings.steps}")
    return Built(model, encoders, checkpoints, broken, start)


def _fit(settings: PretrainSettings, opened: Opened, built: Built) -> tuple[callbacks.Steps, dict[str, float]]:
    """Trains what is left of the run: its steps, and the metrics of the last epoch."""
    steps_per_epoch = opened.run.settings.steps_per_epoch
    steps = _steps(settings, opened, built)
    saved = built.checkpoints.metrics() if built.start % steps_per_epoch else None
    metrics_log.cut(opened.run.folder, built.start)
    log = callbacks.MetricsLog(opened.run.folder, steps, settings.log_every, saved)
    total = opened.run.settings.steps
    save = callbacks.SaveAndStop(steps, log, built.checkpoints, settings.checkpoint_every, steps_per_epoch, total)
    listeners = [steps, *([] if saved is None else [callbacks.RestoreMetrics(saved)])]
    listeners += [callbacks.StopWhenNotFinite(steps, built.checkpoints), log]
    listeners += [*_watchers(settings, opened, built, steps), save]
    metrics: dict[str, float] = {}
    save.listen()
    try:
        for first, length, last_epoch in segments(built.start, steps_per_epoch, settings.epochs):
            history = built.model.fit(
                _stream(settings, opened, first, built.broken),
                steps_per_epoch=length,
                initial_epoch=first // steps_per_epoch,
                epochs=last_epoch,
                callbacks=listeners,
                shuffle=False,
                verbose=settings.verbose,
            ).history
            metrics = {key: float(values[-1]) for key, values in history.items()}
    except BaseException:
        _end_bar(settings)
        raise
    finally:
        save.forget()
    return steps, metrics


def _steps(settings: PretrainSettings, opened: Opened, built: Built) -> callbacks.Steps:
    total, peak = opened.run.settings.steps, settings.peak

    def rate(step: int) -> float:
        return schedules.learning_rate(step, total, peak, settings.schedule, settings.warm_up)

    return callbacks.Steps(built.start, rate, settings.batch_size)


def _watchers(
    settings: PretrainSettings, opened: Opened, built: Built, steps: callbacks.Steps
) -> list[keras.callbacks.Callback]:
    """What looks on while a run trains, and says or keeps something."""

    def say_below_bar(line: str) -> None:
        _end_bar(settings)
        _say(line)

    def keep_trunk(epoch: int) -> None:
        _save_trained(opened, built, epoch)

    warm_up = schedules.warm_up_steps(opened.run.settings.steps, settings.warm_up)
    return [
        AboveGuessing(opened.tasks, steps, warm_up, say_below_bar),
        callbacks.BrokenLimit(opened.source, built.broken, settings.max_broken),
        *([callbacks.EachEpochs(settings.keep_every, keep_trunk)] if settings.keep_every else []),
        keras.callbacks.TensorBoard(str(opened.run.folder / "tensorboard"), write_graph=False, update_freq="epoch"),
    ]


def _finish(
    settings: PretrainSettings, opened: Opened, built: Built, steps: callbacks.Steps, metrics: dict[str, float]
) -> Run:
    """Writes the encoders, the heads, what was broken, the result and the report."""
    run, source = opened.run, opened.source
    _save_trained(opened, built)
    for task in opened.tasks:
        heads.save(run, task, built.model, opened.plans.kept, source)
    names = built.broken.names()
    if names:
        with atomic_write(run.folder / "broken.txt") as temporary:
            temporary.write_text("".join(f"{name} {problem}\n" for name, problem in sorted(names.items())))
        listed = f"{len(names)} of {source.listed} {source.items}"
        _say(f"{listed} are broken and were left out: see {run.folder / 'broken.txt'}")
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


def _scales(
    tasks: Sequence[PretextTask], plans: Plans, source: AnySource, settings: PretrainSettings
) -> dict[str, float]:
    """What the tasks' losses are divided by, found on a network that is thrown away; {} where nothing is divided."""
    if settings.balance == "none" or len(tasks) < 2:
        return {}
    dataset = stream(source, tasks, settings.size, settings.batch_size, settings.seed, verbose=settings.verbose)
    encoders = plans.make()
    model = make_model(tasks, encoders, dataset.element_spec)
    scales = loss_balance.of_losses(loss_balance.initial_losses(model, tasks, dataset))
    if settings.balance == "initial":
        return scales
    compile_model(model, tasks, encoders, make_optimizer(settings.momentum, settings.weight_decay), scales=scales)
    loss_balance.settle(model, dataset, settings.peak)
    return loss_balance.of_gradients(
        loss_balance.gradients(model, encoders, tasks, dataset.skip(loss_balance.SETTLING))
    )


def _stream(settings: PretrainSettings, opened: Opened, first: int, broken: batches.BrokenPictures) -> tf.data.Dataset:
    """Puzzles from step `first` on."""
    size, batch_size, seed = settings.size, settings.batch_size, settings.seed
    return stream(opened.source, opened.tasks, size, batch_size, seed, first, broken, settings.verbose)


def _save_trained(opened: Opened, built: Built, epoch: int | None = None) -> None:
    settings = opened.run.settings
    path = functools.partial(opened.run.trained_path, epoch=epoch)
    save_trained(path, opened.plans, built.encoders, opened.source, settings.batch_size, settings.seed)


def segments(start: int, steps_per_epoch: int, epochs: int) -> Iterator[tuple[int, int, int]]:
    """Calls of `fit` that go on from step `start`: (first step, steps an epoch, last epoch).

    An epoch that was interrupted is ended by a call of its own; all others share one.
    """
    epoch, inside = divmod(start, steps_per_epoch)
    if inside:
        yield start, steps_per_epoch - inside, epoch + 1
        epoch += 1
    if epoch < epochs:
        yield epoch * steps_per_epoch, steps_per_epoch, epochs


def default_strategy() -> tf.distribute.Strategy:
    """`MirroredStrategy` where there are several GPUs, else the strategy that is in force."""
    if tf.distribute.has_strategy() or len(tf.config.list_physical_devices("GPU")) < 2:
        return tf.distribute.get_strategy()
    return _strategy_of_all_gpus()


@functools.cache
def _strategy_of_all_gpus() -> tf.distribute.Strategy:
    """One for all runs of a process: those of two strategies give their collective operations the same keys."""
    return tf.distribute.MirroredStrategy()


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Keras's global dtype policy for the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _end_bar(settings: PretrainSettings) -> None:
    if settings.verbose == 1:
        print(flush=True)  # to where Keras draws its bar, whose line is not ended while it trains


def _say(line: str) -> None:
    print(line, file=sys.stderr)
