"""How the minutes are shared out: pure functions, from what was found and measured.

Seconds of the whole go, in this order: what is spent already; a reserve; what parts take whatever is chosen (building
and tracing networks, passes over the pictures); at most a fifth to fine-tuning, where there are labels; all the rest to
pretraining, which everything else rests on.
"""

import dataclasses
from typing import Any, NamedTuple, Self

from tfssl.downstream.config import Start

BATCH = 64
"""The batch that learning rates are given for. Four rotations and two views make 384 pictures of it, enough for a
processor."""
RESERVE = 0.05
"""Part of the whole that is not planned: other programs come and go, and steps are not always equally fast."""
FINETUNING = 0.2
EVALUATION = 0.1
"""Largest parts of the whole, where there are labels."""
LEAST_EVALUATED = 5000
"""Pictures of which none are left out when it is evaluated."""
SEEN = 6
"""How often a step of `TASKS` sees each of its pictures: in four turns, and as two views."""
PASSES = 3 * SEEN
"""A step in forward passes of its pictures: a backward pass takes two forward."""
BUILDS = {"show": 2, "pretrain": 4, "evaluate": 6, "finetune": 2, "export": 10, "check": 2}
"""How long what a command does but once takes, beside building and tracing a network: tracing, reading and writing
files, drawing are all work of one core, so that they grow alike from machine to machine. As measured on the toy world
and on Caltech-101, rounded up; of `pretrain` for all tasks together (`Speed.setup`), of `finetune` without its
trainings."""


