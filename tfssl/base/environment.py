"""Versions of what a result depends on."""

import platform
from collections.abc import Mapping

VERSION = "0.1.0"
"""Version of tfssl."""

PACKAGES = ("tensorflow", "keras", "numpy")


def versions() -> dict[str, str]:
    """Return package -> version, this package and Python included."""
    from importlib import metadata  # which takes longer to import than the rest of `tfssl --help`

    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"tfssl": VERSION, "python": platform.python_version()} | packages


def changes(then: Mapping[str, str]) -> str:
    """Say which versions differ now from `then`, as "keras 3.14.0 (now 3.15.1)"; "" where all are the same.

    Python's is left out: it computes nothing.
    """
    now = versions()
    others = [name for name in ("tfssl", *PACKAGES) if then.get(name, now[name]) != now[name]]
    return ", ".join(f"{name} {then[name]} (now {now[name]})" for name in others)
