"""What features were worth while a run trained, as the lines of metrics.jsonl have it.

The line of an epoch after which the run was looked at, and with labels one of step 0, before training, has "rank",
of the last stage, and with labels "knn" and "probe", of the best one. Its "watch" says what it was looked at with
("data", "fingerprint", "pictures", "learned_from", "held_out"), the best two stages ("best") and the figures of all
("stages").
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfssl.base.statistics import wilson
from tfssl.base.words import counted
from tfssl.runs.spread import COLLAPSED

SHARES = ("knn", "probe")
"""Shares of held-out pictures that are named right, 0 .. 1."""
FIGURES = (*SHARES, "rank")
"""What stands beside metrics in a line, in the bar, and in TensorBoard."""
TITLES = {"knn": "k-NN", "probe": "closed-form probe", "rank": "effective rank"}
PATIENCE = 5
"""After so many looks without a rise a run is flat."""
ENOUGH = 16
"""Pictures of which a rank near 1 says anything: it is never above their number."""

Look = Mapping[str, Any]
"""A line of metrics.jsonl that has "watch"."""


def looks_of(lines: Iterable[Mapping[str, Any]], fingerprint: str | None = None) -> list[Look]:
    """Return the lines of looks at the same pictures: those with this fingerprint, or with that of the last look."""
    looks = [line for line in lines if "watch" in line]
    wanted = fingerprint if fingerprint is not None or not looks else looks[-1]["watch"]["fingerprint"]
    return [look for look in looks if look["watch"]["fingerprint"] == wanted]


def is_flat(looks: Sequence[Look]) -> bool:
    """Say whether neither k-NN nor the probe has risen for `PATIENCE` looks.

    A rise is a share above the best one of all looks before these by more than its standard error, sqrt(p (1 - p) / n)
    of n held-out pictures: less may be noise. The look before training is left out: features may fall below random ones
    first, and then rise.
    """
    looks = [look for look in looks if look["epoch"]]
    before, recent = looks[:-PATIENCE], looks[-PATIENCE:]
    if not before or not all(name in look for look in looks for name in SHARES):
        return False
    count = looks[-1]["watch"]["held_out"]
    for name in SHARES:
        best = max(look[name] for look in before)
        if max(look[name] for look in recent) > best + math.sqrt(best * (1 - best) / count):
            return False
    return True


def has_collapsed(look: Look) -> bool:
    """Say whether features of the last stage have nearly one direction for all pictures."""
    return look["rank"] < COLLAPSED and look["watch"]["pictures"] >= ENOUGH


def summary(looks: Sequence[Look]) -> dict[str, Any]:
    """Return what result.json has of the looks of a run: how many, at what, and the figures of the last one."""
    if not looks:
        return {}
    last = looks[-1]
    facts = {
        name: last["watch"][name] for name in ("data", "pictures", "learned_from", "held_out") if name in last["watch"]
    }
    figures = {name: last[name] for name in FIGURES if name in last}
    return {"looks": len(looks), "epoch": last["epoch"], **facts, "best": list(last["watch"]["best"]), **figures}


def sentences(looks: Sequence[Look]) -> list[str]:
    """Say in plain words how features changed from the first look to the last."""
    if not looks:
        return []
    first, last = looks[0], looks[-1]
    facts, said = last["watch"], []
    if all(name in last for name in SHARES):
        rises = []
        for name in SHARES:
            low, high = wilson(last[name], facts["held_out"])
            rises.append(
                f"{TITLES[name]} {_percent(first[name])} {_when(first)}, {_percent(last[name])} {_when(last)}"
                f" (95 % interval {100 * low:.1f} to {100 * high:.1f})"
            )
        said.append(
            f"Watched while it trained, on {counted(facts['learned_from'], 'picture')} of {facts['data']} to learn from"
            f" and {facts['held_out']:,} that are not: {'; '.join(rises)}, each of the stage that was best by then"
            f" ({facts['best'][0]} at last)."
        )
    stage = list(facts["stages"])[-1]
    said.append(
        f"The effective rank of {stage}, on {counted(facts['pictures'], 'picture')}, was {first['rank']:.1f}"
        f" {_when(first)} and {last['rank']:.1f} {_when(last)}."
    )
    if collapsed := [look for look in looks if look["epoch"] and has_collapsed(look)]:
        said.append(
            f"COLLAPSED: {_when(collapsed[0])} features of {stage} had nearly one direction for all pictures"
            f" (effective rank near 1)."
        )
    return said


def _when(look: Look) -> str:
    return f"after epoch {look['epoch']}" if look["epoch"] else "before training"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
