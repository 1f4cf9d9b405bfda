"""What an audit found: one line a probe, as table and as JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfssl.base.result import Result, plain

OK, LEAK, FAULT, WEAK, CONTENT, NONE = "ok", "LEAK", "FAULT", "weak", "content", "not applicable"
VERDICTS = {
    OK: "what should not tell does not tell",
    LEAK: "the answer can be had without what the task is about",
    FAULT: "the puzzle is not what a task promises: not repeatable, not of its source, the same in each epoch",
    WEAK: "above chance beyond doubt, but by less than the margin",
    CONTENT: "tells something, and may: it is what the pictures show",
    NONE: "cannot be asked of this task",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """One question to one task.

    Attributes:
      task: its text, as 'rotation(rotations=8)'.
      name: the name of the probe.
      verdict: one of `VERDICTS`.
      found: the figure; None where there is none.
      bounds: its 99 % interval.
      chance: the figure of a task that leaks nothing; None where there is none.
      unit: "%" for shares (0 .. 1 in `found`), or what the figure counts.
      note: what the figure is, in a few words.
    """

    task: str
    name: str
    verdict: str
    found: float | None = None
    bounds: tuple[float, float] | None = None
    chance: float | None = None
    unit: str = "%"
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the line of the table."""
        text = self._text(self.found)
        if self.bounds is not None:
            low, high = (self._text(bound, bare=True) for bound in self.bounds)
            text += f" ({low} to {high})"
        return self.name, text, self._text(self.chance), self.verdict, self.note

    def _text(self, value: float | None, bare: bool = False) -> str:
        if value is None:
            return ""
        if self.unit == "%":
            return f"{100 * value:.1f}" + (" %" if not bare else "")
        return f"{value:.3g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit(Result):
    """All probes of all tasks on one sample of `count` pictures or clips, which `items` names."""

    probes: Sequence[Probe]
    data: str
    count: int
    size: int
    advice: Sequence[str] = ()
    items: str = "pictures"

    @property
    def leaks(self) -> list[Probe]:
        """Probes that found a leak or a fault."""
        return [probe for probe in self.probes if probe.verdict in (LEAK, FAULT)]

    @property
    def ok(self) -> bool:
        """Whether no probe found a leak or a fault."""
        return not self.leaks

    def verdict(self, name: str, task: str | None = None) -> str:
        """Return the verdict of a probe by its name, of the only task or of the one whose text begins with `task`."""
        return next(p.verdict for p in self.probes if p.name == name and p.task.startswith(task or ""))

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {
            "ok": self.ok,
            "data": self.data,
            "count": self.count,
            "items": self.items,
            "size": self.size,
            "advice": list(self.advice),
            "probes": plain(self.probes),
        }

    def __str__(self) -> str:
        head = ("probe", "found (99 % interval)", "chance", "verdict", "")
        lines = [f"{self.count} {self.items} of {self.data} at {self.size} px", *self.advice]
        widths = [max(len(row[k]) for row in [head, *(p.cells() for p in self.probes)]) for k in range(4)]
        for task in dict.fromkeys(probe.task for probe in self.probes):
            lines += ["", task]
            for row in [head, *(probe.cells() for probe in self.probes if probe.task == task)]:
                aligned = (
                    cell.rjust(width) if column in (1, 2) else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=False))
                )
                lines.append("  " + "  ".join([*aligned, row[4]]).rstrip())
        used = dict.fromkeys(probe.verdict for probe in self.probes)
        lines += ["", *(f"{verdict}: {text}" for verdict, text in VERDICTS.items() if verdict in used)]
        leaks = len(self.leaks)
        lines += ["", "no leak found" if self.ok else f"{leaks} probe{'s' * (leaks != 1)} found a leak or a fault"]
        return "\n".join(lines)
