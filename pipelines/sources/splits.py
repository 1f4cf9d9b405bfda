"""Folders that divide data and are no classes: train, val and test, in any case and under their usual names."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tfssl.base.files import text_of

TRAIN, VAL, TEST = "train", "val", "test"
SPLIT_OF = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": TEST,
    "testing": TEST,
}
"""Name of a folder, in lower case -> the split that it holds."""
CLASSES_TOO = {"train": 2, "valid": 1}
"""Names that classes have as well, a vehicle and the opposite of invalid -> how many classes must stand beside."""
_WORD = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_OF)})(?![a-z])")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Layout(NamedTuple):
    """What the sub-folders of a folder are.

    Attributes:
      splits: split -> name of its folder; {} where sub-folders are classes.
      others: names of the folders beside splits.
      unclear: names of folders that look like splits, where one cannot tell what each is; () where one can.
    """

    splits: dict[str, str]
    others: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


def split_of(name: str) -> str | None:
    """Return the split that a folder of this name holds; None where it is no usual name of one."""
    return SPLIT_OF.get(name.lower())


def on_disk(folder: Path) -> Layout:
    """Return what the sub-folders of a folder are. Hidden ones are left alone."""
    return layout_of(_folders_in(folder), lambda name: not _folders_in(folder / name))


def of_paths(paths: Iterable[Sequence[str]]) -> Layout:
    """Do the same for files, whose paths below the folder are given as parts."""
    flat: dict[str, bool] = {}
    for parts in paths:
        if len(parts) > 1:
            flat[parts[0]] = flat.get(parts[0], True) and len(parts) == 2
    return layout_of(sorted(flat), flat.__getitem__)


def layout_of(names: Sequence[str], is_flat: Callable[[str], bool]) -> Layout:
    """Say what folders are by their names.

    They are splits where train stands beside val or test, whatever else there is, and where all are named after
    splits. 'train' and 'valid' alone among folders of files are classes: see `CLASSES_TOO`. Any other mixture of splits
    and other names is unclear, a split twice, and names such as train_set and test_set for half of the folders.

    Args:
      names: the names of all sub-folders.
      is_flat: (name) -> whether that folder has no folders itself. Asked only where it matters.
    """
    named = {name: split for name in names if (split := split_of(name)) is not None}
    others = tuple(name for name in names if name not in named)
    if not named:
        alike = {name: _words(name) for name in names if _words(name)}
        unclear = len(set().union(*alike.values())) > 1 and 2 * len(alike) >= len(names)
        return Layout({}, unclear=tuple(alike) if unclear else ())
    splits = {split: name for name, split in named.items()}
    if len(splits) < len(named):
        return Layout({}, unclear=tuple(named))
    if not others or (TRAIN in splits and len(splits) > 1):
        return Layout(splits, others)
    (first, *more) = named
    needed = CLASSES_TOO.get(first.lower()) if not more else None
    if needed and is_flat(first) and sum(is_flat(name) for name in others) >= needed:
        return Layout({})
    return Layout({}, unclear=(*named, *others))


def labels_of(paths: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the class of each file: its first folder, or the second below splits; None where not all have one.

    Args:
      paths: below the folder that was named, as parts.
    """
    layout = of_paths(paths)
    if layout.unclear or any(len(parts) < (3 if layout.splits else 2) for parts in paths):
        return None
    if not layout.splits:
        return [text_of(parts[0]) for parts in paths]
    if any(parts[0] in layout.others for parts in paths):
        return None
    return [text_of(parts[1]) for parts in paths]


def list_folders(names: Iterable[str]) -> str:
    """Name folders for people: 'train/, test/'."""
    shown = [f"{name}/" for name in names]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")


def say_unclear(folder: Path, layout: Layout) -> str:
    """Make the line that says that a folder's sub-folders look like splits, but are not understood."""
    shown = list_folders(layout.unclear)
    return (
        f"{folder} has {shown}: are these splits or classes? Call splits train/, val/ and test/, or give the folder of"
        " each by itself"
    )


def say_ignored(folder: Path, classes: Sequence[str]) -> str:
    """Say what was not read as a split: a class of such a name, splits inside of a class. '' where there is nothing."""
    sentence = ""
    if named := [name for name in classes if split_of(name) is not None]:
        sentence += f"; {list_folders(named)} is taken for a class"
    if len(inside := on_disk(folder / classes[0]).splits) > 1:
        sentence += f"; {list_folders(inside.values())} inside of {classes[0]}/ are no splits"
    return sentence


def _words(name: str) -> set[str]:
    """Return the splits that a name speaks of, as one word of several: 'seg_train', 'train2017', 'testA'."""
    return {SPLIT_OF[word] for word in _WORD.findall(_CAPITAL.sub("_", name).lower())}


def _folders_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            # Not `entry.is_dir`, which raises at a link in a circle.
            return sorted(each.name for each in entries if not each.name.startswith(".") and os.path.isdir(each))
    except OSError:  # said where its files are read
        return []
