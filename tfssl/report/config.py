"""Settings of `show`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tfssl.base.config import Count, PictureFile, Seed, Settings, Share, option, subject


class ShowSettings(Settings):
    """All arguments of `show`."""

    data: Any = subject("DATA")
    tasks: Any = option("Pretext tasks, as 'rotation(rotations=4)'; the run's, or rotation.", None)
    to: PictureFile = option("Picture file: png, svg, pdf or jpg.", Path("puzzles.png"))
    run: Any = option("A run whose network answers too.", None)
    size: Annotated[int, Field(ge=8)] | None = option(
        "Side of the crops in pixels; the run's, or 96.", None, unit="pixels"
    )
    count: Count = option("Source pictures.", 6)
    seed: Seed = option("Other seeds show other pictures.", 0)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
