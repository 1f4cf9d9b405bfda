"""`bench pipeline` of clips: how many a second are read, decoded, and made into puzzles."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfssl.base.explicit import explicit
from tfssl.benchmarks.timing import PipelineSpeed, measure_rates, median, ratios
from tfssl.multitask.puzzle_stream import maker, stream
from tfssl.pipelines import batches
from tfssl.pipelines.clips import clip_records
from tfssl.pipelines.sources.source import AnySource
from tfssl.tasks.base import PretextTask


@dataclasses.dataclass(frozen=True)
class ClipSpeed(PipelineSpeed):
    """In clips a second.

    Attributes:
      clips: how many there are.
      decode: by count of frames: so many of each clip read and decoded, and nothing else.
      crop: the stream of one crop of a frame of each.
      tasks: of the puzzles of each task alone.
      all: of the puzzles of all tasks, from one stream.
      frames: by task, how many frames it decodes for a puzzle.
      to_decode: each task, divided by the bare decoding of as many frames in the same pass.
      all_to_slowest: `all` divided by the slowest task alone, of the same pass.
      slowest: what takes most time for a clip: "read", or a task beyond that.
    """

    clips: int
    decode: dict[int, float]
    crop: float
    tasks: dict[str, float]
    all: float
    frames: dict[str, int]
    to_decode: dict[str, float]
    all_to_slowest: float
    slowest: str

    def __str__(self) -> str:
        lines = [
            f"{self.clips} clips of {self.data}: crops of {self.size} pixels, batches of {self.batch_size}, clips a"
            f" second, medians of {self.passes} passes",
            f"{'read':20}{self.read:10,.0f}",
            *(f"{f'bare decode of {count}':20}{speed:10,.0f}" for count, speed in self.decode.items()),
            "",
            f"{'':20}{'clips/s':>10}{'frames':>8}{'of decode':>11}",
            f"{'crop of a frame':20}{self.crop:10,.0f}",
        ]
        for name, speed in self.tasks.items():
            lines.append(f"{name:20}{speed:10,.0f}{self.frames[name]:8}{self.to_decode[name]:11.2f}")
        lines.append(f"{'all':20}{self.all:10,.0f}")
        lines.append(f"all together: {self.all_to_slowest:.2f} of the slowest task alone")
        lines.append(f"slow stage: {self.slowest}")
        return "\n".join(lines)


def bench_clips(
    source: AnySource,
    tasks: Sequence[PretextTask],
    size: int,
    batch_size: int,
    passes: int,
    seconds: float,
    verbose: int,
) -> ClipSpeed:
    """Measure as `tfssl.bench_pipeline` does; tasks are prepared."""
    frames = {task.name: frames_of(task, size) for task in tasks}
    counts = sorted({1, *frames.values()} - {0})
    stages = {"read": _bare(source, batch_size, 0), "crop": batches.training(source, size, batch_size, 0)}
    stages |= {f"decode {count}": _bare(source, batch_size, count) for count in counts}
    stages |= {task.name: stream(source, [task], size, batch_size, 0) for task in tasks}
    stages["all"] = stream(source, tasks, size, batch_size, 0)
    rates = measure_rates(stages, batch_size, passes, seconds, verbose)
    middle = {name: median(values) for name, values in rates.items()}
    names = [task.name for task in tasks]
    slowest_task = [min(alone) for alone in zip(*(rates[name] for name in names), strict=True)]
    spent = {"read": 1 / middle["read"]} | {name: 1 / middle[name] - 1 / middle["read"] for name in names}
    return ClipSpeed(
        data=source.name,
        clips=source.count,
        size=size,
        batch_size=batch_size,
        passes=passes,
        read=middle["read"],
        decode={count: middle[f"decode {count}"] for count in counts},
        crop=middle["crop"],
        tasks={name: middle[name] for name in names},
        all=middle["all"],
        frames=frames,
        to_decode={
            name: median(ratios(rates[name], rates[f"decode {frames[name]}" if frames[name] else "crop"]))
            for name in names
        },
        all_to_slowest=median(ratios(rates["all"], slowest_task)),
        slowest=max(spent, key=lambda name: spent[name]),
    )


def frames_of(task: PretextTask, size: int) -> int:
    """Count the frames that a task decodes for one puzzle: ops in its graph, as decoding is written out frame by frame.

    0 of a task on pictures, which cuts what it needs from the one crop of a frame that all share.
    """

    puzzles = maker(task)

    def make(records: tf.Tensor) -> Any:
        batch = {"image": tf.zeros([2, size, size, 3], tf.uint8), "clip": records}
        return puzzles(batch, tf.constant([0, 0]))

    graph = tf.function(make).get_concrete_function(tf.TensorSpec([2], tf.string)).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sum(node.op == "DecodeAndCropJpeg" for node in nodes)


def _bare(source: AnySource, batch_size: int, count: int) -> tf.data.Dataset:
    """Read records, and decode `count` frames of each whole at random places, the plain way. A number for each."""
    reader = source.reader()

    @explicit
    def read(step: tf.Tensor) -> tf.Tensor:
        records = reader.records(batches.order(source.count, batch_size, 0, step))
        if not count:
            return tf.strings.length(records)
        given = clip_records.parse(records)

        def decoded(number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            clip = given[number]

            def decode() -> tf.Tensor:
                places = tf.random.stateless_uniform([count], seed, 0, clip.count, tf.int32)
                chosen = tf.unstack(clip.frames(places), count)
                # A byte of each, so that none of it is left out as not needed.
                return tf.add_n([tf.cast(tf.io.decode_jpeg(frame, channels=3)[0, 0, 0], tf.int32) for frame in chosen])

            return tf.cond(clip.count > 0, decode, lambda: 0)

        return clip_records.over_rows(batch_size, tf.stack([0, tf.cast(step, tf.int32)]), decoded)

    return tf.data.Dataset.range(2**62).map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
