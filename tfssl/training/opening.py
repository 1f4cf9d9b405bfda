"""The first step of `pretrain`: its source and its folder are opened, and whatever does not fit is refused."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfssl.base import environment
from tfssl.base.config import spelled
from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.models.trunks.networks import scaling_advice
from tfssl.models.trunks.opening import open_trunk, start_of
from tfssl.multitask import loss_balance, rate_range
from tfssl.multitask.encoders import AnyPlans, Plans, WordPlans, sound_plan
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.puzzle_stream import check_fits, check_learns, stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, absolute_name, open_source
from tfssl.runs import listing, seen
from tfssl.runs.config import Recipe, RunSettings
from tfssl.runs.run import Run, create_or_match, load_run
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts.many_updates import ManyUpdates
from tfssl.training.completing import completed
from tfssl.training.config import Complete, PretrainSettings
from tfssl.training.learning import find_learning_rate, optimizer_of
from tfssl.training.warm_start import check_one_start
from tfssl.training.watched import Watched, open_labelled, plan

OLD = 0.05
"""Part of a moving average that may be of the first update without a word."""

OF_NETWORKS: tuple[str, ...] = ("trunk", "size", "sound_trunk", "learning_rate", "schedule", "warm_up", "momentum")
OF_NETWORKS += ("weight_decay", "mixing", "balance", "mixed_precision", "jit_compile", "init")
OF_NETWORKS += ("optimizer", "clip_norm", "accumulate", "ema")
OF_WATCHING = ("watch", "watch_every", "stop_when")
"""Settings that mean nothing to a run on words; its run.json lacks them."""


@dataclasses.dataclass(frozen=True)
class Opened:
    """What a run reads and where it lies.

    Attributes:
      settings: with what the source decides.
      run: a new one, or the one that is in its folder already.
      source: what it is trained on.
      tasks: prepared.
      plans: the plans of its encoders.
      parent: the run whose weights it begins with.
      watched: what it is looked at with while it trains; None for nothing.
    """

    settings: Complete
    run: Run
    source: AnySource
    tasks: Sequence[PretextTask]
    plans: AnyPlans
    parent: Run | None
    watched: Watched | None


def open_run(asked: PretrainSettings, data: Any, tasks: Any, trunk: str | Path | keras.Model, init: Any) -> Opened:
    """Open the source and the run's folder.

    Raises:
      UserError: whatever does not fit. Nothing is written then.
    """
    parsed = parse_tasks(tasks)
    source = open_source(data, asked.max_broken)
    settings = completed(asked, source)
    labelled = open_labelled(settings)
    parent = None if init is None else load_run(init)
    if settings.batch_size > source.count:
        raise batches.batch_too_large(settings.batch_size, source)
    check_fits(parsed, settings.batch_size, source)
    check_learns(parsed, settings.batch_size, source)
    if any(isinstance(task, ManyUpdates) for task in parsed):
        return _open_words(asked, settings, source, parsed)
    made = open_trunk(trunk, settings.size)
    start = start_of(trunk, made)
    if advice := scaling_advice("the trunk" if isinstance(trunk, keras.Model) else str(trunk), made.body):
        say(advice)
    check_one_start(settings, start, parent)
    _check_precision(made.body, settings.mixed_precision)
    plans = Plans(trunk, settings.size, image=made)

    def prepare() -> dict[str, Any]:
        nonlocal plans
        tasks = [task.prepared(source) for task in parsed]
        plans = dataclasses.replace(plans, sound=sound_plan(tasks, source, settings.size, settings.sound_trunk))
        _ = plans.kept  # refused here where they do not fit
        # A trunk of the caller's own is not copied, and there is no other one to be thrown away.
        own = [] if isinstance(trunk, str) else [(variable, variable.numpy()) for variable in made.body.variables]
        keras.utils.set_random_seed(settings.seed)  # however many networks were made before
        scales = _scales(tasks, plans, source, settings)
        prepared = {
            "learned": {task.name: task.learned() for task in tasks},
            "sound": plans.sound,
            "scales": scales,
        }
        if settings.learning_rate == "auto":
            prepared["learning_rate"] = find_learning_rate(settings, tasks, plans, source, scales)
        for variable, value in own:
            variable.assign(value)
        return prepared

    listing.refuse_other_data(settings.out, source)  # first: another count makes other settings
    recipe = _recipe(settings, parsed, source, made.stages, start, parent)
    if recipe.steps < settings.accumulate:
        raise UserError(
            f"{spelled('accumulate', settings.accumulate)} is given, and the run has {counted(recipe.steps, 'step')},"
            " too few for one update; give a smaller number or more epochs"
        )
    data_facts = {"name": absolute_name(source.name), "count": source.count, "fingerprint": source.fingerprint}
    run = create_or_match(settings.out, recipe, data_facts, prepare)
    if plans.sound != run.sound:
        plans = dataclasses.replace(plans, sound=run.sound)
    seen.keep(run, source, parent)
    listing.keep(run, source)
    prepared = [task.with_learned(run.learned(task.name)) for task in parsed]
    watched = plan(settings, labelled, source, prepared, recipe.steps_per_epoch)
    opened = Opened(settings, run, source, prepared, plans, parent, watched)
    _advise(settings, opened)
    return opened


def _open_words(
    asked: PretrainSettings, settings: Complete, source: AnySource, parsed: Sequence[PretextTask]
) -> Opened:
    """Open a run whose encoder is a table of words: it has no trunk, and its task its own way to learn.

    Args:
      asked: as given: what was not given means nothing here.
    """
    (task,) = parsed  # no other task reads words
    for name in OF_NETWORKS:
        if getattr(asked, name) != PretrainSettings.model_fields[name].default:
            given = spelled(name, getattr(asked, name))
            raise UserError(
                f"{given} is given, and {task.name} has a table of words and settings of its own for it, as"
                f" {task.name}(size=100, alpha=0.025); leave it out"
            )

    for name in OF_WATCHING:
        if (given := getattr(settings, name)) is not None:
            raise UserError(f"{spelled(name, given)} is given, and runs on words are not watched; leave it out")

    def prepare() -> dict[str, Any]:
        ready = task.prepared(source)
        count, size = ready.table_shape  # type: ignore[attr-defined]
        words = {"count": count, "dimensions": size}
        return {"learned": {task.name: ready.learned()}, "sound": None, "scales": {}, "words": words}

    listing.refuse_other_data(settings.out, source)
    recipe = _recipe(settings, parsed, source, ("words",), None, None, without=OF_NETWORKS + OF_WATCHING)
    data = {"name": absolute_name(source.name), "count": source.count, "fingerprint": source.fingerprint}
    run = create_or_match(settings.out, recipe, data | {"items": source.items}, prepare)
    seen.keep(run, source, None)
    learned = [task.with_learned(run.learned(task.name))]
    opened = Opened(settings, run, source, learned, WordPlans(**run.prepared["words"]), None, None)
    _advise(settings, opened)
    return opened


def _check_precision(body: keras.Model, mixed_precision: str | None) -> None:
    """Raise UserError where a trunk of the caller's own was built under a dtype policy that the run has not chosen."""
    for computes in ("float16", "bfloat16"):
        if computes != mixed_precision and any(layer.compute_dtype == computes for layer in body._flatten_layers()):
            raise UserError(
                f"the trunk has layers that compute in {computes}, and mixed_precision is {mixed_precision!r}; give"
                f" {computes!r}, or build the trunk under keras.config.set_dtype_policy('float32')"
            )


