"""Settings of `audit`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tfssl.base.config import Seed, Settings, Share, option, subject

LEAST_PICTURES = 40


class AuditSettings(Settings):
    """All arguments of `audit`."""

    data: Any = subject("DATA")
    tasks: Any = option("Pretext tasks, commas between them.", "rotation")
    size: Annotated[int, Field(ge=16)] = option("Side of the crops in pixels.", 96, unit="pixels")
    count: Annotated[int, Field(ge=LEAST_PICTURES)] = option("Pictures or clips of the sample.", 1000)
    seed: Seed = option("Other seeds take others.", 0)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    verbose: Literal[0, 1] = option("1 says what is being done, 0 does not.", 1)
