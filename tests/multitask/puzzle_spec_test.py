"""What puzzles look like, without making any."""

import dataclasses

import numpy as np

from tfssl.multitask.puzzle_stream import puzzle_spec, stream, stream_spec
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_tasks
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
