"""Sources by name: what a user can name as data, opened once; and its training and test part.

A source is read by number, in the graph: example i of a shuffled epoch is a permutation of the numbers, so a stream can
start at any step. Folders are read from disk when needed; toy worlds, TensorFlow Datasets and `tf.data.Dataset`s are
held in memory as encoded bytes.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.datasets import open_dataset, open_tfds
from tfssl.pipelines.sources.folders import open_folder
from tfssl.pipelines.sources.ingested import is_ingested, open_ingested, parse_name
from tfssl.pipelines.sources.source import AnySource
from tfssl.pipelines.sources.toy import open_toy

OPENERS: tuple[Callable[[Any], AnySource | None], ...] = (
    open_dataset,
    open_toy,
    open_tfds,
    open_ingested,
    open_folder,
)
"""What opens data, asked in turn: each gives None of what is not of its kind; the last takes what is left."""


def open_source(data: Any, max_broken: float = 0.01) -> AnySource:
    """Open what a user named as data.

    Args:
      data: a folder of pictures (any depth; the first sub-folder is the label), 'toy:images' or with settings
        'toy:images(count=2000, size=64, seed=0)', 'tfds:NAME[/config][:split]', a `tf.data.Dataset` of pictures
        (uint8 [H, W, C] or encoded bytes; alone, as (picture, label) or as {"image": ..., "label": ...}), or a source.
        Clips: a folder that `tfssl.ingest` wrote, 'FOLDER:train' for one of its splits, or 'toy:clips' with settings
        'toy:clips(count=200, size=64, seconds=2.0, seed=0)'. And 'photos (80 %, split seed 0)', the name of a part that
        `open_splits` has made of another source.
      max_broken: largest part of the pictures that may be unreadable.

    Returns:
      A source of pictures or of clips.

    Raises:
      UserError: a missing folder, one without pictures, too many broken ones, an unknown kind of source.
    """
    if isinstance(data, AnySource):
        return data
    if isinstance(data, (str, os.PathLike)) and (part := _parse_part(str(data))) is not None:
        whole, training, seed = part
        return _divide(open_source(whole, max_broken), seed)[0 if training else 1]
    source = next(source for source in (opener(data) for opener in OPENERS) if source is not None)
    if source.count == 0 or len(source.broken) > max_broken * source.listed:
        raise UserError(too_many_broken(source.name, source.broken, source.listed, max_broken))
    return source


def _parse_part(text: str) -> tuple[str, bool, int] | None:
    """Do what `dividing.parse_part` does; return None where it is the name of a folder."""
    part = dividing.parse_part(text)
    return None if part is None or Path(text).exists() else part


def absolute_name(name: str) -> str:
    """Return the name of a source with its folder, where it has one, from the root.

    This name opens the source from any place.
    """
    if (part := _parse_part(name)) is not None:
        whole, training, seed = part
        return dividing.name_of_part(absolute_name(whole), training, seed)
    if Path(name).exists():
        return str(Path(name).resolve())
    clips = parse_name(name)
    return name if clips is None else f"{clips[0].resolve()}:{clips[1]}"


def too_many_broken(name: str, broken: dict[str, str], listed: int, max_broken: float) -> str:
    """Make the line that says that a source has too many broken pictures, with the first one as an example."""
    path, problem = next(iter(sorted(broken.items())))
    return (
        f"{len(broken)} of {listed} pictures in {name} are broken, more than --max-broken {max_broken:g} allows;"
        f" the first: {path} {problem}. Mend or remove them, or allow more"
    )


def open_splits(
    data: Any, test: Any = None, seed: int = 0, max_broken: float = 0.01
) -> tuple[AnySource, AnySource, str]:
    """Return the training and test part of labelled data, and a sentence that says where they come from.

    `test` where it is given; sub-folders train/ and test/ (or val/); else 80/20 of each class by the seed, pieces of
    one recording, and pictures that are the same byte for byte, on one side: see `dividing.divide`.

    Raises:
      UserError: no labels, or classes of the two parts that differ.
    """
    folder = Path(data) if isinstance(data, (str, os.PathLike)) and ":" not in str(data) else None
    if test is None and folder is not None and is_ingested(folder):
        data, test = f"{folder}:train", f"{folder}:test"
    if test is not None:
        train, other = open_source(data, max_broken), open_source(test, max_broken)
        note = f"trained on {train.name}, tested on {other.name}"
    elif folder is not None and (folder / "train").is_dir():
        split = next((s for s in ("test", "val") if (folder / s).is_dir()), None)
        if split is None:
            raise UserError(f"{folder} has train/ but neither test/ nor val/; add one or give --test DATA")
        train, other = open_source(folder / "train", max_broken), open_source(folder / split, max_broken)
        note = f"trained on {folder}/train, tested on {folder}/{split}"
    else:
        whole = open_source(data, max_broken)
        train, other = _divide(whole, seed)
        note = f"{whole.name} has no train/ and test/: divided 80/20 within each class by split seed {seed}"
        note += f", pieces of one {whole.unit} on one side" if whole.moving else ""
    for source in (train, other):
        _require_labels(source)
    if train.classes != other.classes:
        only = sorted(set(train.classes) ^ set(other.classes))
        raise UserError(
            f"{train.name} and {other.name} differ in their classes ({', '.join(only[:5])}); both need the same"
        )
    return train, other, note


def _require_labels(source: AnySource) -> None:
    if source.labels is None or len(source.classes) < 2:
        raise UserError(f"{source.name} has no labels to evaluate with; expected one sub-folder a class, two at least")


def _divide(whole: AnySource, seed: int) -> tuple[AnySource, AnySource]:
    """Divide a source into a training and a test part, whose names tell how to make them again."""
    _require_labels(whole)
    parts = dividing.divide(np.asarray(whole.labels), whole.groups, seed)
    if not len(parts[1]):
        raise UserError(
            f"{whole.name} cannot be divided: no class has more than one {whole.unit}, and what is trained on is not"
            " tested on; give --test DATA"
        )
    names = (dividing.name_of_part(whole.name, training, seed) for training in (True, False))
    train, test = (whole.subset(numbers, name) for numbers, name in zip(parts, names, strict=True))
    return train, test
