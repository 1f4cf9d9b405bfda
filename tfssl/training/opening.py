"""The first step of `pretrain`: its source and its folder are opened, and whatever does not fit is refused."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import keras

from tfssl.base import environment
from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.multitask import loss_balance
from tfssl.multitask.encoders import Plans, sound_plan
from tfssl.multitask.model import compile_model, make_model, make_optimizer
from tfssl.multitask.puzzle_stream import check_fits, stream
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, absolute_name, open_source
from tfssl.runs import listing, seen
from tfssl.runs.config import Recipe, RunSettings
from tfssl.runs.run import Run, create_or_match, load_run
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import PretextTask
from tfssl.training.config import PretrainSettings


@dataclasses.dataclass(frozen=True)
class Opened:
    """What a run reads and where it lies.

    Attributes:
      run: a new one, or the one that is in its folder already.
      source: what it is trained on.
      tasks: prepared.
      plans: the plans of its encoders.
      parent: the run whose weights it begins with.
    """

    run: Run
    source: AnySource
    tasks: Sequence[PretextTask]
    plans: Plans
    parent: Run | None


def open_run(settings: PretrainSettings, data: Any, tasks: Any, trunk: str | keras.Model, init: Any) -> Opened:
    """Open the source and the run's folder.

    Raises:
      UserError: whatever does not fit. Nothing is written then.
    """
    parsed = parse_tasks(tasks)
    source = open_source(data, settings.max_broken)
    parent = None if init is None else load_run(init)
    if settings.batch_size > source.count:
        raise batches.batch_too_large(settings.batch_size, source)
    check_fits(parsed, settings.batch_size, source)
    keras.utils.set_random_seed(settings.seed)
    made = make_trunk(trunk, settings.size)
    _check_precision(made.body, settings.mixed_precision)
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

    listing.refuse_other_data(settings.out, source)  # first: another count makes other settings
    recipe = _recipe(settings, parsed, source, made.stages, parent)
    data_facts = {"name": absolute_name(source.name), "count": source.count, "fingerprint": source.fingerprint}
    run = create_or_match(settings.out, recipe, data_facts, prepare)
    if plans.sound != run.sound:
        plans = dataclasses.replace(plans, sound=run.sound)
    seen.keep(run, source, parent)
    listing.keep(run, source)
    learned = run.prepared["learned"]
    opened = Opened(run, source, [task.with_learned(learned[task.name]) for task in parsed], plans, parent)
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
    settings: PretrainSettings,
    tasks: Sequence[PretextTask],
    source: AnySource,
    stages: Sequence[str],
    parent: Run | None,
) -> RunSettings:
    """Return what run.json holds of the settings, with what the source and the trunk make of them."""
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
    """Say what is not wrong, but should be known before hours of training."""
    for task in opened.tasks:
        for sentence in task.advice(settings.size, opened.source):
            say(f"{task.name}: {sentence}")
    if settings.mixing == "alternate" and len(opened.tasks) > 1:
        say(
            f"mixing alternate: a step makes {len(opened.tasks)} updates at the full learning rate, where joint makes"
            " one"
        )
    if not opened.run.result and (others := environment.changes(opened.run.versions)):
        began = f"the run in {opened.run.folder} began with {others}"
        say(f"{began}; that it ends as it would have, bit for bit, is not promised")


def _scales(
    tasks: Sequence[PretextTask], plans: Plans, source: AnySource, settings: PretrainSettings
) -> dict[str, float]:
    """Measure what the tasks' losses are divided by, on a network that is thrown away; {} where nothing is divided."""
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


def say(line: str) -> None:
    """Say something to the person who trains, on standard error."""
    print(line, file=sys.stderr)
