"""What a run was pretrained on, kept by content: so `evaluate` can say how much of a test it knew."""

from collections.abc import Sequence

import numpy as np

from tfssl.base.files import atomic_write
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.run import Run

FILE_NAME = "seen.npz"


def keep(run: Run, source: AnySource, parent: Run | None) -> None:
    """Write hashes of all that a run is pretrained on, and of what the run had seen that it began with.

    Nothing is written where that is not known of the parent. Never twice.
    """
    path = run.folder / FILE_NAME
    known = {} if parent is None else read(parent)
    if known is None or path.exists():
        return
    own = source.contents if source.items not in known else np.concatenate([known[source.items], source.contents])
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **known | {source.items: np.unique(own)})  # type: ignore[arg-type]


def count(run: Run, source: AnySource, rows: Sequence[int] | np.ndarray) -> int | None:
    """Count how many of these rows of a source the run was pretrained on, by content: under any name, in any folder.

    Pictures are equal byte for byte: one that was scaled, or compressed once more, is another. None where it is not
    known: of runs of earlier versions, and of pictures where the run has seen clips only, or the other way round.
    """
    known = read(run)
    if known is None or source.items not in known:
        return None
    return int(np.isin(source.contents[rows], known[source.items]).sum())


def sentence(overlap: int | None, of: int, items: str = "pictures") -> str:
    """Say the result of `count`, of so many test pictures or clips."""
    if overlap is None:
        return (
            f"Whether test {items} were among those of pretraining is not known: the run has kept nothing to compare"
            " them with."
        )
    if not overlap:
        return f"None of the {of:,} test {items} was among those of pretraining."
    return f"{overlap:,} of the {of:,} test {items} were among those of pretraining (without their labels)."


def read(run: Run) -> dict[str, np.ndarray] | None:
    """Read the hashes of "pictures" and "clips", each once; None where the run has none."""
    path = run.folder / FILE_NAME
    if not path.exists():
        return None
    with np.load(path) as file:
        return dict(file)
