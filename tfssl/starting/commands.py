"""A call as the line of the command that does the same, to be printed, changed and run again by hand."""

import shlex
from typing import Any

from tfssl.base.config import Settings, extra_of, shape


def command_line(command: str, settings: Settings) -> str:
    """Return the line of a command, quoted for a shell, that has these settings; those with their default are left out.

    Args:
      command: its name, "pretrain".
      settings: of the command's settings class.
    """
    subjects: list[str] = []
    options: list[str] = []
    for name, field in type(settings).model_fields.items():
        value, extra = getattr(settings, name), extra_of(field)
        if extra.get("python_only") or (not field.is_required() and value == field.default):
            continue
        flag = name.replace("_", "-")
        if "subject" in extra:
            subjects.append(_text(value))
        elif (off := extra.get("off")) and value == off[1]:
            options.append(off[0])
        elif shape(field).kind is bool:
            options.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            options += [f"--{flag}", _text(value)]
    if any(each.startswith("-") for each in subjects):  # which would be taken for options
        return shlex.join(["tfssl", command, *options, "--", *subjects])
    return shlex.join(["tfssl", command, *subjects, *options])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
