"""Settings of `ingest`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tfssl.base.config import Count, Seed, Settings, option, subject


class IngestSettings(Settings):
    """All arguments of `ingest`."""

    clips: Path = subject("CLIPS")
    out: Path = option("New folder for the data set, to be given as DATA afterwards.")
    size: Annotated[int, Field(ge=8)] = option("Short side of frames in pixels.", 128, unit="pixels")
    frame_rate: Annotated[float, Field(gt=0, le=1000)] = option("Frames a second.", 12.5, unit="frames a second")
    sound_rate: Annotated[int, Field(ge=8000, le=192000)] = option("Hertz.", 16000, unit="hertz")
    seconds: Annotated[float, Field(ge=0.5)] = option("Longest piece, about.", 10.0)
    labels: Path | None = option(
        "A CSV with columns file and label, and group where wanted; else sub-folder = label.", None
    )
    groups: str | None = option("Regular expression: files for which it finds the same text are of one source.", None)
    test: Annotated[float, Field(ge=0, lt=1)] = option("Part of the sources for the split test.", 0.2)
    seed: Seed = option("Of that choice.", 0)
    processes: Count | None = option("That decode at once; as many as there are cores.", None)
    beam: str | None = option("Runner of Apache Beam to hand it to, as 'FlinkRunner --flink_master=HOST:8081'.", None)
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)
