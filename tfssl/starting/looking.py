"""What is in the folder: how many pictures of which size, and whether labels are there."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.data import Parts, open_parts
from tfssl.pipelines.sources import dividing, splits
from tfssl.pipelines.sources.any_source import open_source, parts_of
from tfssl.pipelines.sources.pictures import PictureSource

SEED = 0
"""What all parts are divided by, and learn by: the default of every command."""
LEAST_PICTURES = 16
"""With fewer there is no batch to speak of."""


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What was found.

    Attributes:
      name: of all, as it was given.
      source: what is pretrained on: of labelled folders the training part, so that test pictures are new to the run.
      side: median of the shorter sides, pixels.
      labels: the parts that a classifier is made from; None without labels.
      folders: which split of the pictures is where, "train" and so on; {} where they are not divided on disk.
      table: whether the labels are of a table, which `evaluate` does not read.
      note: what else should be known; "" for nothing.
    """

    name: str
    source: PictureSource
    side: int
    labels: Parts | None
    folders: Mapping[str, str]
    table: bool
    note: str

    @property
    def whole(self) -> str:
        """Name of what `evaluate` finds a training and a test part in by itself."""
        return self.folders[splits.TRAIN] if len(self.folders) == 1 else self.name

    @property
    def evaluated(self) -> tuple[str, str] | None:
        """Names of what `evaluate` trains a probe on and tests it on; None where it cannot."""
        if self.labels is None or self.table:
            return None
        held_out = self.folders.get(splits.TEST, self.folders.get(splits.VAL))
        if held_out is not None:
            return self.folders[splits.TRAIN], held_out
        return dividing.name_of_part(self.whole, True, SEED), dividing.name_of_part(self.whole, False, SEED)

    def __str__(self) -> str:
        """Say it in a line or two."""
        pictures = counted(self.source.count, "picture")
        found = f"{pictures} to pretrain on, their shorter sides {self.side} pixels in the median"
        if self.labels is not None:
            labels, test = self.labels, self.labels.test
            learned = labels.train.count + (labels.val.count if labels.val is not None else 0)
            found += f"; {len(labels.classes)} classes, {learned:,} labels to learn from and {test.count:,} to test on"
        else:
            found += "; no labels"
        broken = len(self.source.broken)
        found += f"; left out: {broken:,} of {self.source.listed:,} that cannot be read" if broken else ""
        return f"{found}\n{self.note}" if self.note else found


def look(photos: Any, labels: Path | None = None, max_broken: float = 0.01) -> Look:
    """Open pictures and the labels that they have.

    Args:
      photos: a folder, or the name of a source of pictures: see `open_source`.
      labels: a table of labels, see `labels.read_labels`; else sub-folders are classes.
      max_broken: largest part of the pictures that may be unreadable.

    Raises:
      UserError: no pictures, too few, clips; labels that cannot be used.
    """
    if not isinstance(photos, (str, os.PathLike)):
        raise UserError(f"{type(photos).__name__} is given as PHOTOS; expected a folder, 'toy:images' or 'tfds:NAME'")
    name = name_of(photos)
    note, parts, folders = "", None, {}
    if labels is not None:
        parts = open_parts(photos, labels, None, SEED, max_broken)
        source = parts.origin
    else:
        folders = {split: str(folder) for split, folder in parts_of(photos).items()}
        source = open_source(folders.get(splits.TRAIN, photos), max_broken)
        classes = [] if source.labels is None else np.unique(source.labels[source.labels >= 0]).tolist()
        if len(classes) == 1:
            name = source.classes[classes[0]]
            note = f"all are in one folder, {name}: nothing to tell apart, so they are used as pictures without labels"
        elif classes and not source.moving:
            # A source that is not divided on disk is open already.
            parts = open_parts(photos if folders else source, None, None, SEED, max_broken)
            source = parts.origin if parts.unlabelled else parts.train.source
    if not isinstance(source, PictureSource):
        kind = "text" if "words" in source.holds else "clips"
        raise UserError(f"{source.name} has {kind}; quickstart takes pictures. For {kind}: tfssl pretrain --help")
    if parts is not None:
        _check(parts)
    if source.count < LEAST_PICTURES:
        count = f"{counted(source.count, 'picture')}"
        raise UserError(f"{source.name} has {count} to pretrain on; expected {LEAST_PICTURES} at least")
    side = int(np.median(source.header[:, 1:3].min(1)))
    return Look(name, source, side, parts, folders, labels is not None, note)


def _check(parts: Parts) -> None:
    """Refuse now what `finetune` would refuse after half an hour."""
    if parts.val is None and not parts.train.divided(SEED)[1].count:
        raise UserError(
            f"{parts.train.source.name}: no class has two pictures, one of which could be validation; give more labels"
        )


def name_of(photos: Any) -> str:
    """Return the name by which sources of PHOTOS are known: of a folder without a slash at its end."""
    return str(Path(photos)) if os.path.exists(photos) else str(photos)
