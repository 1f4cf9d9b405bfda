"""Settings of the benchmarks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tfssl.base.config import Count, Positive, Settings, Share, option, subject


class BenchPipelineSettings(Settings):
    """All arguments of `bench_pipeline`."""

    data: Any = subject("DATA")
    tasks: Any = option("Pretext tasks, commas between them; all there are.", None)
    size: Annotated[int, Field(ge=8)] = option("Side of the crops in pixels.", 96, unit="pixels")
    batch_size: Count = option("Source pictures in a batch.", 64)
    passes: Count = option("How often each stage is measured; the median counts.", 3)
    seconds: Positive = option("How long a pass of a stage is measured.", 1.5)
    cache_memory: Annotated[int, Field(ge=0)] = option(
        "Bytes that decoded pictures may take.",
        1 << 30,
        unit="bytes",
        off=("--no-cache", 0, "Decode pictures anew for each crop."),
    )
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    verbose: Literal[0, 1] = option("1 says how far it is, 0 nothing.", 1)


class BenchDevicesSettings(Settings):
    """All arguments of `bench_devices`."""

    folder: Path = subject("DIR")
    data: Any = subject("DATA")
    limit: Annotated[int, Field(ge=2)] = option("Largest count of pictures to probe with, and on.", 2000)
    passes: Count = option("How often latency is measured; the median counts.", 30)
    folds: str | None = option("Of sounds: finds a file's fold in its name, '^(.)' for ESC-10; else five.", None)
    groups: str | None = option("Of sounds: files in whose names it finds the same text are in one fold.", None)


class BenchServingSettings(Settings):
    """All arguments of `bench_serving`."""

    folder: Path = subject("DIR")
    seconds: Positive = option("Of the mixed load.", 300.0)
    clients: Count = option("That ask at once.", 16)
    batch: Count = option("Rows of the larger requests of pixels.", 32)
    passes: Count = option("Of the throughput; medians count.", 5)
    requests: Count = option("Of a pass.", 8)
