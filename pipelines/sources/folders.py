"""Folders of pictures, at any depth: read from disk when needed; the first sub-folder is the label."""

import hashlib
import os
from pathlib import Path

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.pictures import PREFIX_BYTES, PictureSource, hash_of_picture, read_index, without_broken

ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")


def open_folder(data: str | Path) -> PictureSource:
    """Open the pictures of a folder, without those that are broken.

    Raises:
      UserError: no folder, or no picture in it.
    """
    folder = Path(data)
    if not folder.exists():
        raise UserError(f"{folder} does not exist; expected a folder of pictures, 'toy:images' or 'tfds:NAME'")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder of pictures")
    paths, sizes = walk(folder)
    if not paths:
        raise UserError(f"no picture in {folder}; expected files that end in {', '.join(ENDINGS)}, at any depth")

    contents = np.zeros(len(paths), np.uint64)

    def prefix(number: int) -> bytes:
        try:
            with open(folder / paths[number], "rb") as file:
                beginning = file.read(PREFIX_BYTES)
        except OSError:
            return b""  # an empty file is no picture, and is named as broken
        contents[number] = hash_of_picture(beginning, sizes[number])
        return beginning

    header = read_index(len(paths), prefix, lambda number: (folder / paths[number]).read_bytes())
    digest = hashlib.sha256("\n".join(f"{p} {s}" for p, s in zip(paths, sizes, strict=True)).encode())
    inside = [path.split(os.sep) for path in paths]
    names = [parts[0] for parts in inside] if all(len(parts) > 1 for parts in inside) else None
    return without_broken(str(folder), [str(folder / p) for p in paths], names, header, digest.hexdigest(), contents)


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
