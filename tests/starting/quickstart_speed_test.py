"""The measurement: it ends soon, and its figures are those of the clock."""

import time

import pytest

from tests.support.keras_globals import set_otherwise, state
from tfssl.pipelines.sources.any_source import open_source
from tfssl.starting import measuring
from tfssl.starting.measuring import Clock, measure


class Model:
    stop_training = False


def clock_of(monkeypatch, steps):
    """A clock that was told of steps which end at these times, in seconds from its making; and after how many it ends.

    Its model ends with the step after which it asked for it.
    """
    now = [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    clock = Clock()
    clock.set_model(Model())
    for number, end in enumerate(steps):
        now[0] = end
        clock.on_train_batch_end(number, {"loss": 1.0})
        if clock.model.stop_training:
            return clock, number + 1
    return clock, None


def test_clock(monkeypatch):
    # The first two do not count; six of a second are enough.
    clock, ended = clock_of(monkeypatch, [9.0, 9.5, *(9.5 + step for step in range(1, 20))])
    assert (clock.setup, clock.step, ended) == (9.0, 1.0, 7)
    # Slow ones: four.
    clock, ended = clock_of(monkeypatch, [9.0, 20.0, *(20.0 + 30.0 * step for step in range(1, 20))])
    assert (clock.step, ended) == (30.0, 6)
    # Quick ones: forty.
    clock, ended = clock_of(monkeypatch, [1.0, 1.5, *(1.5 + 0.01 * step for step in range(1, 90))])
    assert (clock.step, ended) == (pytest.approx(0.01), 42)


# Builds and traces a network, as it must: some seconds.
def test_measure_of_a_real_network(monkeypatch):
    monkeypatch.setattr(measuring, "SECONDS", 0.1)
    source = open_source("toy:images(count=24, size=32)")
    with set_otherwise("mixed_float16"):
        before = state()
        began = time.perf_counter()
        speed = measure(source, "rotation", 32, 16, "resnet10(width=4)")
        took = time.perf_counter() - began
        assert state() == before
    assert 0 < 4 * speed.step < took
    assert 0 < speed.setup < took
    assert 0 < speed.picture < took / 24


def test_where_bfloat16_may_be_faster(monkeypatch):
    details = {"compute_capability": (7, 5)}
    monkeypatch.setattr(measuring.tf.config, "list_physical_devices", lambda kind: ["gpu"] if kind == "GPU" else [])
    monkeypatch.setattr(measuring.tf.config.experimental, "get_device_details", lambda gpu: details)
    assert measuring.has_gpu()
    assert not measuring.may_gain_by_bfloat16()
    details["compute_capability"] = (9, 0)
    assert measuring.may_gain_by_bfloat16()
    details.clear()
    assert not measuring.may_gain_by_bfloat16()
