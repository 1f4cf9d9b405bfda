"""Files beside the versions of an export, for whoever serves it: written once, and the user's from then on.

DIR/models.config      what is served, and which versions
DIR/batching.config    how requests are merged, with what was measured
DIR/compose.yaml       Docker Compose
DIR/kubernetes.yaml    a Deployment with its Service and autoscaler, as an example
"""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfssl.base.files import atomic_write
from tfssl.export.deployment.measuring import PICTURE, Speed, measure
from tfssl.export.signatures.bounds import MAX_ROWS

FILES = ("models.config", "batching.config", "compose.yaml", "kubernetes.yaml")
WORTH = 0.95
"""Share of the best throughput: the fewest rows that reach it are merged."""


def model_name(folder: str | Path) -> str:
    """Return the name of the model in DIR: that of the folder, with "-" for a colon, which no path of REST can have."""
    name = os.fsencode(os.path.basename(os.path.abspath(folder))).decode(errors="replace")
    return name.replace(":", "-") or "encoder"


def resource_name(folder: str | Path) -> str:
    """Return the name of what runs the model in DIR: as Kubernetes takes it (RFC 1035, room for an ending)."""
    name = re.sub(r"[^a-z0-9]+", "-", model_name(folder).lower())[:40].strip("-")
    return name if name[:1].isalpha() else f"encoder-{name}".strip("-")


def deployed_name(folder: str | Path) -> str:
    """Return the name of the model in DIR on TensorFlow Serving, which reads paths of REST as they come, undecoded."""
    name = model_name(folder)
    return name if re.fullmatch(r"[A-Za-z0-9._~-]+", name) else resource_name(folder)


def differing_names(folder: str | Path) -> str:
    """Say in words which names of DIR are others in its files than the folder's, and why; "" where none is."""
    own, deployed, resource = Path(os.path.abspath(folder)).name, deployed_name(folder), resource_name(folder)
    said = []
    if deployed != own:
        said.append(f"their model is named {deployed}, as TensorFlow Serving cannot be asked for {own!r} over REST")
    if resource not in (own, deployed):
        said.append(f"services are named {resource} in them, as Kubernetes does not take {own!r}")
    return "; ".join(said)


def write_deployment(folder: Path, version: Path) -> tuple[str, ...]:
    """Write those of FILES that are not there; return their names. One that is there is the user's, and stays as it is.

    Args:
      folder: DIR.
      version: folder of the version that is measured for batching.config.
    """

    missing = [name for name in FILES if not os.path.lexists(folder / name)]
    speeds = measure(version) if "batching.config" in missing else []
    for name in missing:
        with atomic_write(folder / name) as temporary:
            temporary.write_text(_render(name, folder, version.name, speeds))
    return tuple(missing)


def _render(file: str, folder: Path, version: str, speeds: Sequence[Speed]) -> str:
    import jinja2

    loader = jinja2.PackageLoader("tfssl.export.deployment", ".")
    settings = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    settings.trim_blocks = settings.lstrip_blocks = True
    facts = _batching(speeds) if speeds else {}
    names = {"name": resource_name(folder), "model": deployed_name(folder), "differing": differing_names(folder)}
    return settings.get_template(f"{file}.jinja").render(names | {"version": version} | facts)


def _batching(speeds: Sequence[Speed]) -> dict[str, Any]:
    best = max(speed.per_second for speed in speeds)
    gpus = len(tf.config.list_physical_devices("GPU"))
    cores = os.cpu_count() or 1
    return {
        "speeds": speeds,
        "picture": PICTURE,
        "machine": f"{platform.machine()}, {cores} cores, {gpus} GPUs, TensorFlow {tf.__version__}",
        "most": MAX_ROWS,
        "merged": next(speed.rows for speed in speeds if speed.per_second >= WORTH * best),
        # Long enough for others to come, and little beside what the work itself takes.
        "wait": round(min(max(1000 * speeds[0].milliseconds / 10, 200), 5000)),
        "threads": 1 if gpus else cores,
    }
