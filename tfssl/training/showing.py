"""How far training is: Keras's bar where a line can be written anew, elsewhere lines."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import keras

from tfssl.pipelines.progress import WithoutColours, can_redraw, duration
from tfssl.training.callbacks import Logs

EVERY = 300.0
"""Seconds between lines within an epoch."""


def fit_verbose(verbose: int) -> int:
    """Return `verbose` as `fit` gets it: 1 for its bar, 2 for a line an epoch, 0 for nothing."""
    return 2 if verbose == 1 and not can_redraw(sys.stdout) else verbose


@contextlib.contextmanager
def colours_as_wanted() -> Iterator[None]:
    """Leave out the colours of Keras's bar where NO_COLOR is set."""
    stream: Any = WithoutColours(sys.stdout) if os.environ.get("NO_COLOR") else sys.stdout
    with contextlib.redirect_stdout(stream):
        yield


class NowAndThen(keras.callbacks.Callback):
    """Says every few minutes how far an epoch is, with the means over it, where no bar does."""

    def __init__(self) -> None:
        super().__init__()
        self._began, self._next = 0.0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._began = time.monotonic()
        self._next = self._began + EVERY

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now, done, steps = time.monotonic(), batch + 1, self.params["steps"]
        if now < self._next or done == steps:
            return
        self._next = now + EVERY
        left = duration((now - self._began) / done * (steps - done))
        figures = "".join(f" - {name}: {float(value):.4g}" for name, value in (logs or {}).items())
        print(f"{done}/{steps} - {left} left{figures}", flush=True)
