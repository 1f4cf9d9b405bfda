"""Folders of pictures, at any depth: read from disk when needed; the first sub-folder is the label."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.clips import recordings
from tfssl.pipelines.sources import walking
from tfssl.pipelines.sources.labels import number
from tfssl.pipelines.sources.pictures import PREFIX_BYTES, PictureSource, hash_of_picture, read_index, without_broken
from tfssl.pipelines.sources.splits import labels_of

ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")


def open_folder(data: str | Path, read_beside: Sequence[str] = ()) -> PictureSource:
    """Open the pictures of a folder, without those that are broken.

    Args:
      data: the folder.
      read_beside: endings of files that others read: they are not said to be unread.

    Raises:
      UserError: no folder, or no picture in it.
    """
    folder = Path(data)
    if not os.path.exists(folder):  # not of pathlib, to which a name of 300 letters is an error
        problem = walking.problem_of(folder)
        raise UserError(f"{folder} {problem}; expected a folder of pictures, 'toy:images' or 'tfds:NAME'")
    if not os.path.isdir(folder):
        raise UserError(f"{folder} is a file; expected a folder of pictures")
    found = walking.walk(folder, ENDINGS)
    walking.say_unread(folder, found, read_beside)
    walking.say_strays(folder, found.paths)
    paths, sizes = found.paths, found.sizes
    if not paths:
        holds = walking.only_unread(found)
        problem = f"no picture in {folder}{holds}; expected files that end in {', '.join(ENDINGS)}, at any depth"
        if any(ending in (*recordings.FILMS, *recordings.SOUNDS) for ending in found.unread):
            problem += ", or the clips that `tfssl ingest` makes of films and sounds"
        raise UserError(problem)

    digest = hashlib.sha256(os.fsencode("\n".join(f"{p} {s}" for p, s in zip(paths, sizes, strict=True))))
    classes = labels_of([path.split(os.sep) for path in paths])
    problems = {str(folder / path): problem for path, problem in found.problems.items()}
    return _read(str(folder), [str(folder / path) for path in paths], sizes, problems, classes, digest.hexdigest())


def open_files(files: Sequence[Path], labels: Any = None) -> PictureSource:
    """Open pictures in files that are listed one by one, with labels as `labels.number` takes them.

    Raises:
      UserError: one that is missing, or is a folder; labels of another kind.
    """
    name = f"a list of {len(files)} files"
    for path in files:
        if os.path.isdir(path) or not os.path.lexists(path):
            problem = walking.problem_of(path)
            raise UserError(f"{path}, one of {name}, {problem}; expected files of pictures, or one folder")
    paths = [str(path) for path in files]
    problems = {path: problem for path in paths if (problem := walking.problem_of(path))}
    sizes = [0 if path in problems else os.path.getsize(path) for path in paths]
    listing = "\n".join(f"{os.path.abspath(path)} {size}" for path, size in zip(paths, sizes, strict=True))
    numbers, classes = (None, None) if labels is None else number(name, labels)
    rows = None if numbers is None else numbers.tolist()
    return _read(name, paths, sizes, problems, rows, hashlib.sha256(os.fsencode(listing)).hexdigest(), classes)


def _read(
    name: str,
    paths: list[str],
    sizes: Sequence[int],
    problems: dict[str, str],
    labels: Sequence[Any] | None,
    digest: str,
    classes: tuple[str, ...] | None = None,
) -> PictureSource:
    """Read the headers of files; arguments as of `without_broken`, the sizes in bytes and what cannot be opened."""
    contents = np.zeros(len(paths), np.uint64)

    def begin(number: int, count: int = -1) -> bytes:
        if paths[number] in problems:
            return b""  # which is no picture
        try:
            with open(paths[number], "rb") as file:
                return file.read(count)
        except OSError as problem:
            problems[paths[number]] = f"cannot be read: {(problem.strerror or str(problem)).lower()}"
            return b""

    def prefix(number: int) -> bytes:
        beginning = begin(number, PREFIX_BYTES)
        contents[number] = hash_of_picture(beginning, sizes[number])
        return beginning

    header = read_index(len(paths), prefix, begin)
    return without_broken(name, paths, labels, header, digest, contents, classes=classes, problems=problems)
