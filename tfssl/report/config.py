"""Settings of `show` and `report`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from tfssl.base.config import Count, PictureFile, Seed, Settings, Share, ending, option, subject
from tfssl.runs.config import TASKS


class ShowSettings(Settings):
    """All arguments of `show`."""

    data: Any = subject("DATA")
    tasks: Any = option(f"Pretext tasks, as 'rotation(rotations=4)'; the run's, or {TASKS}.", None)
    to: PictureFile = option("Picture file: png, svg, pdf or jpg.", Path("puzzles.png"))
    run: Any = option("A run whose network answers too.", None)
    size: Annotated[int, Field(ge=8)] | None = option(
        "Side of the crops in pixels; the run's, or 96.", None, unit="pixels"
    )
    count: Count = option("Source pictures.", 6)
    seed: Seed = option("Other seeds show other pictures.", 0)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)


def _several(given: Any) -> Any:
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def _some(given: tuple[Any, ...]) -> tuple[Any, ...]:
    if not given:
        raise ValueError("a run or several")
    return given


class ReportSettings(Settings):
    """All arguments of `report`."""

    runs: Annotated[tuple[Any, ...], BeforeValidator(_several), AfterValidator(_some)] = subject("RUN...")
    to: Annotated[Path, ending(".html", ".htm")] | None = option(
        "The page; of one run report.html in its folder where not given.", None
    )
