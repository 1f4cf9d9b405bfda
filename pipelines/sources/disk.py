"""Folders and files on disk: one walk for all that reads folders, and files that are opened only where they have an end.

No TensorFlow here: processes that decode films start at once.
"""

import collections
import functools
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

SHOWN = 8


class Listing(NamedTuple):
    """What a walk has met.

    Attributes:
      sizes: name of each file that is read, relative to the folder, sorted -> its bytes; 0 where that is not known.
      unread: ending, in lower case -> how many files have it and are not read.
      closed: folder that cannot be read -> why, a phrase that goes on from its name.
    """

    sizes: dict[str, int]
    unread: dict[str, int]
    closed: dict[str, str]


def walk(folder: str | Path, endings: Sequence[str]) -> Listing:
    """List the files of a folder whose names end in one of `endings`, in any case, at any depth.

    What is hidden, by a dot before its name, is left alone. Links are followed, and each folder is read once, under its
    own name rather than a link's: so circles end. What is listed may still be broken: a link to nothing, or no file at
    all. What is not read is said on standard error, once of each folder.
    """
    closed: dict[str, str] = {}
    sizes: dict[str, int] = {}
    unread: collections.Counter[str] = collections.Counter()
    for name in names_in(folder, closed):
        if name.lower().endswith(tuple(endings)):
            sizes[name] = _size(os.path.join(folder, name))
        else:
            unread[os.path.splitext(name)[1].lower()] += 1
    listing = Listing(dict(sorted(sizes.items())), dict(unread), closed)
    if unread or closed:
        _say("; ".join([*([f"in {folder}, {say_unread(listing)}"] if unread else []), *map(" ".join, closed.items())]))
    return listing


def names_in(folder: str | Path, closed: dict[str, str] | None = None) -> Iterator[str]:
    """Yield the names of all files of a folder as `walk` goes through it, in no order; note folders that are closed."""
    seen = set()
    own, links = [""], collections.deque[str]()
    while own or links:
        inside = own.pop() if own else links.popleft()
        place = os.path.join(folder, inside) if inside else str(folder)
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(place) as given:
                entries = sorted((entry for entry in given if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as problem:
            if closed is not None:
                closed[place] = why_closed(problem)
            continue
        for entry in entries:
            name = os.path.join(inside, entry.name)
            if is_folder(entry):
                (links if entry.is_symlink() else own).append(name)
            else:
                yield name


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a folder or a link to one. A link in a circle, of which `is_dir` raises, is none."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)


def say_unread(listing: Listing) -> str:
    """Say how many files are not read, by ending: ".heic: 12, .tif: 3 are not read"; "" where all are."""
    count = sum(listing.unread.values())
    if not count:
        return ""
    most = sorted(listing.unread.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{ending or 'no ending'}: {number:,}" for ending, number in most[:SHOWN]]
    rest = count - sum(number for _, number in most[:SHOWN])
    shown += [f"others: {rest:,}"] if rest else []
    return f"{', '.join(shown)} {'is' if count == 1 else 'are'} not read"


def open_file(path: str | Path) -> BinaryIO:
    """Open a file for reading. Raise OSError where it cannot be, or has no end: a pipe would be waited for for ever."""
    require_regular(path)
    return open(path, "rb")


def read_file(path: str | Path) -> bytes:
    """Read all of a file. Raise OSError as `open_file` does."""
    with open_file(path) as file:
        return file.read()


def require_regular(path: str | Path) -> None:
    """Raise OSError where there is no file, or a pipe, a device, a socket or a folder in its place."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("it is no regular file")


def problem_of(path: str | Path) -> str:
    """Say why a file cannot be opened, as `why_closed` does; "" where it can."""
    try:
        with open_file(path):
            return ""
    except OSError as problem:
        return why_closed(problem)


def why_closed(problem: OSError) -> str:
    """Say why a file or folder cannot be opened, a phrase that goes on from its name."""
    return f"cannot be opened ({(problem.strerror or str(problem)).lower()})"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # said where it is opened
        return 0


@functools.cache
def _say(line: str) -> None:
    """Say a line once: a command opens a folder several times."""
    print(line, file=sys.stderr)