def _recipe(
    settings: Complete,
    tasks: Sequence[PretextTask],
    source: AnySource,
    stages: Sequence[str],
    start: dict[str, str] | None,
    parent: Run | None,
    without: Sequence[str] = (),
) -> RunSettings:
    """Return what run.json holds of the settings, with what the source and the trunk make of them."""
    kept = settings.model_dump(include=set(Recipe.model_fields)) | {
        "tasks": ", ".join(map(str, tasks)),
        "steps_per_epoch": settings.steps_per_epoch or source.count // settings.batch_size,
        "learning_rate": settings.learning_rate or settings.rate,
        "init": None if parent is None else parent.folder.resolve(),
        "stages": stages,
        **({} if start is None else {"start": start}),
    }
    if not any("sound" in task.reads for task in tasks):
        del kept["sound_trunk"]
    return RunSettings(**{name: value for name, value in kept.items() if name not in without})


def _advise(settings: Complete, opened: Opened) -> None:
    """Say what is not wrong, but should be known before hours of training."""
    for task in opened.tasks:
        for sentence in task.advice(settings.size, opened.source):
            say(f"{task.name}: {sentence}")
    if settings.mixing == "alternate" and len(opened.tasks) > 1:
        say(
            f"mixing alternate: a step makes {len(opened.tasks)} updates at the full learning rate, where joint makes"
            " one"
        )
    if not opened.run.result and settings.learning_rate == "auto":
        say(rate_range.sentence(opened.run.prepared["learning_rate"]))
    steps = opened.run.settings.steps
    if left := steps % settings.accumulate:
        say(f"accumulate {settings.accumulate}: the last {left} of {steps} steps are too few for an update")
    updates = steps // settings.accumulate * (len(opened.tasks) if settings.mixing == "alternate" else 1)
    if settings.ema is not None and (share := settings.ema**updates) > OLD:
        say(
            f"ema {settings.ema:g}: at the end, after {updates} updates, the average still has {share:.0%} of what the"
            " first update left; a smaller one follows faster"
        )
    if not opened.run.result and (others := environment.changes(opened.run.versions)):
        began = f"the run in {opened.run.folder} began with {others}"
        say(f"{began}; that it ends as it would have, bit for bit, is not promised")


def _scales(tasks: Sequence[PretextTask], plans: Plans, source: AnySource, settings: Complete) -> dict[str, float]:
    """Measure what the tasks' losses are divided by, on a network that is thrown away; {} where nothing is divided."""
    if settings.balance == "none" or len(tasks) < 2:
        return {}
    dataset = stream(source, tasks, settings.size, settings.batch_size, settings.seed, verbose=settings.verbose)
    encoders = plans.make()
    model = make_model(tasks, encoders, dataset.element_spec)
    scales = loss_balance.of_losses(loss_balance.initial_losses(model, tasks, dataset))
    if settings.balance == "initial":
        return scales
    compile_model(model, tasks, encoders, optimizer_of(settings), scales=scales)
    loss_balance.settle(model, dataset, settings.peak)
    return loss_balance.of_gradients(
        loss_balance.gradients(model, encoders, tasks, dataset.skip(loss_balance.SETTLING))
    )


def say(line: str) -> None:
    """Say something to the person who trains, on standard error."""
    print(line, file=sys.stderr)
