"""Labelled pictures and their parts: to learn from, to choose on, to measure on."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.labels import read_labels
from tfssl.downstream.target import Part
from tfssl.pipelines.sources import dividing, splits
from tfssl.pipelines.sources.any_source import AnySource, open_source, parts_of


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled(Part):
    """Pictures whose labels are known.

    Attributes:
      source: the pictures.
      targets: float32 [N, classes], 1 where a picture has a label, else 0.
      groups: int [N]: pictures of one number stay in one part.
    """

    source: AnySource
    targets: np.ndarray
    groups: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int [N]: the label of each; of several the one that is rarest here."""
        rarity = self.targets / np.maximum(self.targets.sum(0), 1)
        return rarity.argmax(1)

    def subset(self, numbers: np.ndarray, name: str) -> Self:
        """Take the pictures of these numbers."""
        source = self.source.subset(numbers, name)
        return dataclasses.replace(self, source=source, targets=self.targets[numbers], groups=self.groups[numbers])

    def divided(self, seed: int) -> tuple[Self, Self]:
        """Divide them 80/20 within each class, and never through a group: see `dividing.divide`."""
        parts = dividing.divide(self.labels, self.groups, seed)
        names = (dividing.name_of_part(self.source.name, training, seed) for training in (True, False))
        one, other = (self.subset(numbers, name) for numbers, name in zip(parts, names, strict=True))
        return one, other

    def few(self, count: int | None, share: float | None, seed: int, draw: int) -> Self:
        """Draw so many of each class, or a share of each: see `few`."""
        numbers = few_rows(self.targets, count, share, seed, draw)
        if numbers is None:
            return self
        return self.subset(numbers, f"{len(numbers)} labels of {self.source.name}, draw {draw}")

    def digest(self) -> bytes:
        return self.source.fingerprint.encode() + self.targets.tobytes()


