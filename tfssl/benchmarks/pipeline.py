"""`bench pipeline`: how many source pictures a second each stage from file to puzzles gives, and which one is slow."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.explicit import explicit
from tfssl.base.keras_state import on_its_own
from tfssl.benchmarks.clips import bench_clips
from tfssl.benchmarks.config import BenchPipelineSettings
from tfssl.benchmarks.timing import PipelineSpeed, measure_rates, median, ratios
from tfssl.multitask.puzzle_stream import check_fits, stream
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import cache, headers
from tfssl.pipelines.sources.any_source import open_source
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.tasks import TASKS, parse_tasks
from tfssl.tasks.base import PretextTask


@dataclasses.dataclass(frozen=True)
class Streams:
    """Source pictures a second of the training streams, medians over passes.

    Attributes:
      cached: whether crops are cut from decoded pictures that are kept in memory.
      crop: of crops alone.
      tasks: of the puzzles of each task alone, by name.
      all: of the puzzles of all tasks, from one stream of crops.
      puzzles_per_second: by task.
      to_decode: `crop`, each task and `all`, divided by the bare decode of the same pass.
      all_to_slowest: `all` divided by the slowest task alone, of the same pass.
      slowest: what takes most time for a picture: "read", "decode and crop" (with kept pictures "crop"), or a task.
    """

    cached: bool
    crop: float
    tasks: dict[str, float]
    all: float
    puzzles_per_second: dict[str, float]
    to_decode: dict[str, float]
    all_to_slowest: float
    slowest: str


@dataclasses.dataclass(frozen=True)
class PictureSpeed(PipelineSpeed):
    """In source pictures a second.

    Attributes:
      pictures: how many there are.
      cache_bytes: memory that the kept pictures take, or would take.
      decode: the fastest plain decoding of whole pictures.
      streams: as `pretrain` reads them.
      decoded_each_time: the same without kept pictures; None where `streams` has none.
    """

    pictures: int
    cache_bytes: int
    decode: float
    streams: Streams
    decoded_each_time: Streams | None

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: the fields, those of `streams` beside them."""
        fields = super().as_json()
        return fields | fields.pop("streams")

    def __str__(self) -> str:
        lines = [
            f"{self.pictures} pictures of {self.data}: crops of {self.size} pixels, batches of {self.batch_size}, "
            f"source pictures a second, medians of {self.passes} passes",
            f"{'read':20}{self.read:12,.0f}",
            f"{'bare decode':20}{self.decode:12,.0f}",
        ]
        for streams in filter(None, (self.streams, self.decoded_each_time)):
            kept = (
                f"decoded once, kept in {self.cache_bytes / 2**20:,.0f} MiB"
                if streams.cached
                else "decoded anew for each crop"
            )
            lines += ["", kept, f"{'':20}{'pictures/s':>12}{'of decode':>12}{'puzzles/s':>12}"]
            for name, speed in {"crop": streams.crop, **streams.tasks, "all": streams.all}.items():
                puzzles = streams.puzzles_per_second.get(name)
                end = f"{puzzles:12,.0f}" if puzzles else ""
                lines.append(f"{name:20}{speed:12,.0f}{streams.to_decode[name]:12.2f}{end}")
            lines.append(f"all together: {streams.all_to_slowest:.2f} of the slowest task alone")
            lines.append(f"slow stage: {streams.slowest}")
        return "\n".join(lines)


