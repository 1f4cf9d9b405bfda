"""What is chosen for these pictures, this machine and these minutes."""

import dataclasses
import functools
import time
from typing import Any, Literal, Self

from tfssl.base.words import counted
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.any_source import absolute_name
from tfssl.runs.config import TASKS
from tfssl.starting import budget, measuring, plan
from tfssl.starting.budget import Counts, Finetuning, Speed
from tfssl.starting.looking import SEED, Look
from tfssl.training.completing import size_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, as quickstart.json keeps it.

    Attributes:
      pretrain_on, evaluate_on, test_on: names of sources, absolute. "" where nothing is evaluated, or where what it is
        evaluated on has a test part.
      tasks, trunk, size, batch_size, mixed_precision, epochs, steps_per_epoch: settings of `pretrain`.
      finetuning: settings of `finetune`; None without labels.
      counts, speed: what it was chosen by.
      seconds: planned, of each part.
    """

    pretrain_on: str
    evaluate_on: str
    test_on: str
    tasks: str
    trunk: str
    size: int
    batch_size: int
    mixed_precision: Literal["bfloat16"] | None
    epochs: int
    steps_per_epoch: int
    finetuning: Finetuning | None
    counts: Counts
    speed: Speed
    seconds: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return what JSON has."""
        return dataclasses.asdict(self) | {"speed": self.speed._asdict()}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Self:
        """Invert `as_json`."""
        tuned = content["finetuning"]
        made = {
            "finetuning": None if tuned is None else Finetuning.of_json(tuned),
            "counts": Counts(**content["counts"]),
            "speed": Speed(**content["speed"]),
        }
        return cls(**content | made)

    def __str__(self) -> str:
        """Say it in a line."""
        steps = self.epochs * self.steps_per_epoch
        return (
            f"chosen: {self.tasks} on {self.trunk}, {self.size} pixels, batches of {self.batch_size}, "
            f"{self.mixed_precision or 'float32'}; {self.speed.step:.2g} s a step, {counted(steps, 'step')} of"
            " pretraining"
        )


def choose(found: Look, minutes: float, began: float) -> Choice:
    """Measure, and choose what ends within the minutes, of which those since `began` (`time.monotonic`) are spent.

    Raises:
      UserError: the smallest choice does not; the line says how many minutes would do.
    """
    counts = counts_of(found)
    batch = plan.batch_of(counts.pictures)

    def steps_of(speed: Speed, batch: int = batch, minutes: float = minutes) -> int:
        return budget.share_out(60 * minutes, time.monotonic() - began, counts, batch, speed).steps

    def in_time() -> bool:
        return time.monotonic() - began < plan.MEASURING * 60 * minutes

    tasks, size = TASKS, size_of(found.source)
    measure = functools.partial(measuring.measure, found.source, tasks, size, batch)
    trunk, speed = plan.choose_trunk(measure, steps_of, in_time)
    precision: Literal["bfloat16"] | None = None
    if measuring.may_gain_by_bfloat16() and in_time():
        half = measuring.measure(found.source, tasks, size, batch, trunk, "bfloat16")
        if half.step < plan.GAIN * speed.step:
            precision, speed = "bfloat16", half
    if measuring.has_gpu() and counts.pictures >= 4 * plan.LARGE_BATCH and in_time():
        large = measuring.measure(found.source, tasks, size, plan.LARGE_BATCH, trunk, precision)
        faster = large.step / plan.LARGE_BATCH < plan.GAIN * speed.step / batch
        if faster and steps_of(large, plan.LARGE_BATCH) >= plan.WANTED_STEPS:
            batch, speed = plan.LARGE_BATCH, large
    plan.refuse_too_slow(minutes, lambda minutes: steps_of(speed, batch, minutes), speed)
    made = budget.share_out(60 * minutes, time.monotonic() - began, counts, batch, speed)
    epochs, steps_per_epoch = plan.epochs_of(max(made.steps, plan.LEAST_STEPS), speed.step)
    evaluate_on, test_on = (found.whole, "") if found.evaluated else ("", "")
    if made.times and found.evaluated:
        evaluate_on, test_on = (thinned(name, made.times) for name in found.evaluated)
    return Choice(
        pretrain_on=absolute_name(found.source.name),
        evaluate_on=absolute_name(evaluate_on) if evaluate_on else "",
        test_on=absolute_name(test_on) if test_on else "",
        tasks=tasks,
        trunk=trunk,
        size=size,
        batch_size=batch,
        mixed_precision=precision,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        finetuning=made.finetuning,
        counts=counts,
        speed=speed,
        seconds=made.seconds,
    )


def counts_of(found: Look) -> Counts:
    """Return how many pictures each part has."""
    labels = found.labels
    if labels is None:
        return Counts(pictures=found.source.count)
    train, val = (labels.train, labels.val) if labels.val is not None else labels.train.divided(SEED)
    evaluated = 0 if found.evaluated is None else labels.train.count + labels.test.count
    return Counts(
        pictures=found.source.count,
        train=train.count,
        val=val.count,
        test=labels.test.count,
        evaluated=evaluated,
        divided=labels.val is None,
    )


def thinned(name: str, times: int) -> str:
    """Return the name of a fifth of a source, of a fifth of that and on, so many times."""
    for _ in range(times):
        name = dividing.name_of_part(name, False, SEED)
    return name
