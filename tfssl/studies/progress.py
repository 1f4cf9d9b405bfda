"""Where a study is, and how long the rest takes."""

import sys

from tfssl.pipelines.progress import duration


class Progress:
    """Says which run of how many is made, and about how long the rest takes."""

    def __init__(self, count: int):
        self._count, self._done = count, 0
        self._seconds: list[float] = []

    def say(self, what: str) -> None:
        """Write a line to standard error."""
        line = f"[{self._done + 1} of {self._count}] {what}"
        if self._seconds:
            left = (self._count - self._done) * sum(self._seconds) / len(self._seconds)
            line += f"; about {duration(left)} for this and the rest"
        print(line, file=sys.stderr, flush=True)

    def ended(self, seconds: float | None) -> None:
        """Count a trial as made; its time is what others are expected to take. None for one that failed."""
        self._done += 1
        self._seconds += [] if seconds is None else [seconds]
