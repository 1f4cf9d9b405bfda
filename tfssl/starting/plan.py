"""What fits these pictures and this machine: pure functions, from what was found and measured."""

import math
from collections.abc import Callable

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.starting.budget import BATCH, Speed

TRUNKS = ("resnet10(width=8)", "resnet10(width=16)", "resnet10(width=32)", "resnet18(width=32)", "resnet18")
"""From small to large: each costs two to four times the one before it. On a processor the first ones learn something in
half an hour; the last is the usual trunk of the field's papers, for GPUs."""
COSTS = (1, 4, 16, 32, 128)
"""Multiplications of each, about, beside the smallest: blocks times width squared."""
LARGE_BATCH = 256
"""Worth a try on a GPU, which 64 may leave idle."""
LEAST_STEPS = 100
"""Fewer updates are not worth the name of pretraining: the learning rate alone takes some to rise and to fall."""
WANTED_STEPS = 2000
"""Updates that come before a larger trunk: a wide network that was hardly trained is worth less than a small one that
was. A rule of thumb."""
MEASURING = 0.1
"""Part of the whole after which no further trunk is measured."""
GAIN = 0.8
"""Part of the time that a change has to bring a step down to, to be worth the risk that it was chance."""
EPOCH, MOST_EPOCHS = 30.0, 50
"""Seconds of an epoch at least, where there are not more epochs than so many: each ends with a line and a checkpoint,
which a call that was killed resumes from."""


def batch_of(pictures: int) -> int:
    """Return the batch: `BATCH`, or the largest power of two that the pictures fill."""
    return min(BATCH, 1 << (pictures.bit_length() - 1))


def epochs_of(steps: int, seconds: float) -> tuple[int, int]:
    """Divide steps of so many seconds into epochs and steps of each.

    An epoch is no pass over the pictures here, but what lies between two lines, each with a checkpoint.
    """
    epochs = min(max(round(steps * seconds / EPOCH), 1), MOST_EPOCHS, steps)
    return epochs, steps // epochs


def choose_trunk(
    measure: Callable[[str], Speed], steps_of: Callable[[Speed], int], in_time: Callable[[], bool]
) -> tuple[str, Speed]:
    """Climb the trunks as long as the next one makes enough steps; return the last that does, and its speed.

    One is not measured where it would make too few even if it cost half of what its multiplications say: larger layers
    keep a machine busier.

    Args:
      measure: measures a trunk.
      steps_of: how many steps of pretraining there are at a speed.
      in_time: whether there is time to measure another one.
    """
    chosen, speed = 0, measure(TRUNKS[0])
    for place in range(1, len(TRUNKS)):
        hoped = speed._replace(step=speed.step * max(1.0, COSTS[place] / COSTS[chosen] / 2))
        if not in_time() or steps_of(hoped) < WANTED_STEPS:
            break
        larger = measure(TRUNKS[place])
        if steps_of(larger) < WANTED_STEPS:
            break
        chosen, speed = place, larger
    return TRUNKS[chosen], speed


def refuse_too_slow(minutes: float, steps_of: Callable[[float], int], speed: Speed) -> None:
    """Raise UserError where the minutes make fewer than `LEAST_STEPS` steps; it says how many would do.

    Args:
      steps_of: how many steps there are in so many minutes.
    """
    steps = steps_of(minutes)
    if steps >= LEAST_STEPS:
        return
    needed = math.floor(minutes) + 1
    while steps_of(needed) < LEAST_STEPS:
        needed += max(1, needed // 50)
    raise UserError(
        f"a step of pretraining takes {speed.step:.2g} s on this machine, and {minutes:g} minutes leave"
        f" {counted(max(0, steps), 'step')}, of {LEAST_STEPS} at least; give --minutes {needed}"
    )