class AllParts:
    """What the parts of any data are asked: `train`, `val` (or None) and `test`, each a `target.Part`."""

    train: Part
    val: Part | None
    test: Part

    @property
    def names(self) -> tuple[str, ...]:
        """What there is to find: names of classes or joints."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """Tell whether pictures, answers and parts are the same."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for part in (self.train, self.val, self.test):
            if part is not None:
                digest.update(part.digest())
        return digest.hexdigest()

    @property
    def broken(self) -> dict[str, str]:
        """Pictures that were left out when the parts were opened: name -> what is wrong."""
        return {n: p for part in (self.train, self.val, self.test) if part for n, p in part.source.broken.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Parts(AllParts):
    """Data for a classifier.

    Attributes:
      train: what is learned from; of it `val` is divided off where that is None.
      val: what candidates are chosen on, None where DATA has no such part.
      test: what the chosen one is measured on.
      classes: their names, as they are spelled in DATA.
      several: whether a picture may have several labels.
      unlabelled: how many pictures were left out, as they have no label.
      missing: parts that DATA lacks, "test" and "val": what of these is needed is divided off training.
      note: where the parts come from, in words.
      origin: what `train` was taken from, as it can be opened again by its name.
    """

    train: Labelled
    val: Labelled | None
    test: Labelled
    classes: tuple[str, ...]
    several: bool
    unlabelled: int
    missing: tuple[str, ...]
    note: str
    origin: AnySource

    @property
    def names(self) -> tuple[str, ...]:
        return self.classes


def open_parts(data: Any, labels: Path | None, groups: str | None, seed: int, max_broken: float) -> Parts:
    """Open labelled data, and divide off what parts it lacks.

    Args:
      data: anything that `open_source` takes, or a folder with train/ and val/ or test/ or both, under their usual
        names: see `sources.splits`.
      labels: a table that says which picture has which labels: see `labels.read_labels`; else the first sub-folder.
      groups: regular expression on the names of files, see `dividing.groups_of_names`.
      seed: of the division.
      max_broken: largest part of the pictures that may be unreadable.

    Raises:
      UserError: pictures without labels, one class, classes that training lacks, too few pictures to divide.
    """
    inside = _inside(data, labels is not None)
    sources = {name: open_source(each, max_broken) for name, each in inside.items()}
    table = None if labels is None else read_labels(labels)
    folder = Path(data) if isinstance(data, (str, os.PathLike)) else Path()
    note = ", ".join(f"{part}/" for part in sources) if len(sources) > 1 else "no parts"
    note = f"{data} has {note}"
    if table is None:
        names = {part: _by_folder(source) for part, source in sources.items()}
    else:
        below = {part: [os.path.relpath(path, folder) for path in source.paths] for part, source in sources.items()}
        found, missing_rows = table.of_files(folder, (file for files in below.values() for file in files))
        names = {part: [found.get(file, ()) for file in files] for part, files in below.items()}
        if not found:
            raise UserError(
                f"{labels} names no picture of {data}; its first column is expected to have paths within that folder,"
                f" such as {below['train'][0]}"
            )
        if missing_rows:
            note += f"; {counted(missing_rows, f'row of {labels} names', f'rows of {labels} name')} no picture"
    several = table is not None and table.several
    present = {label for each in names["train"] for label in each}
    # In the order of the source where it has one: then parts are divided as `open_splits` divides them.
    classes = tuple(sorted(present) if table is not None else (n for n in sources["train"].classes if n in present))
    if len(classes) < (1 if several else 2):
        raise UserError(
            f"{sources['train'].name} has {len(classes)} classes to learn; expected one sub-folder a class, two at"
            " least, or --labels"
        )
    unlabelled = sum(not each for part in names.values() for each in part)
    parts = {part: _label(sources[part], names[part], classes, groups, folder) for part in sources}
    whole = parts["train"]
    missing = [part for part in ("test", "val") if part not in parts]
    if "test" in missing:
        whole, parts["test"] = whole.divided(seed)
    note += f"; {' and '.join(missing)} divided off training, 20 % within each class by seed {seed}" if missing else ""
    for part in parts.values():
        if not part.count:
            raise UserError(f"{part.source.name} has no labelled picture; give more labels, or parts of their own")
    return Parts(
        whole, parts.get("val"), parts["test"], classes, several, unlabelled, tuple(missing), note, sources["train"]
    )


def _inside(data: Any, labelled: bool) -> dict[str, Any]:
    """Return what holds each part; "train" alone where DATA has no parts.

    Args:
      labelled: whether a table has the labels, so that folders are no classes, whatever they are called.
    """
    if labelled and isinstance(data, (str, os.PathLike)) and splits.on_disk(Path(data)).unclear:
        return {splits.TRAIN: data}
    parts = parts_of(data)
    if parts and splits.TRAIN not in parts:
        shown = ", ".join(map(str, parts.values()))
        raise UserError(f"{data} has no train/ beside {shown}; add it, or give a folder of classes")
    return parts or {splits.TRAIN: data}


def _by_folder(source: AnySource) -> list[tuple[str, ...]]:
    """Return the name of the label of each picture; () where it has none."""
    if source.labels is None:
        raise UserError(f"{source.name} has no labels; expected one sub-folder a class, or --labels FILE.csv")
    return [(source.classes[label],) if label >= 0 else () for label in source.labels]


def _label(
    source: AnySource, names: Sequence[tuple[str, ...]], classes: tuple[str, ...], groups: str | None, folder: Path
) -> Labelled:
    """Leave out what has no label, and put the labels of the rest as numbers."""
    place = {name: number for number, name in enumerate(classes)}
    unknown = sorted({label for each in names for label in each} - set(classes))
    if unknown:
        raise UserError(
            f"{source.name} has the class {unknown[0]!r}, which training lacks; training has: {', '.join(classes[:10])}"
        )
    chosen = np.flatnonzero([bool(each) for each in names])
    targets = np.zeros((len(chosen), len(classes)), np.float32)
    for row, number in enumerate(chosen.tolist()):
        targets[row, [place[label] for label in names[number]]] = 1.0
    kept = source if len(chosen) == source.count else source.subset(chosen, f"the labelled of {source.name}")
    together = kept.groups
    if groups is not None:
        inside = [os.path.relpath(path, folder) for path in kept.paths]
        together = joined(together, np.unique(dividing.groups_of_names(inside, groups), return_inverse=True)[1])
    return Labelled(kept, targets, together)


def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the groups, int [N], of rows that one or the other has in one group, by whatever chain."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(one)), (one, one.max() + 1 + other)), shape=[one.max() + other.max() + 2] * 2)
    return connected_components(links, directed=False)[1][one]


def few(part: Labelled, count: int | None, share: float | None, seed: int, draw: int) -> Labelled:
    """Draw the labelled pictures that are used: see `few_rows`."""
    return part.few(count, share, seed, draw)


def few_rows(targets: np.ndarray, count: int | None, share: float | None, seed: int, draw: int) -> np.ndarray | None:
    """Draw the rows that are used, rising: so many of each class, or a share of each; None, for all, without either.

    A class that has fewer gives all. Of several labels a row counts for each of them.

    Args:
      targets: [N, classes], 1 where a row has a label.
      seed, draw: other draws of one seed are other rows.
    """
    if count is None and share is None:
        return None
    rng = np.random.default_rng((seed, draw))
    chosen: set[int] = set()
    for column in targets.T:
        rows = rng.permutation(np.flatnonzero(column))
        wanted = count if share is None else max(1, round(share * len(rows)))
        taken = [row for row in rows if row in chosen]
        chosen |= set([row for row in rows if row not in chosen][: max(0, int(wanted or 0) - len(taken))])
    return np.array(sorted(chosen), int)
