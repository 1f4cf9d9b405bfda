"""How far a long piece of work is: said on standard error, steadily on a terminal and now and then elsewhere."""

import shutil
import sys
import time

PATIENCE = 1.0
"""Seconds without a word: what ends sooner is not spoken of."""

INTERVAL = 0.25
"""Seconds between looks of the line on a terminal."""


class Progress:
    """A line that says how many of how many are done, and the time left.

    Used as a context, it says at its end how long all took.

    On a terminal it is one line, written anew a few times a second. Where standard error goes to a file it is a line
    whenever twice the time has passed, so an hour takes a dozen.

    Args:
      what: `pictures decoded into memory`.
      name: the name of the whole, as `photos/`; it comes last, as a terminal may be narrow.
      count: how many there are.
      verbose: 0 to say nothing.
    """

    def __init__(self, what: str, name: str, count: int, verbose: int = 1):
        self._what, self._name, self._count = what, name, count
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
        if sys.stderr.isatty():
            print(file=sys.stderr, flush=True)

    def add(self, count: int) -> None:
        """Count so many more as done."""
        self._done += count
        now = time.monotonic()
        # The time before the first is mostly set-up, of which no more is to come: the rest is estimated without it.
        since, before = self._first = self._first or (now, self._done)
        if now >= self._next and 0 < self._done < self._count:
            left = ""
            if self._done > before:
                seconds = (now - since) * (self._count - self._done) / (self._done - before)
                left = f", {duration(seconds)} left"
            self._say(f"{self._done:,} of {self._count:,} {self._what}{left}: {self._name}")
            self._next = now + (INTERVAL if sys.stderr.isatty() else now - self._began)

    def _say(self, line: str) -> None:
        if sys.stderr.isatty():
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
