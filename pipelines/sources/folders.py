"""Folders of pictures, at any depth: read from disk when needed; the first sub-folder is the label."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.labels import number
from tfssl.pipelines.sources.pictures import PREFIX_BYTES, PictureSource, hash_of_picture, read_index, without_broken
from tfssl.pipelines.sources.splits import labels_of

ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")


def open_folder(data: str | Path) -> PictureSource:
    """Open the pictures of a folder, without those that are broken.

    Raises:
      UserError: no folder, or no picture in it.
    """
    folder = Path(data)
    if not os.path.exists(folder):  # not of pathlib, to which a name of 300 letters is an error
        raise UserError(f"{folder} does not exist; expected a folder of pictures, 'toy:images' or 'tfds:NAME'")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder of pictures")
    paths, sizes = walk(folder)
    if not paths:
        raise UserError(f"no picture in {folder}; expected files that end in {', '.join(ENDINGS)}, at any depth")

    digest = hashlib.sha256("\n".join(f"{p} {s}" for p, s in zip(paths, sizes, strict=True)).encode())
    classes = labels_of([path.split(os.sep) for path in paths])
    return _read(str(folder), [str(folder / path) for path in paths], sizes, classes, digest.hexdigest())


def open_files(files: Sequence[Path], labels: Any = None) -> PictureSource:
    """Open pictures in files that are listed one by one, with labels as `labels.number` takes them.

    Raises:
      UserError: one that is missing, or is a folder; labels of another kind.
    """
    name = f"a list of {len(files)} files"
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        problem = "is a folder" if missing.is_dir() else "does not exist"
        raise UserError(f"{missing}, one of {name}, {problem}; expected files of pictures, or one folder")
    paths, sizes = [str(path) for path in files], [path.stat().st_size for path in files]
    listing = "\n".join(f"{os.path.abspath(path)} {size}" for path, size in zip(paths, sizes, strict=True))
    numbers, classes = (None, None) if labels is None else number(name, labels)
    rows = None if numbers is None else numbers.tolist()
    return _read(name, paths, sizes, rows, hashlib.sha256(os.fsencode(listing)).hexdigest(), classes)


def _read(
    name: str,
    paths: list[str],
    sizes: Sequence[int],
    labels: Sequence[Any] | None,
    digest: str,
    classes: tuple[str, ...] | None = None,
) -> PictureSource:
    """Read the headers of files; arguments as of `without_broken`, and the sizes of the files in bytes."""
    contents = np.zeros(len(paths), np.uint64)

    def prefix(number: int) -> bytes:
        try:
            with open(paths[number], "rb") as file:
                beginning = file.read(PREFIX_BYTES)
        except OSError:
            return b""  # an empty file is no picture, and is named as broken
        contents[number] = hash_of_picture(beginning, sizes[number])
        return beginning

    header = read_index(len(paths), prefix, lambda number: Path(paths[number]).read_bytes())
    return without_broken(name, paths, labels, header, digest, contents, classes=classes)


def walk(folder: Path) -> tuple[list[str], list[int]]:
    """List paths relative to the folder, sorted, and sizes in bytes; hidden files and folders are left alone."""
    listing, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:  # a link back up would go round for ever
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                path = os.path.join(place, name)
                listing.append((os.path.relpath(path, folder), os.path.getsize(path) if os.path.exists(path) else 0))
    listing.sort()
    return [path for path, _ in listing], [size for _, size in listing]
