"""Films that a run is shown."""

import os
from pathlib import Path

from tfssl.base.errors import UserError


def refuse_toy_clips(clip: str | Path, command: str) -> None:
    """Raise UserError where clips of the toy world are given in place of a film, and name what measures on them."""
    if str(clip).startswith("toy:") and not os.path.exists(clip):
        raise UserError(f"{clip} is given, expected a film; on toy clips it is measured by `tfssl {command} RUN CLIPS`")
