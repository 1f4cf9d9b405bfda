"""`pretrain`: from a source to an encoder, in a folder that can be gone on with."""

import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.base import environment
from tfssl.base.checks import check_counts, check_rates
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, write_json
from tfssl.models.trunks import make_trunk
from tfssl.multitask import loss_balance
from tfssl.multitask.encoders import Plans, save_trained, save_weights, sound_plan
from tfssl.multitask.model import MIXINGS, build_metrics, compile_model, make_model, make_optimizer
from tfssl.multitask.puzzle_stream import check_fits, stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, absolute_name, open_source, too_many_broken
from tfssl.runs import heads, metrics_log, seen
from tfssl.runs.checkpoints import Checkpoints
from tfssl.runs.run import Run, create_or_match, load_run
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import Encoders, PretextTask
from tfssl.training import callbacks, schedules
from tfssl.training.guessing import AboveGuessing
from tfssl.training.warm_start import take_over

BATCH = 64  # the batch, in source images, that --learning-rate is given for
PRECISIONS = {None: "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


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
    batch_size: int = BATCH,
    seed: int = 0,
    learning_rate: float = 0.1,
    schedule: str = "cosine",
    warm_up: float = schedules.WARM_UP,
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
    """Trains one encoder on pretext tasks. On the folder of an interrupted run, goes on with it.

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
    counts = {"size": size, "epochs": epochs, "batch_size": batch_size, "steps_per_epoch": steps_per_epoch}
    counts |= {"log_every": log_every, "checkpoint_every": checkpoint_every, "keep_every": keep_every}
    check_counts(counts)
    shares = {"warm_up": warm_up, "momentum": momentum, "max_broken": max_broken}
    choices = {"schedule": (schedule, schedules.SCHEDULES), "mixed_precision": (mixed_precision, tuple(PRECISIONS))}
    choices |= {"mixing": (mixing, MIXINGS), "balance": (balance, loss_balance.BALANCES)}
    check_rates(learning_rate, weight_decay, seed, shares, choices)
    parsed = parse_tasks(tasks)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    initial = make_trunk(trunk, size)  # float32, and refused here if it does not fit
    source = open_source(data, max_broken)
    parent = None if init is None else load_run(init)
    if not 1 <= batch_size <= source.count:
        raise batches.batch_too_large(batch_size, source)
    check_fits(parsed, batch_size, source)
    steps_per_epoch = steps_per_epoch or source.count // batch_size
    settings = {
        "tasks": ", ".join(map(str, parsed)),
        "trunk": trunk if isinstance(trunk, str) else f"{trunk.name} (a Keras model)",
        "size": size,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "batch_size": batch_size,
        "seed": seed,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warm_up": warm_up,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "mixing": mixing,
        "balance": balance,
        "init": None if parent is None else str(parent.folder.resolve()),
        "keep_every": keep_every,
        "mixed_precision": mixed_precision,
        "jit_compile": jit_compile,
        "deterministic": deterministic,
        "stages": list(initial.stages),
    }
    settings |= {"sound_trunk": sound_trunk} if any("sound" in task.reads for task in parsed) else {}

    def prepare() -> dict[str, Any]:
        tasks = [task.prepared(source) for task in parsed]
        plans = Plans(trunk, size, sound_plan(tasks, source, size, sound_trunk))
        plans.make()  # refused here if it does not fit
        return {
            "learned": {task.name: task.learned() for task in tasks},
            "sound": plans.sound,
            "scales": _scales(tasks, plans, source, settings, verbose),
        }

    data_facts = {"name": absolute_name(source.name), "count": source.count, "fingerprint": source.fingerprint}
    run = create_or_match(Path(out), settings, data_facts, prepare)
    seen.keep(run, source, parent)
    prepared = [task.with_learned(run.prepared["learned"][task.name]) for task in parsed]
    for task in prepared:
        for sentence in task.advice(size, source):
            _say(f"{task.name}: {sentence}")
    if mixing == "alternate" and len(prepared) > 1:
        _say(f"mixing alternate: a step makes {len(prepared)} updates at the full learning rate, where joint makes one")
    if run.result:
        _say(f"the run in {run.folder} has ended already; nothing is left to do")
        return run
    if others := environment.changes(run.versions):
        _say(
            f"the run in {run.folder} began with {others}; that it ends as it would have, bit for bit, is not promised"
        )
    plans = Plans(trunk, size, run.sound)
    keras.utils.set_random_seed(seed)
    untrained = plans.make() | {"image": initial}
    for kind, each in untrained.items():
        if not run.random_path(kind).exists():
            save_weights(run.random_path(kind), plans, kind, each)

    keras.utils.set_random_seed(seed)  # whether anything had to be prepared or not
    strategy = strategy or default_strategy()
    broken = batches.BrokenPictures(source)
    with strategy.scope(), dtype_policy(PRECISIONS[mixed_precision]):
        encoders = plans.make()
        for kind, each in encoders.items():
            each.body.set_weights(untrained[kind].body.get_weights())
        dataset = stream(source, prepared, size, batch_size, seed, 0, broken, verbose)
        model = make_model(prepared, encoders, dataset.element_spec)
        optimizer = make_optimizer(momentum, weight_decay)
        compile_model(model, prepared, encoders, optimizer, jit_compile, mixing, run.prepared["scales"])
        if not tf.distribute.has_strategy():
            build_metrics(model, dataset.element_spec)
        checkpoints = Checkpoints(model, run.folder / "checkpoints", broken)
    start = checkpoints.restore(_say)
    total = epochs * steps_per_epoch
    if parent is not None and not start:
        _say(take_over(parent, model, prepared, encoders))
    if start:
        _say(f"going on with the run in {run.folder} from step {start} of {total}")
    metrics_log.cut(run.folder, start)

    peak = learning_rate * batch_size / BATCH

    def end_bar() -> None:
        if verbose == 1:
            print(flush=True)  # to where Keras draws its bar, whose line is not ended while it trains

    def say_below_bar(line: str) -> None:
        end_bar()
        _say(line)

    steps = callbacks.Steps(
        start, lambda step: schedules.learning_rate(step, total, peak, schedule, warm_up), batch_size
    )
    saved = checkpoints.metrics() if start % steps_per_epoch else None
    log = callbacks.MetricsLog(run.folder, steps, log_every, saved)
    save = callbacks.SaveAndStop(steps, log, checkpoints, checkpoint_every, steps_per_epoch, total)
    listeners = [
        steps,
        *([] if saved is None else [callbacks.RestoreMetrics(saved)]),
        callbacks.StopWhenNotFinite(steps, checkpoints),
        log,
        AboveGuessing(prepared, steps, schedules.warm_up_steps(total, warm_up), say_below_bar),
        BrokenLimit(source, broken, max_broken),
        *([KeepTrunk(run, plans, encoders, source, keep_every)] if keep_every else []),
        keras.callbacks.TensorBoard(str(run.folder / "tensorboard"), write_graph=False, update_freq="epoch"),
        save,
    ]
    metrics: dict[str, float] = {}
    save.listen()
    try:
        for first, length, last_epoch in segments(start, steps_per_epoch, epochs):
            history = model.fit(
                stream(source, prepared, size, batch_size, seed, first, broken, verbose),
                steps_per_epoch=length,
                initial_epoch=first // steps_per_epoch,
                epochs=last_epoch,
                callbacks=listeners,
                shuffle=False,
                verbose=verbose,
            ).history
            metrics = {key: float(values[-1]) for key, values in history.items()}
    except BaseException:
        end_bar()
        raise
    finally:
        save.forget()
    return _finish(run, plans, model, encoders, source, prepared, steps, metrics, broken, report)


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


class BrokenLimit(keras.callbacks.Callback):
    """Stops a run whose source turns out to have more broken pictures than allowed."""

    def __init__(self, source: AnySource, broken: batches.BrokenPictures, largest: float):
        super().__init__()
        self._source, self._broken, self._largest = source, broken, largest

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        names = self._broken.names()
        if len(names) > self._largest * self._source.listed:
            raise UserError(too_many_broken(self._source.name, names, self._source.listed, self._largest))


class KeepTrunk(keras.callbacks.Callback):
    """Keeps the encoders every `every` epochs: see `Run.trained_path`."""

    def __init__(self, run: Run, plans: Plans, encoders: Encoders, source: AnySource, every: int):
        super().__init__()
        self._run, self._plans, self._encoders, self._source, self._every = run, plans, encoders, source, every

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every == 0:
            _save_trained(self._run, self._plans, self._encoders, self._source, epoch + 1)


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


def _save_trained(run: Run, plans: Plans, encoders: Encoders, source: AnySource, epoch: int | None = None) -> None:
    batch_size, seed = run.settings["batch_size"], run.settings["seed"]
    save_trained(lambda kind: run.trained_path(kind, epoch), plans, encoders, source, batch_size, seed)


def _scales(
    tasks: Sequence[PretextTask], plans: Plans, source: AnySource, settings: dict[str, Any], verbose: int
) -> dict[str, float]:
    """What the tasks' losses are divided by, found on a network that is thrown away; {} where nothing is divided."""
    if settings["balance"] == "none" or len(tasks) < 2:
        return {}
    batch_size = settings["batch_size"]
    dataset = stream(source, tasks, plans.size, batch_size, settings["seed"], verbose=verbose)
    encoders = plans.make()
    model = make_model(tasks, encoders, dataset.element_spec)
    scales = loss_balance.of_losses(loss_balance.initial_losses(model, tasks, dataset))
    if settings["balance"] == "initial":
        return scales
    compile_model(model, tasks, encoders, make_optimizer(settings["momentum"], settings["weight_decay"]), scales=scales)
    peak = settings["learning_rate"] * batch_size / BATCH
    loss_balance.settle(model, dataset, peak)
    return loss_balance.of_gradients(
        loss_balance.gradients(model, encoders, tasks, dataset.skip(loss_balance.SETTLING))
    )


def _finish(
    run: Run,
    plans: Plans,
    model: keras.Model,
    encoders: Encoders,
    source: AnySource,
    tasks: Sequence[PretextTask],
    steps: callbacks.Steps,
    metrics: dict[str, float],
    broken: batches.BrokenPictures,
    report: bool,
) -> Run:
    _save_trained(run, plans, encoders, source)
    for task in tasks:
        heads.save(run, task, model, plans.make(), source)
    names = broken.names()
    if names:
        with atomic_write(run.folder / "broken.txt") as temporary:
            temporary.write_text("".join(f"{name} {problem}\n" for name, problem in sorted(names.items())))
        listed = f"{len(names)} of {source.listed} {source.items}"
        _say(f"{listed} are broken and were left out: see {run.folder / 'broken.txt'}")
    # Of a run that was killed after its last step, the only source of figures.
    last = metrics_log.read_epoch_end(run.folder)
    result = {
        "run": str(run.folder),
        "epochs": run.settings["epochs"],
        "steps": steps.done,
        "images_per_second": round(steps.images_per_second, 1) or last["images_per_second"],
        "metrics": metrics_log.metrics_of(metrics or last),
        "broken_files": len(names),
    }
    write_json(run.folder / "result.json", result)
    if report:
        from tfssl.report.page import write_report

        write_report(run)
    return run


def _say(line: str) -> None:
    print(line, file=sys.stderr)
