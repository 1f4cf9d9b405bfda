"""The names of what a run is pretrained on, kept compressed: so that a resume can say what has changed in the data."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write
from tfssl.pipelines.sources.any_source import AnySource, absolute_name
from tfssl.runs import seen
from tfssl.runs.run import Run, load_run

FILE_NAME = "listing.txt.gz"


def keep(run: Run, source: AnySource) -> None:
    """Write the names of all items, broken ones too, as `names` has them. Never twice; nothing of what has no files.

    A million names of ImageNet are 6 MB.
    """
    path = run.folder / FILE_NAME
    if source.encoded is not None or path.exists():
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(gzip.compress(os.fsencode("\0".join(names(source))), 6, mtime=0))


def names(source: AnySource) -> list[str]:
    """Return the names of all items and of those that are broken: of files below the source's folder, or from the root.

    So they are the same from wherever the data is named. Those of clips stand in their records.
    """
    given = [*source.paths, *source.broken]
    if source.moving or source.encoded is not None:
        return given
    inside = f"{source.name}{os.sep}"
    return [path.removeprefix(inside) if path.startswith(inside) else os.path.abspath(path) for path in given]


def refuse_other_data(folder: Path, source: AnySource) -> None:
    """Raise UserError where a folder holds a run on other data, and say what has changed in it."""
    if not (folder / "run.json").exists():
        return
    run = load_run(folder)
    if run.data["fingerprint"] == source.fingerprint:
        return
    before, now = run.data["name"], absolute_name(source.name)
    what = f"{before}, now {now} is given" if before != now else f"{before}, which has changed since"
    raise UserError(
        f"{folder} holds a run on {what}: {changes(run, source)}; choose another --out, or give what the run began with"
    )


def changes(run: Run, source: AnySource) -> str:
    """Say what is other in a source than when a run began: how many items, which names are new, gone or changed.

    What is known decides: of earlier versions a run has no names, only hashes of contents, or neither.
    """
    now, counts = names(source), f"{run.data['count']:,} {source.items} then, {source.count:,} now"
    hashes = (seen.read(run) or {}).get(source.items)
    unseen = [] if hashes is None else [now[row] for row in np.flatnonzero(~np.isin(source.contents, hashes))]
    path = run.folder / FILE_NAME
    if not path.exists():
        return counts + _say("new or changed", unseen)
    then = set(os.fsdecode(gzip.decompress(path.read_bytes())).split("\0"))
    new, gone = [name for name in now if name not in then], sorted(then.difference(now))
    changed = [name for name in unseen if name in then]
    if not (new or gone or changed):
        return f"{counts}, under the same names"
    return counts + _say("new", new) + _say("gone", gone) + _say("changed", changed)


def _say(word: str, some: Sequence[str]) -> str:
    more = f" and {len(some) - 3:,} more" if len(some) > 3 else ""
    return f"; {word}: {', '.join(some[:3])}{more}" if some else ""
