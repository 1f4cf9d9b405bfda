"""The one walk through folders: which files there are, which of them cannot be opened, and what is not read."""

import dataclasses
import errno
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

SHOWN = 8
"""How many endings are said."""
FEW = 3
"""Files beside folders: as many are strays, more are a folder without labels."""
NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_SAID: set[tuple[str, str]] = set()


@dataclasses.dataclass(frozen=True)
class Walk:
    """Files below a folder, by the endings of their names.

    Attributes:
      paths: relative to the folder, sorted; those that cannot be opened too.
      sizes: bytes of each; 0 of what cannot be opened.
      problems: of those that cannot be opened: path -> what is wrong, see `problem_of`.
      unread: how many files have another ending: ".heic" -> 12.
      closed: folders that cannot be listed: path -> what is wrong.
    """

    paths: list[str]
    sizes: list[int]
    problems: dict[str, str]
    unread: dict[str, int]
    closed: dict[str, str]


def walk(folder: Path, endings: Sequence[str]) -> Walk:
    """List the files of a folder, at any depth, whose names end in one of `endings`, in lower or upper case.

    What begins with a dot is hidden and left alone. A link to a folder is followed, but no folder is listed twice: not
    in a circle, and not by a link to what is below `folder` itself.
    """
    closed: dict[str, str] = {}
    sizes: dict[str, int] = {}
    problems: dict[str, str] = {}
    unread: Counter[str] = Counter()
    for path in _files(folder, closed):
        if not path.lower().endswith(tuple(endings)):
            unread[os.path.splitext(path)[1].lower()] += 1
            continue
        problem = problem_of(folder / path)
        if problem:
            problems[path] = problem
        sizes[path] = 0 if problem else os.path.getsize(folder / path)
    paths = sorted(sizes)
    return Walk(paths, [sizes[path] for path in paths], problems, dict(unread), closed)


def _files(folder: Path, closed: dict[str, str]) -> Iterator[str]:
    """Yield the paths of all files that are not hidden. What is behind links comes last: files keep their own place."""

    def note(problem: OSError) -> None:
        closed[os.path.relpath(problem.filename, folder)] = _reason(problem)

    seen: set[str] = set()
    links = [str(folder)]
    while links:
        behind: list[str] = []
        for link in links:
            if os.path.realpath(link) in seen:
                continue
            for place, folders, files in os.walk(link, onerror=note):
                real = os.path.realpath(place)
                if real in seen:  # a link led above it before
                    folders.clear()
                    continue
                seen.add(real)
                shown = sorted(name for name in folders if not name.startswith("."))
                linked = [name for name in shown if os.path.islink(os.path.join(place, name))]
                behind += [os.path.join(place, name) for name in linked]
                folders[:] = [name for name in shown if name not in linked]
                for name in files:
                    if not name.startswith("."):
                        yield os.path.relpath(os.path.join(place, name), folder)
        links = behind


def problem_of(path: str | os.PathLike[str]) -> str:
    """Say why a file cannot be read, to go on from its name; "" where it can.

    It is not opened for this: a pipe would wait for somebody who writes to it.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        if problem.errno in NOTHING_THERE:
            return "is a link to what is not there" if os.path.islink(path) else "does not exist"
        return f"cannot be opened: {_reason(problem)}"
    if not stat.S_ISREG(mode):
        return "is a folder" if stat.S_ISDIR(mode) else "is no regular file"
    return "" if os.access(path, os.R_OK) else "cannot be opened: permission denied"


def say_unread(folder: Path, found: Walk, read_beside: Sequence[str] = ()) -> None:
    """Say what of a folder is not read, on standard error: once, however often the folder is opened.

    Where nothing is, the error says it: see `only_unread`.
    """
    unread = {ending: count for ending, count in found.unread.items() if ending not in read_beside}
    if unread and found.paths:
        verb = "is" if sum(unread.values()) == 1 else "are"
        _say(folder, f": {_list_endings(unread)} {verb} not read")
    for path, problem in sorted(found.closed.items()):
        _say(folder / path, f" cannot be listed ({problem}): what is in it is not read")


def only_unread(found: Walk) -> str:
    """Say what a folder holds in place of what is wanted, to go on from its name, as ", only .heic: 12"."""
    return f", only {_list_endings(found.unread)}" if found.unread else ""


def _list_endings(unread: dict[str, int]) -> str:
    most = sorted(unread.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{ending or 'no ending'}: {count:,}" for ending, count in most[:SHOWN])
    rest = sum(count for _, count in most[SHOWN:])
    return shown + (f", other endings: {rest:,}" if rest else "")


def say_strays(folder: Path, paths: Sequence[str]) -> None:
    """Say, likewise, which few files lie beside the folders of all others, so that these folders are no classes."""
    strays = [path for path in paths if os.sep not in path]
    if 0 < len(strays) <= FEW and 2 * len(strays) < len(paths):
        _say(folder, f" has no labels: {', '.join(strays)} beside its folders; move that into one, or away, for labels")


def _say(place: Path, what: str) -> None:
    """Say something of a folder, under whatever name it is opened: a run opens it anew by its name from the root."""
    known = (os.path.realpath(place), what)
    if known not in _SAID:
        _SAID.add(known)
        print(f"{place}{what}", file=sys.stderr, flush=True)


def _reason(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()
