"""Which recordings `ingest` takes, with their labels, and how they are divided into splits."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import text_of
from tfssl.pipelines.clips import recordings
from tfssl.pipelines.sources import splits, walking
from tfssl.pipelines.sources.dividing import groups_of_names
from tfssl.pipelines.sources.splits import TEST, TRAIN, VAL


def list_recordings(folder: Path) -> list[str]:
    """List the films and sounds of a folder, relative to it, at any depth. Raise UserError where there is none."""
    endings = (*recordings.FILMS, *recordings.SOUNDS)
    found = walking.walk(folder, endings)
    walking.say_unread(folder, found)
    names = found.paths
    if not names:
        raise UserError(
            f"no film and no sound in {folder}{walking.only_unread(found)}; expected files that end in"
            f" {', '.join(endings)}, at any depth"
        )
    return names


def read_labels(
    folder: Path, names: Sequence[str], table: str | Path | None, groups: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Read the label ("" unknown) and the source of each file.

    Args:
      folder: that all lie in.
      names: the names of the files, as `list_recordings` gives them.
      table: a CSV with columns file and label, and group where wanted; where None, the first sub-folder is the label,
        or the second where the first ones are splits: see `sources.splits`.
      groups: a regular expression: see `dividing.groups_of_names`.

    Raises:
      UserError: a CSV or an expression that is wrong, a file in two rows.
    """
    label_of, group_of = dict.fromkeys(names, ""), {name: name for name in names}
    if table is None:
        walking.say_strays(folder, names)
    if table is None and (labels := splits.labels_of([name.split(os.sep) for name in names])) is not None:
        label_of = dict(zip(names, labels, strict=True))
    if groups is not None:
        group_of = dict(zip(names, groups_of_names(names, groups), strict=True))
    if table is not None:
        row_of: dict[str, dict[str, str]] = {}
        for row in _rows(Path(table)):
            given = (row["file"] or "").replace("/", os.sep)  # None in a row that is too short
            meant = [name for name in names if name == given or name.endswith(os.sep + given)]
            if len(meant) != 1:
                what = "is none" if not meant else f"could be {meant[0]} or {meant[1]}"
                raise UserError(
                    f"{table}: the file {row['file'] or ''!r} {what} of those in {folder}; give paths below it"
                )
            if row_of.setdefault(meant[0], row) is not row:
                raise UserError(f"{table}: the file {meant[0]} stands in two rows; leave one")
            label_of[meant[0]] = row.get("label") or ""
            if text_of(label_of[meant[0]]) != label_of[meant[0]]:
                raise UserError(f"{table}: the label of {meant[0]} is not UTF-8; save the table as that")
            if row.get("group"):
                group_of[meant[0]] = row["group"]
    return label_of, group_of


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error) as problem:
        raise UserError(f"--labels {path} cannot be read ({problem})") from problem
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise UserError(
            f"--labels {path} has no columns file and label; expected a CSV with a first line that names them"
        )
    return rows


def splits_on_disk(folder: Path, names: Sequence[str], table: str | Path | None = None) -> dict[str, str]:
    """Return the split of each file, where train stands beside val or test below the folder; {} where it does not.

    Raises:
      UserError: folders that look like splits, but are not understood, where no table of labels says that they are no
        classes; files beside splits.
    """
    inside = {name: name.split(os.sep) for name in names}
    layout = splits.of_paths(inside.values())
    if layout.unclear and table is None:
        raise UserError(f"{splits.say_unclear(folder, layout)}, or --labels")
    if len(layout.splits) < 2:
        return {}
    split_of = {place: split for split, place in layout.splits.items()}
    outside = next((name for name, parts in inside.items() if parts[0] not in split_of), None)
    if outside is not None:
        shown = splits.list_folders(layout.splits.values())
        raise UserError(f"{folder} has {shown}, and {outside} beside them; move it into one, or ingest it by itself")
    return {name: split_of[parts[0]] for name, parts in inside.items()}


def choose_splits(
    names: Sequence[str], group_of: dict[str, str], test: float, seed: int, on_disk: Mapping[str, str]
) -> dict[str, list[str]]:
    """Divide names by split; all of one source in one.

    There is at least one source in "test" where any is wanted and there are two.

    Args:
      on_disk: name -> split, where they are divided already; {} where not.

    Raises:
      UserError: a source that is divided already, between two splits.
    """
    if on_disk:
        split_of: dict[str, str] = {}
        for name in names:
            if split_of.setdefault(group_of[name], on_disk[name]) != on_disk[name]:
                raise UserError(f"files of one source, {group_of[name]}, are in two splits, {name} for one; move them")
        parts = {split: [name for name in names if on_disk[name] == split] for split in (TRAIN, VAL, TEST)}
        return {split: part for split, part in parts.items() if part}
    sources = sorted({group_of[name] for name in names})
    count = round(test * len(sources))
    if test > 0 and len(sources) > 1:
        count = min(max(count, 1), len(sources) - 1)
    chosen = {sources[place] for place in np.random.default_rng(seed).permutation(len(sources))[:count]}
    divided = {
        TRAIN: [name for name in names if group_of[name] not in chosen],
        TEST: [name for name in names if group_of[name] in chosen],
    }
    return {split: part for split, part in divided.items() if part}