@on_its_own()
def bench_pipeline(
    data: Any,
    tasks: str | PretextTask | Sequence[str | PretextTask] | None = None,
    size: int = 96,
    *,
    batch_size: int = 64,
    passes: int = 3,
    seconds: float = 1.5,
    cache_memory: int = 1 << 30,
    max_broken: float = 0.01,
    verbose: int = 1,
) -> PipelineSpeed:
    """Measure the pipeline from files to puzzles, stage by stage.

    Passes of all stages take turns, so that what else the machine does meets all of them; one pass of each goes before
    those that count. Where pictures are kept decoded, the streams are measured with and without that.

    Args:
      data: anything that `open_source` takes.
      tasks: pretext tasks; None for all there are.
      size: side of the crops, pixels.
      batch_size: source pictures in a batch; all pictures, where these are fewer.
      passes: how often each stage is measured; the median counts.
      seconds: how long a pass of a stage is measured.
      cache_memory: bytes that decoded pictures may take: see `tfssl.pipelines.decoding.cache`.
        0 to decode anew each time.
      max_broken: largest part of the pictures that may be unreadable.
      verbose: 1 says on standard error how far it is, 0 nothing.

    Returns:
      A `PictureSpeed`; of clips a `ClipSpeed`.

    Raises:
      UserError: missing or unreadable data, an unknown task, a size, batch, count of passes or time out of range.
    """
    BenchPipelineSettings(**locals())
    source = open_source(data, max_broken)
    if "words" in source.holds:
        raise UserError(
            f"{source.name} is text, whose words a second `tfssl pretrain` says; expected pictures or clips"
        )
    batch_size = min(batch_size, source.count)
    fitting = [name for name, task in TASKS.items() if set(task.reads) <= set(source.holds)]
    parsed = parse_tasks(fitting if tasks is None else tasks)
    check_fits(parsed, batch_size, source)
    prepared = [task.prepared(source) for task in parsed]
    if not isinstance(source, PictureSource):  # asked here alone: the steps inside of a class are measured
        return bench_clips(source, prepared, size, batch_size, passes, seconds, verbose)

    cached = cache.fits(source, size, cache_memory)
    memories = [cache_memory, 0] if cached else [0]
    alone = [[task] for task in prepared]
    stages = {"read": _files(source, batch_size, False), "decode": _files(source, batch_size, True)}
    for memory in memories:
        crops = batches.training(source, size, batch_size, 0, cache_memory=memory, verbose=verbose)
        stages[_key(memory, ())] = crops
        for chosen in alone + [prepared] * (len(alone) > 1):
            puzzles = stream(source, chosen, size, batch_size, 0, verbose=verbose, cache_memory=memory)
            stages[_key(memory, [task.name for task in chosen])] = puzzles
    rates = measure_rates(stages, batch_size, passes, seconds, verbose)
    streams = [_streams(rates, prepared, batch_size, memory, stages) for memory in memories]
    return PictureSpeed(
        data=source.name,
        pictures=source.count,
        size=size,
        batch_size=batch_size,
        passes=passes,
        cache_bytes=cache.bytes_needed(source, size),
        read=median(rates["read"]),
        decode=median(rates["decode"]),
        streams=streams[0],
        decoded_each_time=streams[1] if cached else None,
    )


def _files(source: PictureSource, batch_size: int, decode: bool) -> tf.data.Dataset:
    """Read files, and decode them whole, the plain way: one a step of a parallel map. A number for each."""
    reader = source.reader()
    plain_jpeg = bool(np.all(source.header[:, 0] == headers.JPEG))

    @explicit
    def read(number: tf.Tensor) -> tf.Tensor:
        data = reader.read(reader.rows(number[None])[0][0])
        if not decode:
            return tf.strings.length(data)
        decoder = tf.io.decode_jpeg if plain_jpeg else _decode_any
        return tf.size(decoder(data, channels=3))

    numbers = tf.data.Dataset.range(source.count).repeat()
    sizes = numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).ignore_errors()
    return sizes.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _decode_any(data: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_image(data, channels=channels, expand_animations=False)


def _key(memory: int, names: Sequence[str]) -> str:
    return f"{memory} {' '.join(names)}"


def _streams(
    rates: dict[str, list[float]],
    tasks: Sequence[PretextTask],
    batch_size: int,
    memory: int,
    stages: dict[str, tf.data.Dataset],
) -> Streams:
    names = [task.name for task in tasks]
    keys = {"crop": _key(memory, ())} | {name: _key(memory, [name]) for name in names} | {"all": _key(memory, names)}
    middle = {name: median(rates[key]) for name, key in keys.items()}
    slowest_task = [min(alone) for alone in zip(*(rates[keys[name]] for name in names), strict=True)]
    crop, read = 1 / middle["crop"], 1 / median(rates["read"])  # seconds of a picture
    spent = {"crop": crop} if memory else {"read": read, "decode and crop": crop - read}
    spent |= {name: 1 / middle[name] - crop for name in names}
    puzzles = {name: stages[keys[name]].element_spec[1][name].shape[0] for name in names}
    return Streams(
        cached=memory > 0,
        crop=middle["crop"],
        tasks={name: middle[name] for name in names},
        all=middle["all"],
        puzzles_per_second={name: middle[name] / batch_size * puzzles[name] for name in names},
        to_decode={name: median(ratios(rates[key], rates["decode"])) for name, key in keys.items()},
        all_to_slowest=median(ratios(rates[keys["all"]], slowest_task)),
        slowest=max(spent, key=lambda name: spent[name]),
    )
