"""Settings of what a run can do for its user."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from tfssl.base.config import Count, Positive, Settings, Share, option, subject


def _several(given: Any) -> Any:
    return [given] if isinstance(given, (str, Path)) else list(given)


Pictures = Annotated[tuple[Path, ...], BeforeValidator(_several)]


class ColorizeSettings(Settings):
    """All arguments of `colorize`."""

    run: Any = subject("RUN")
    pictures: Pictures = subject("PICTURES...")
    out: Path = option("Folder for the coloured pictures, as PNG, and films, as MP4.")
    draws: Count = option("Colourings of each; for runs of colorization(diverse=K).", 1)
    temperature: Positive | None = option("Lower is more colourful; the task's own, 0.38, where not given.", None)
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class InpaintSettings(Settings):
    """All arguments of `inpaint`."""

    run: Any = subject("RUN")
    pictures: Pictures = subject("PICTURES...")
    out: Path = option("Folder for the painted pictures, as PNG.")
    mask: Any = option(
        "What to paint: a picture (white = hole), a folder of these by name, TOP,LEFT,HEIGHT,WIDTH, or centre.",
        "centre",
    )
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class LocaliseSettings(Settings):
    """All arguments of `localise`."""

    run: Any = subject("RUN")
    clip: Any = subject("CLIP")
    to: Path = option("heat.mp4 for the film with its sound, heat.png for eight frames.")


class Following(Settings):
    """How labels are copied from frame to frame.

    Attributes:
      recent: newest frames that are references, beside the first one.
      most: of all references' places, how many of the most similar count.
      temperature: of the softmax over these.
      reach: cells, up to which a place may have moved from one of the recent frames; anywhere in the first one.
    """

    recent: Count = option("Newest frames to copy from, beside the first.", 4)
    most: Count = option("Of all places, how many of the most similar count.", 10)
    temperature: Positive = option("Lower takes more from the most similar of these.", 0.5)
    reach: Count = option("Cells that a place may move between frames.", 6)


class TrackSettings(Following):
    """All arguments of `track`."""

    run: Any = subject("RUN")
    clip: Any = subject("CLIP")
    mask: Any = option("Of the first frame: a picture (white = follow) or TOP,LEFT,HEIGHT,WIDTH.")
    to: Path = option("out.mp4 for the film, or a folder for its frames and masks, as PNG.")
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class PredictSettings(Settings):
    """All arguments of `predict`."""

    model: Any = subject("DIR_OR_EXPORT")
    data: Any = subject("PICTURES")
    to: Path = option("FILE.csv or .parquet: path, label, probability, second; a folder for what is found at places.")
    unsure: bool = option("The least certain first; else in the order of PICTURES.", False)
    batch_size: Count = option("Pictures at once.", 64)
    max_broken: Share = option("Largest part of unreadable pictures.", 1.0)
    server: str | None = option("host:8500 for gRPC, http://host:8501 for REST.", None, metavar="ADDRESS")
    model_name: str | None = option("Of the model on the server; that of DIR.", None, metavar="NAME")
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)
