"""What `fit` shows where, by a `fit` of three steps."""

import io
import types

import keras
import numpy as np
import pytest

from tests.pipelines.progress_test import Terminal
from tfssl.training import showing


@pytest.fixture
def said(monkeypatch):
    """(stream, verbose, seconds that each step takes) -> what `fit` of an epoch of three steps writes to the stream."""

    def fit(stream, verbose=1, seconds=0.0):
        now = [0.0]

        class Clock(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                now[0] += seconds

        monkeypatch.setattr(showing, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr("sys.stdout", stream)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        model.compile("sgd", "mse")
        ones, shown = np.ones((3, 1)), showing.fit_verbose(verbose)
        with showing.colours_as_wanted():
            model.fit(
                ones, 2 * ones, 1, callbacks=[Clock(), *([showing.NowAndThen()] if shown == 2 else [])], verbose=shown
            )
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return fit


def test_a_file_gets_a_line_an_epoch(said):
    (line,) = said(io.StringIO()).splitlines()
    assert line.startswith("3/3 - ")
    assert "\x1b" not in line


def test_a_file_gets_a_line_every_few_minutes_too(said):
    first, second, last = said(io.StringIO(), seconds=301.0).splitlines()
    assert first == "1/3 - 10 min left - loss: 4"  # nothing is learned yet: (2 - 0) squared
    assert second.startswith("2/3 - 5 min left - loss: ")
    assert last.startswith("3/3 - ")


def test_a_terminal_gets_the_bar_with_colours_and_without(said, monkeypatch):
    assert "\x1b[32m━" in said(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    plain = said(Terminal())
    assert "\x1b" not in plain
    assert "\r1/3 ━" in plain
    monkeypatch.setenv("TERM", "dumb")
    assert said(Terminal()).count("\n") == 1


def test_nothing_is_nothing(said):
    assert said(io.StringIO(), verbose=0) == said(Terminal(), verbose=0) == ""
