"""Settings in braces: 'jigsaw(classes={4,16})' is two sets of tasks, as in a shell; and what tells variants apart."""

import itertools
from collections.abc import Sequence

from tfssl.base import specs
from tfssl.base.errors import UserError
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import PretextTask

EXPECTED = "expected values with commas between, as in 'jigsaw(classes={4,16,64})'"


def expand_braces(text: str) -> list[str]:
    """Expand 'a(x={1,2}, y={3,4})' -> 'a(x=1, y=3)', 'a(x=1, y=4)', 'a(x=2, y=3)', 'a(x=2, y=4)'.

    Commas inside of brackets of any kind divide nothing: '{a(x=1, y=2),b}' has two parts.

    Raises:
      UserError: braces that do not match, lie in each other, or are empty.
    """
    parts: list[list[str]] = []
    rest = text
    while rest:
        before, opened, rest = rest.partition("{")
        if "}" in before:
            raise UserError(f"cannot read {text!r}: a brace is closed that was not opened; {EXPECTED}")
        parts.append([before])
        if not opened:
            break
        inside, closed, rest = rest.partition("}")
        if not closed or "{" in inside:
            problem = "braces lie in each other" if closed else "a brace is not closed"
            raise UserError(f"cannot read {text!r}: {problem}; {EXPECTED}")
        choices = _split(inside)
        if not all(choices):
            raise UserError(f"cannot read {text!r}: a value in braces is empty; {EXPECTED}")
        parts.append(choices)
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def label_variants(variants: Sequence[str]) -> list[str]:
    """Return what tells sets of tasks apart: 'classes=4', 'classes=16'; their text where they have other tasks."""
    parsed = [parse_tasks(variant) for variant in variants]
    names = [[task.name for task in tasks] for tasks in parsed]
    if any(other != names[0] for other in names) or len(variants) < 2:
        return list(variants)
    differing = differing_settings(parsed)
    several = len({name for name, _ in differing}) > 1
    return [
        ", ".join(
            f"{name + '.' if several else ''}{key}={getattr(task, key)!r}"
            for task in tasks
            for name, key in differing
            if task.name == name
        )
        for tasks in parsed
    ]


def differing_settings(variants: Sequence[Sequence[PretextTask]]) -> list[tuple[str, str]]:
    """Return (task, setting) of every setting that differs among variants with the same tasks, in their order."""
    differing = []
    for place, task in enumerate(variants[0]):
        for key in specs.defaults(type(task)):
            if len({repr(getattr(tasks[place], key)) for tasks in variants}) > 1:
                differing.append((task.name, key))
    return differing


def watched_task(variants: Sequence[str]) -> str:
    """Return the task whose pretext metric is drawn: the first whose settings differ, else the first that all have.

    Raises:
      UserError: no task is in all variants.
    """
    parsed = [parse_tasks(variant) for variant in variants]
    names = [[task.name for task in tasks] for tasks in parsed]
    common = [name for name in names[0] if all(name in other for other in names)]
    if not common:
        raise UserError(
            f"a sweep varies one task, and {variants[0]!r} and {variants[-1]!r} have none in common;"
            " to set tasks beside each other use tfssl compare"
        )
    differing = differing_settings(parsed) if all(other == names[0] for other in names) else []
    return differing[0][0] if differing else common[0]


def _split(text: str) -> list[str]:
    """Split at the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
