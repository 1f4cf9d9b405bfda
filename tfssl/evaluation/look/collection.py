"""The pictures that `look` looks at: one pass gives features, and patterns that near-duplicates are known by."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.labels import read_labels
from tfssl.evaluation.config import LookSettings
from tfssl.evaluation.neighbours.networks import asking, open_first, stage_of
from tfssl.frozen import features
from tfssl.pipelines import batches
from tfssl.pipelines.ops import near_duplicates
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources import splits
from tfssl.pipelines.sources.any_source import AnySource, open_source, parts_of

LEAST = 3
"""Pictures: fewer have no map of two dimensions."""
BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A part of the data.

    Attributes:
      name: "train", "test", "val"; "" of what is not divided.
      source: its pictures, or clips.
      names: of each, the path below DATA where that is a folder.
      labels: of each, None where that is unknown.
      labelled: bool [N], which a table of labels has.
    """

    name: str
    source: AnySource
    names: list[str]
    labels: list[str | None]
    labelled: np.ndarray

    def subset(self, rows: np.ndarray) -> "Part":
        """Take some, int [n]."""
        names, labels = ([values[row] for row in rows.tolist()] for values in (self.names, self.labels))
        source = self.source.subset(rows, self.source.name)
        return Part(self.name, source, names, labels, self.labelled[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Collection:
    """N pictures of which each can be decoded, part after part.

    Attributes:
      data: what the user called them.
      subject, stage: what they are seen through.
      parts: where they come from.
      part, row: int [N], in which of `parts` each is, and where in that.
      names, labels: of each, as of `Part`.
      labelled: bool [N], which a table of labels has.
      features: float32 [N, D], rows of length 1.
      patterns: float32 [N, P], see `near_duplicates.patterns`.
      whole: pictures in the data, of which some are drawn where there are more than `limit`.
      broken: how many could not be decoded.
    """

    data: str
    subject: str
    stage: str
    parts: tuple[Part, ...]
    part: np.ndarray
    row: np.ndarray
    names: list[str]
    labels: list[str | None]
    labelled: np.ndarray
    features: np.ndarray
    patterns: np.ndarray
    whole: int
    broken: int

    @property
    def count(self) -> int:
        """N."""
        return len(self.names)

    def part_of(self, number: int) -> str:
        """Return the name of the part that a picture is in."""
        return self.parts[self.part[number]].name

    @property
    def to_label(self) -> np.ndarray:
        """bool [N]: what may be chosen to be labelled: not test or validation where there is a training part."""
        names = [part.name for part in self.parts]
        return np.isin(self.part, [names.index(splits.TRAIN)]) if splits.TRAIN in names else np.ones(self.count, bool)

    def pictures(self, numbers: Sequence[int], size: int) -> np.ndarray:
        """Decode some once more: uint8 [n, size, size, 3]."""
        images = np.zeros((len(numbers), size, size, 3), np.uint8)
        for place, part in enumerate(self.parts):
            mine = np.flatnonzero(self.part[list(numbers)] == place)
            rows = self.row[np.asarray(numbers, int)[mine]]
            if len(mine):
                for batch in batches.plain(part.source.subset(rows, part.source.name), size, BATCH):
                    images[mine[batch["index"].numpy()]] = batch["image"].numpy()
        return images


def open_collection(settings: LookSettings) -> Collection:
    """Open the data, and embed its pictures; of a clip the frame in its middle.

    Raises:
      UserError: no such subject, data or stage; too few pictures; fewer than are to be selected; features that are all
        the same, or not finite; labels that are of no picture.
    """
    parts = _open_parts(settings)
    # What a header shows to be broken was left out when the data was opened; the rest shows when it is decoded.
    broken = sum(len(part.source.broken) for part in parts)
    whole = sum(part.source.count for part in parts) + broken
    name = str(settings.data) if len(parts) > 1 else parts[0].source.name
    _require(whole - broken, name)
    parts = _sampled(parts, settings)
    first = parts[0].source
    subject = open_first(settings.subject, settings.size, settings.seed)
    network = asking(
        subject.name,
        subject,
        subject.network,
        stage_of(subject, settings.stage),
        untrained=subject.is_random,
        batch_size=settings.batch_size,
        seed=settings.seed,
        source=first,
    )
    rows, patterns, place, number = [], [], [], []
    with Progress("pictures embedded", name, sum(part.source.count for part in parts), speed=True) as progress:
        for which, part in enumerate(parts):
            undecodable = 0
            for batch in batches.plain(part.source, network.size, settings.batch_size):
                valid = batch["valid"].numpy()
                progress.add(len(valid))
                undecodable += int((~valid).sum())
                if valid.any():
                    images = tf.boolean_mask(batch["image"], valid)
                    rows.append(network.embed(images))
                    patterns.append(near_duplicates.patterns(images).numpy())
                    number.append(batch["index"].numpy()[valid])
                    place.append(np.full(int(valid.sum()), which))
            features.check_broken(part.source, undecodable, settings.max_broken)
            broken += undecodable
    part_of, row = np.concatenate(place), np.concatenate(number)
    _require(len(row), name)
    found = Collection(
        data=name,
        subject=subject.name,
        stage=network.stage,
        parts=tuple(parts),
        part=part_of,
        row=row,
        names=[parts[p].names[r] for p, r in zip(part_of, row, strict=True)],
        labels=[parts[p].labels[r] for p, r in zip(part_of, row, strict=True)],
        labelled=np.array([parts[p].labelled[r] for p, r in zip(part_of, row, strict=True)]),
        features=np.concatenate(rows),
        patterns=np.concatenate(patterns),
        whole=whole,
        broken=broken,
    )
    if np.ptp(found.features, axis=0).max() < 1e-6:
        raise UserError(
            f"the features of {network.stage} of {subject.name} are the same for all {found.count:,} pictures, so that"
            " nothing can be told apart; choose another --stage, or another network"
        )
    _require_selectable(settings, found.to_label & ~found.labelled, name)
    return found


def _open_parts(settings: LookSettings) -> list[Part]:
    inside: dict[str, Any] = dict(parts_of(settings.data)) or {"": settings.data}
    if settings.test is not None:
        inside = {splits.TRAIN: inside.get(splits.TRAIN, settings.data), splits.TEST: settings.test}
    sources = {name: open_source(each, settings.max_broken) for name, each in inside.items()}
    for source in sources.values():
        if "image" not in source.holds:
            raise UserError(f"{source.name} holds no pictures; expected pictures, or clips with frames")
    table = None if settings.labels is None else read_labels(settings.labels)
    folder = Path(settings.data) if isinstance(settings.data, (str, os.PathLike)) else Path()
    parts = []
    for name, source in sources.items():
        if source.moving:
            source = source.subset(np.flatnonzero(source.frame_counts > 0), source.name)
        names = [os.path.relpath(path, folder) if folder.is_dir() else path for path in source.paths]
        labels: list[str | None] = [None] * source.count
        if source.labels is not None:
            labels = [source.classes[label] if label >= 0 else None for label in source.labels]
        if table is not None:
            rows, _ = table.of_files(folder, names)
            labels = [", ".join(rows.get(each, ())) or None for each in names]
        known = np.array([table is not None and label is not None for label in labels], bool)
        parts.append(Part(name, source, names, labels, known))
    if table is not None and not any(part.labelled.any() for part in parts):
        raise UserError(
            f"{settings.labels} has no label of a picture of {settings.data}; its first column is expected to have"
            f" paths within that folder, such as {parts[0].names[0] if parts[0].names else 'a.jpg'}"
        )
    return parts


def _sampled(parts: list[Part], settings: LookSettings) -> list[Part]:
    """Draw at most `limit` of all parts together, by the seed; what is labelled so far stays."""
    part = np.concatenate([np.full(each.source.count, place) for place, each in enumerate(parts)])
    row = np.concatenate([np.arange(each.source.count) for each in parts])
    labelled = np.concatenate([each.labelled for each in parts])
    choosable = np.isin(part, [place for place, each in enumerate(parts) if each.name in ("", splits.TRAIN)])
    name = str(settings.data) if len(parts) > 1 else parts[0].source.name
    _require_selectable(settings, choosable & ~labelled, name)
    if len(part) <= settings.limit:
        return parts
    order = np.random.default_rng(settings.seed).permutation(len(part))
    order = order[np.argsort(~labelled[order], kind="stable")]
    kept = np.sort(order[: settings.limit])
    some = [each.subset(row[kept[part[kept] == place]]) for place, each in enumerate(parts)]
    return [each for each in some if each.source.count]


def _require(count: int, name: str) -> None:
    if count < LEAST:
        what = f"{counted(count, 'picture')}"
        raise UserError(f"{name} has {what}, expected {LEAST} at least to be set beside each other; give more")


def _require_selectable(settings: LookSettings, selectable: np.ndarray, name: str) -> None:
    if settings.select is not None and settings.select > selectable.sum():
        raise UserError(
            f"--select {settings.select} is given, but {name} has {selectable.sum():,} pictures to choose from;"
            " give from 1 to that many"
        )