class Speed(NamedTuple):
    """What was measured, in seconds.

    Attributes:
      step: of pretraining.
      setup: to build the network and trace its first step.
      picture: to read and decode one.
      tasks: how many the network has.
    """

    step: float
    setup: float
    picture: float
    tasks: int = 1

    @property
    def build(self) -> float:
        """To build and trace a network of one task, about: other parts do that too."""
        return self.setup / self.tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Pictures: of the pretraining; labelled ones to learn from, to choose on, to test on.

    Attributes:
      evaluated: how many `evaluate` reads; 0 where it cannot.
      divided: whether `val` was divided off `train`, so that the classifier learns from both in the end.
    """

    pictures: int
    train: int = 0
    val: int = 0
    test: int = 0
    evaluated: int = 0
    divided: bool = True

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.train > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuning:
    """Settings of `finetune` that follow from the time. `fraction` is None where all labels are used."""

    steps: int
    learning_rates: tuple[float, ...]
    refit: bool
    beside: tuple[Start, ...]
    fraction: float | None

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Self:
        """Make it of its fields as JSON has them."""
        lists = {name: tuple(content[name]) for name in ("learning_rates", "beside")}
        return cls(**content | lists)


def finetuning(seconds: float, counts: Counts, batch: int, speed: Speed, evaluated: bool) -> Finetuning | None:
    """Return what of fine-tuning fits into so many seconds: the richest that has enough steps; None without labels.

    Comparing with random weights comes before more learning rates: that pretraining helped is what one wants to know.

    Args:
      batch, speed: of pretraining.
      evaluated: whether `evaluate` has compared frozen features with random ones; else that is asked here.
    """
    if not counts.labelled:
        return None
    fraction = _fraction(seconds, counts, batch, speed)
    random: tuple[Start, ...] = () if evaluated else ("random",)
    for learning_rates, refit, beside, least in (
        ((0.0003, 0.001, 0.003), True, ("scratch", *random), 500),
        ((0.001,), True, ("scratch", *random), 200),
        ((0.001,), False, ("scratch", *random), 100),
        ((0.001,), False, random, 0),
    ):
        made = Finetuning(steps=1, learning_rates=learning_rates, refit=refit, beside=beside, fraction=fraction)
        fixed = finetuning_seconds(dataclasses.replace(made, steps=0), counts, batch, speed)
        each = finetuning_seconds(made, counts, batch, speed) - fixed
        steps = min(1000, int((seconds - fixed) / each))
        if steps >= least:
            break
    return dataclasses.replace(made, steps=max(20, steps // 10 * 10))


def finetuning_seconds(made: Finetuning, counts: Counts, batch: int, speed: Speed) -> float:
    """Return how long fine-tuning takes.

    A step of 64 pictures is what a step of pretraining is for one of `SEEN`. Each training is built, traced and
    validated ten times on the way.
    """
    starts = 1 + ("scratch" in made.beside)
    trainings = starts * (len(made.learning_rates) + (made.refit and counts.divided))
    part = 1.0 if made.fraction is None else made.fraction
    look = speed.step / batch / PASSES + speed.picture
    pictures = starts * (part * (counts.train + counts.val) + counts.test)
    pictures += 10 * trainings * part * counts.val
    learning = trainings * made.steps * speed.step / batch * min(BATCH, max(1, int(part * counts.train))) / SEEN
    return (BUILDS["finetune"] + starts + trainings) * speed.build + pictures * look + learning


def _fraction(seconds: float, counts: Counts, batch: int, speed: Speed) -> float | None:
    """Return the part of the labels whose passes fit into half of the time where least is tried; None for all."""
    least = Finetuning(steps=0, learning_rates=(0.001,), refit=False, beside=(), fraction=None)
    passes = speed._replace(setup=0.0)
    tested = finetuning_seconds(least, dataclasses.replace(counts, train=0, val=0), batch, passes)
    whole = finetuning_seconds(least, counts, batch, passes)
    if whole <= seconds / 2:
        return None
    return float(f"{max(0.001, (seconds / 2 - tested) / (whole - tested)):.1g}")


def fifths(seconds: float, counts: Counts, batch: int, speed: Speed) -> int:
    """Return how often a fifth is taken of the pictures that `evaluate` reads, until it ends within the seconds.

    Some thousand stay in any case: of fewer, figures say little.
    """
    times = 0
    while evaluation_seconds(counts, batch, speed, times) > seconds and counts.evaluated > LEAST_EVALUATED * 5**times:
        times += 1
    return times


def evaluation_seconds(counts: Counts, batch: int, speed: Speed, times: int) -> float:
    """Return how long `evaluate` takes: three passes, of trained weights and twice of random ones, and the probes."""
    look = speed.step / batch / PASSES + speed.picture
    return BUILDS["evaluate"] * speed.build + 3 * counts.evaluated / 5**times * look


def fixed_seconds(counts: Counts, batch: int, speed: Speed) -> dict[str, float]:
    """Return how long parts take whatever is chosen, by name; of pretraining what it takes beside its steps."""
    reading = counts.pictures * speed.picture + 4096 * speed.step / batch / PASSES
    found = {
        "show": BUILDS["show"] * speed.build,
        "pretrain": BUILDS["pretrain"] * speed.setup + reading,
    }
    for name in ["encoder", *(["classifier"] if counts.labelled else [])]:
        found |= {f"{part} {name}": BUILDS[part] * speed.build for part in ("export", "check")}
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How the time is spent.

    Attributes:
      steps: of pretraining; 0 or less where there is no time for any.
      times: see `fifths`.
      finetuning: None without labels.
      seconds: of each part.
    """

    steps: int
    times: int
    finetuning: Finetuning | None
    seconds: dict[str, float]


def share_out(total: float, spent: float, counts: Counts, batch: int, speed: Speed) -> Plan:
    """Share out the seconds of the whole, of which some are spent."""
    seconds = fixed_seconds(counts, batch, speed)
    times = 0
    if counts.evaluated:
        times = fifths(EVALUATION * total, counts, batch, speed)
        seconds["evaluate"] = evaluation_seconds(counts, batch, speed, times)
    tuned = finetuning(FINETUNING * total, counts, batch, speed, counts.evaluated > 0)
    if tuned is not None:
        seconds["finetune"] = finetuning_seconds(tuned, counts, batch, speed)
    left = total * (1 - RESERVE) - spent - sum(seconds.values())
    steps = int(left / speed.step)
    seconds["pretrain"] += max(0, steps) * speed.step
    return Plan(steps=steps, times=times, finetuning=tuned, seconds=seconds)
