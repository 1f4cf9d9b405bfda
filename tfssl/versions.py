"""Versions of what a result depends on."""

import platform
from importlib import metadata

PACKAGES = ("tensorflow", "keras", "numpy")


def versions() -> dict[str, str]:
    """Package -> version, this one and Python included."""
    import tfssl

    found = {name: metadata.version(name) for name in PACKAGES}
    return {"tfssl": tfssl.__version__, "python": platform.python_version()} | found
