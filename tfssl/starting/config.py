"""Settings of `quickstart`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tfssl.base.config import Settings, Share, option, subject


class QuickstartSettings(Settings):
    """All arguments of `quickstart`."""

    photos: Any = subject("PHOTOS")
    minutes: Annotated[float, Field(ge=2)] = option("How long all may take.", 30.0, unit="minutes")
    out: Path = option("Folder of all that is made. That of an interrupted call is resumed.")
    labels: Path | None = option("labels.csv: file, label; in place of class folders.", None)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    verbose: Literal[0, 1, 2] = option("1 a progress bar, 2 a line an epoch, 0 nothing.", 1)
