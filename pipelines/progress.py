"""How far a long piece of work is: said on standard error, steadily on a terminal and now and then elsewhere."""

import os
import re
import shutil
import sys
import time
from typing import Any

PATIENCE = 1.0
"""Seconds without a word: what ends sooner is not spoken of."""

INTERVAL = 0.25
"""Seconds between looks of the line on a terminal."""


def can_redraw(stream: Any) -> bool:
    """Say whether a line of a stream can be written anew: on a terminal that is not dumb, and in a notebook."""
    is_terminal = getattr(stream, "isatty", bool)() and os.environ.get("TERM") != "dumb"
    return is_terminal or type(stream).__module__.startswith("ipykernel.")


class WithoutColours:
    """A stream of text whose colours are left out, as NO_COLOR asks for (no-color.org); all else is the stream's."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without its colours."""
        self._stream.write(re.sub(r"\x1b\[[0-9;]*m", "", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Progress:
    """A line that says how many of how many are done, and the time left.

    Used as a context, it says at its end how long all took.

    Where the line can be written anew (`can_redraw`) it is one, written a few times a second. Where standard error goes
    to a file it is a line whenever twice the time has passed, so an hour takes a dozen.

    Args:
      what: `pictures decoded into memory`.
      name: the name of the whole, as `photos/`; it comes last, as a terminal may be narrow.
      count: how many there are; None where that is not known.
      verbose: 0 to say nothing.
      speed: whether it says how many a second, too.

    Attributes:
      count: the argument; to be set where it becomes known later.
    """

    def __init__(self, what: str, name: str, count: int | None, verbose: int = 1, speed: bool = False):
        self._what, self._name, self.count, self._speed = what, name, count, speed
        self._done, self._shown = 0, 0
        self._began = time.monotonic()
        self._first: tuple[float, int] | None = None  # when the first were done, and how many
        self._next = self._began + PATIENCE if verbose else float("inf")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, *problem: object) -> None:
        if not self._shown:
            return
        if kind is None:
            self._say(f"{self._done:,} {self._what} in {duration(time.monotonic() - self._began)}: {self._name}")
        if can_redraw(sys.stderr):
            print(file=sys.stderr, flush=True)

    def add(self, count: int) -> None:
        """Count so many more as done."""
        self._done += count
        now = time.monotonic()
        # The time before the first is mostly set-up, of which no more is to come: the rest is estimated without it.
        since, before = self._first = self._first or (now, self._done)
        if now >= self._next and self._done and (self.count is None or self._done < self.count):
            done, rest = f"{self._done:,}", ""
            if self._done > before:
                each = (now - since) / (self._done - before)
                rest += f", {1 / each:.3g} a second" if self._speed and each else ""
                rest += "" if self.count is None else f", {duration(each * (self.count - self._done))} left"
            done += "" if self.count is None else f" of {self.count:,}"
            self._say(f"{done} {self._what}{rest}: {self._name}")
            self._next = now + (INTERVAL if can_redraw(sys.stderr) else now - self._began)

    def _say(self, line: str) -> None:
        if can_redraw(sys.stderr):
            line = line[: shutil.get_terminal_size().columns - 1]  # a line that wraps is not written anew
            print(f"\r{line:{self._shown}}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
        self._shown = len(line)


def duration(seconds: float) -> str:
    """Format a time: `4 s`, `12 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
