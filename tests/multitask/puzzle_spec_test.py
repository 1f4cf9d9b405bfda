"""What puzzles look like, without making any."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfssl.multitask.puzzle_stream import puzzle_spec, stream, stream_spec
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import TASKS, parse_tasks
from tfssl.tasks.rotation import Rotation


def test_the_specification_is_that_of_the_stream():
    source = open_source("toy:images(count=8, size=32)")
    tasks = parse_tasks("rotation(batch=2), relative_position(grid=2)")
    assert stream_spec(tasks, 32, 4) == stream(source, tasks, 32, 4, seed=0).element_spec


def test_a_task_with_an_array_among_its_fields():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Weighted(Rotation):
        table: np.ndarray

    assert puzzle_spec(Weighted(table=np.ones(4)), 32) == puzzle_spec(Rotation(), 32)


def test_tasks_of_ones_own_may_be_written_with_pythons_if(monkeypatch):
    class Turning(Rotation):
        def puzzles(self, batch, seed):
            puzzle, answer, weight = super().puzzles(batch, seed)
            if tf.reduce_sum(answer) > 0:  # over a tensor, which TensorFlow rewrites
                weight = 2 * weight
            return puzzle, answer, weight

    source = open_source("toy:images(count=8, size=32)")
    _, _, weights = next(iter(stream(source, [Turning()], 32, 4, seed=0)))
    np.testing.assert_array_equal(weights["rotation"], np.full(16, 2.0))
    # What is ours is not looked through: it could not be written so.
    monkeypatch.setitem(TASKS, "rotation", Turning)
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        stream(source, [Turning()], 32, 4, seed=0)
