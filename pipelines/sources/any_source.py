"""Sources by name: what a user can name as data, opened once; and its training and test part.

A source is read by number, in the graph: example i of a shuffled epoch is a permutation of the numbers, so a stream can
start at any step. Folders are read from disk when needed; toy worlds, TensorFlow Datasets and `tf.data.Dataset`s are
held in memory as encoded bytes.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources import common_classes, dividing, splits
from tfssl.pipelines.sources.arrays import open_arrays
from tfssl.pipelines.sources.datasets import open_dataset, open_tfds
from tfssl.pipelines.sources.folders import open_folder
from tfssl.pipelines.sources.ingested import is_ingested, open_ingested, parse_name, splits_of
from tfssl.pipelines.sources.source import AnySource
from tfssl.pipelines.sources.text import absolute_text_name, is_text, open_text
from tfssl.pipelines.sources.toy import open_toy

ON_DISK: tuple[Callable[[Any], AnySource | None], ...] = (open_ingested, open_folder)
BY_NAME: tuple[Callable[[Any], AnySource | None], ...] = (open_toy, open_tfds, open_text, *ON_DISK)
IN_PYTHON = (open_dataset, open_arrays)
"""What opens data, asked in turn: each gives None of what is not of its kind; the last takes what is left."""


def open_source(data: Any, max_broken: float = 0.01) -> AnySource:
    """Open what a user named as data.

    Args:
      data: a folder of pictures (any depth; the first sub-folder is the label), 'toy:images' or with settings
        'toy:images(count=2000, size=64, seed=0)', 'tfds:NAME[/config][:split]', or a source. In Python also what `fit`
        takes: a `tf.data.Dataset` (see `datasets.from_dataset`), arrays x or (x, y), a list of files (see `arrays`).
        Clips: a folder that `tfssl.ingest` wrote, 'FOLDER:train' for one of its splits, or 'toy:clips' with settings
        'toy:clips(count=200, size=64, seconds=2.0, seed=0)'. Text: 'text:FILES' (see `text.open_text`), 'toy:text' with
        settings 'toy:text(count=2000, seed=0)', 'tfds:NAME' of a data set of text. And 'photos (80 %, split seed 0)',
        the name of a part that
        `open_splits` has made of another source. What exists under the whole name is meant by it, whatever it looks
        like.
      max_broken: largest part of the pictures that may be unreadable.

    Returns:
      A source of pictures, of clips or of text.

    Raises:
      UserError: a missing folder, one without pictures, too many broken ones, an unknown kind of source.
    """
    if isinstance(data, AnySource):
        return data
    if isinstance(data, (str, os.PathLike)) and (part := _parse_part(str(data))) is not None:
        whole, training, seed = part
        return _divide(open_source(whole, max_broken), seed)[0 if training else 1]
    openers: tuple[Callable[[Any], AnySource | None], ...] = IN_PYTHON
    if isinstance(data, (str, os.PathLike)):
        openers = ON_DISK if os.path.exists(data) else BY_NAME
    source = next(source for source in (opener(data) for opener in openers) if source is not None)
    if source.count == 0 or len(source.broken) > max_broken * source.listed:
        raise UserError(too_many_broken(source.name, source.broken, source.listed, max_broken))
    return source


def _parse_part(text: str) -> tuple[str, bool, int] | None:
    """Do what `dividing.parse_part` does; return None where it is the name of a folder."""
    part = dividing.parse_part(text)
    return None if part is None or os.path.exists(text) else part


def absolute_name(name: str) -> str:
    """Return the name of a source with its folder, where it has one, from the root.

    This name opens the source from any place.
    """
    if (part := _parse_part(name)) is not None:
        whole, training, seed = part
        return dividing.name_of_part(absolute_name(whole), training, seed)
    if is_text(name) and not os.path.exists(name):
        return absolute_text_name(name)
    if os.path.exists(name):
        return str(Path(name).resolve())
    clips = parse_name(name)
    return name if clips is None else f"{clips[0].resolve()}:{clips[1]}"


def too_many_broken(name: str, broken: dict[str, str], listed: int, max_broken: float) -> str:
    """Make the line that says that a source has too many broken pictures, with the first one as an example."""
    path, problem = next(iter(sorted(broken.items())))
    return (
        f"{len(broken)} of {listed} pictures in {name} cannot be read, more than --max-broken {max_broken:g} allows;"
        f" the first: {path} {problem}. Mend or remove them, or allow more"
    )


def open_splits(
    data: Any, test: Any = None, seed: int = 0, max_broken: float = 0.01
) -> tuple[AnySource, AnySource, str]:
    """Return the training and test part of labelled data, and a sentence that says where they come from.

    Where `data` has the splits train and test (sub-folders under the usual names, see `splits`, or what `ingest` made),
    these; train and val where there is no test, as the sentence says. Where there are all three, val is not tested on:
    settings may have been chosen on it. `test` where it is given: the training part of `data` against the test part of
    `test`, or all of either that has no splits. Else 80/20 of each class by the seed, pieces of one recording, and
    pictures that are the same byte for byte, on one side: see `dividing.divide`.

    Both parts get the same classes, those of either: the sentence names what only one of them has.

    Raises:
      UserError: no labels; no class that both parts have; folders that look like splits, but are not understood.
    """
    parts = parts_of(data)
    held_out = next((split for split in (splits.TEST, splits.VAL) if split in parts), None)
    if test is not None:
        if isinstance(data, (str, os.PathLike)) and not is_ingested(Path(data)):
            data = parts.get(splits.TRAIN, data)
        train, other = open_source(data, max_broken), open_source(_held_out_of(test), max_broken)
        note = f"trained on {train.name}, tested on {other.name}"
    elif parts:
        if splits.TRAIN not in parts or held_out is None:
            missing = "no train/" if held_out else "neither test/ nor val/"
            shown = ", ".join(map(str, parts.values()))
            raise UserError(f"{data} has {missing} beside {shown}; add one, or give what to test on as --test DATA")
        train, other = (open_source(parts[split], max_broken) for split in (splits.TRAIN, held_out))
        note = f"trained on {train.name}, tested on {other.name}"
        if held_out == splits.VAL:
            note += ", as there is no test part"
        elif splits.VAL in parts:
            note += f"; {parts[splits.VAL]} is kept for choices"
    else:
        whole = open_source(data, max_broken)
        train, other = _divide(whole, seed)
        note = f"{whole.name} has no train/ and test/: divided 80/20 within each class by split seed {seed}"
        note += f", pieces of one {whole.unit} on one side" if whole.moving else ""
        if isinstance(data, (str, os.PathLike)) and os.path.isdir(data):
            note += splits.say_ignored(Path(data), whole.classes)
    _require_labels(train, 2)
    _require_labels(other, 1)
    train, other, one_sided = common_classes.share(train, other)
    return train, other, note + one_sided


def open_choices(data: Any, test: Any, train: AnySource, max_broken: float = 0.01) -> AnySource | None:
    """Open the part of labelled data that `open_splits` leaves for choices, where there is one.

    Args:
      data, test: as `open_splits` got them.
      train: what it gave to train on.

    Returns:
      The validation part with the classes of `train`, -1 the label of what has none of them; None where there is no
      such part.
    """
    if test is not None and isinstance(data, (str, os.PathLike)) and is_ingested(Path(data)):
        return None  # all of its splits are trained on
    parts = parts_of(data)
    if splits.TRAIN not in parts or splits.VAL not in parts or (test is None and splits.TEST not in parts):
        return None
    source = open_source(parts[splits.VAL], max_broken)
    _require_labels(source, 1)
    number = {name: place for place, name in enumerate(train.classes)}
    place = np.array([number.get(name, -1) for name in source.classes])
    labels = np.asarray(source.labels)
    labels = np.where(labels >= 0, place[labels], -1).astype(np.int32)
    return dataclasses.replace(source, classes=train.classes, labels=labels)


def parts_of(data: Any) -> dict[str, Any]:
    """Return what opens each split of data that is divided on disk: split -> name; {} where it is not.

    Raises:
      UserError: folders that look like splits, but are not understood.
    """
    if not isinstance(data, (str, os.PathLike)) or not os.path.isdir(data):
        return {}
    folder = Path(data)
    if is_ingested(folder):
        return {split: f"{folder}:{split}" for split in splits_of(folder)}
    layout = splits.on_disk(folder)
    if layout.unclear:
        raise UserError(splits.say_unclear(folder, layout))
    return {split: folder / name for split, name in layout.splits.items()}


def _held_out_of(test: Any) -> Any:
    """Return what `--test` names to test on: its test part, or val, where it has any; all of it else, and of clips."""
    parts = {} if isinstance(test, (str, os.PathLike)) and is_ingested(Path(test)) else parts_of(test)
    return parts.get(splits.TEST, parts.get(splits.VAL, test))


def _require_labels(source: AnySource, classes: int) -> None:
    if source.labels is None or len(source.classes) < classes:
        raise UserError(f"{source.name} has no labels to evaluate with; expected one sub-folder a class, two at least")


def _divide(whole: AnySource, seed: int) -> tuple[AnySource, AnySource]:
    """Divide a source into a training and a test part, whose names tell how to make them again."""
    _require_labels(whole, 2)
    parts = dividing.divide(np.asarray(whole.labels), whole.groups, seed)
    if not len(parts[1]):
        raise UserError(
            f"{whole.name} cannot be divided: no class has more than one {whole.unit}, and what is trained on is not"
            " tested on; give --test DATA"
        )
    names = (dividing.name_of_part(whole.name, training, seed) for training in (True, False))
    train, test = (whole.subset(numbers, name) for numbers, name in zip(parts, names, strict=True))
    return train, test
