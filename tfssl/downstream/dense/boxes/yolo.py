"""Boxes in YOLO's layout: images/, labels/ with a text file a picture, and a YAML file with names and parts.

As Ultralytics reads it: a picture whose file of labels is empty or missing shows none of the things, and a file of
labels without a picture is passed over; both are counted. Of outlines (its layout of segmentation, which exports of
labelling tools mix in) the box around them is taken.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.dense import data
from tfssl.downstream.dense.boxes.rows import NO_BOXES, Row, names_in, row_of, stacked
from tfssl.downstream.dense.data import Read
from tfssl.pipelines.sources import splits
from tfssl.pipelines.sources.regions import RegionSource, upright_sides

EXPECTED = (
    "'class centre_x centre_y width height' a line, or 'class x y x y x y ...' of an outline, all but the class as"
    " shares of the picture's sides"
)
NAMES_FILE = "classes.txt"
KEYS = {splits.TRAIN: "train", splits.VAL: "val", splits.TEST: "test"}


class Config(NamedTuple):
    """What the YAML file says.

    Attributes:
      path: the file that names the classes; None where none does.
      names: of classes, () where they are only numbered.
      parts: part -> folders of its pictures.
    """

    path: Path | None
    names: tuple[str, ...]
    parts: Mapping[str, tuple[Path, ...]]


def read(folder: Path, max_broken: float) -> dict[str, Read]:
    """Read images/ and labels/. Raise UserError where a line is no box, or its class has no name."""
    images, labels = folder / "images", folder / "labels"
    source, config = data.open_pictures(images, max_broken), read_config(folder)
    rows, without, used = [], 0, set()
    for path, side in zip(source.paths, upright_sides(source), strict=True):
        file = labels / Path(path).relative_to(images).with_suffix(".txt")
        used.add(file)
        rows.append(_read_file(file, side, config) if file.is_file() else [])
        without += not rows[-1]
    used |= {labels / Path(path).relative_to(images).with_suffix(".txt") for path in source.broken}
    alone = sum(path not in used and path.name != NAMES_FILE for path in labels.rglob("*.txt"))
    said = [counted(without, *NO_BOXES)] if without else []
    said += [counted(alone, "file of labels has no picture", "files of labels have no picture")] if alone else []
    every = Read(RegionSource.of(source), stacked(rows), config.names, source, ", ".join(said))
    return _divided(every, config, images)


def read_config(folder: Path) -> Config:
    """Read the YAML file in a folder, of train/ and its like in the one around it too; else classes.txt."""
    for place in (folder, folder.parent) if splits.split_of(folder.name) else (folder,):
        for path in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            content = _read_yaml(path)
            if isinstance(content, dict) and {"names", "nc"} & content.keys():
                return Config(path, _names(path, content), _parts(path, content, folder))
        for path in (place / NAMES_FILE, place / "labels" / NAMES_FILE):
            if path.is_file():
                return Config(path, names_in(path), {})
    return Config(None, (), {})


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as problem:
        said = " ".join(str(problem).split())
        raise UserError(f"{path} cannot be read ({said}); expected YOLO's YAML with names of classes") from problem


def _names(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if names is None:
        names = [str(number) for number in range(_whole(path, content.get("nc")))]
    if isinstance(names, dict):
        numbers = [_whole(path, number) for number in names]
        held = dict(zip(numbers, names.values(), strict=True))
        names = [held.get(number, str(number)) for number in range(max(numbers, default=-1) + 1)]
    if not isinstance(names, list) or not names:
        raise UserError(f"{path} has no names of classes; expected names: [cat, dog], or a number and a name a line")
    return tuple(map(str, names))


def _whole(path: Path, given: Any) -> int:
    if not isinstance(given, int) or given < 0:
        raise UserError(f"{path} has {given!r} where the number of a class is expected")
    return given


def _parts(path: Path, content: dict[str, Any], folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the folders of each part that are there, and that training does not have too."""
    roots = [path.parent, folder]
    if isinstance(content.get("path"), str):
        roots.insert(0, path.parent / content["path"])
    parts: dict[str, tuple[Path, ...]] = {}
    for part, key in KEYS.items():
        given = content.get(key)
        named = [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str)]
        found = [next((root / name for root in roots if (root / name).is_dir()), None) for name in named]
        held = tuple(Path(os.path.abspath(each)) for each in found if each is not None)
        if held and held != parts.get(splits.TRAIN):  # of coco128.yaml both are the same
            parts[part] = held
    return parts


def _divided(every: Read, config: Config, images: Path) -> dict[str, Read]:
    """Divide pictures as the YAML file says, else by the names of the folders in images/."""
    layout = splits.on_disk(images)
    if layout.unclear and not config.parts:
        raise UserError(splits.say_unclear(images, layout))
    parts = config.parts or {part: (Path(os.path.abspath(images / name)),) for part, name in layout.splits.items()}
    if splits.TRAIN not in parts or len(parts) < 2:
        return {splits.TRAIN: every}
    part_of = {folder: part for part, folders in parts.items() for folder in folders}
    above = [Path(os.path.abspath(path)).parents for path in every.source.paths]
    own = [next((part_of[folder] for folder in each if folder in part_of), None) for each in above]
    return divided(every, own)


def divided(every: Read, part_of: list[str | None]) -> dict[str, Read]:
    """Divide what was read; pictures of no part are left out, which is said."""
    parts, alone = {}, part_of.count(None)
    if alone:
        said = [every.said, f"left out: {counted(alone, 'picture')} of no part"]
        every = every._replace(said=", ".join(filter(None, said)))
    for part in (splits.TRAIN, splits.VAL, splits.TEST):
        numbers = np.flatnonzero([own == part for own in part_of])
        if len(numbers):
            source = every.source.subset(numbers, f"{every.source.name}, {part}")
            parts[part] = every._replace(source=source, answers=every.answers[numbers])
    return parts


def _read_file(path: Path, side: np.ndarray, config: Config) -> list[Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); expected {EXPECTED}") from problem
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            raise UserError(f"{where}: {len(words)} numbers, expected {EXPECTED}")
        try:
            label, *shares = map(float, words)
        except ValueError:
            raise UserError(f"{where}: {line.strip()!r}, expected {EXPECTED}") from None
        if not label.is_integer() or label < 0:
            raise UserError(f"{where}: class {words[0]}, expected a whole number from 0")
        if config.names and label >= len(config.names):
            raise UserError(
                f"{where}: class {label:g}, which {config.path} does not name: it has {len(config.names)} classes, 0 to"
                f" {len(config.names) - 1}"
            )
        tall, wide = side.tolist()
        box = _corners(shares) * np.array([wide, tall, wide, tall])
        rows.append(row_of(where, box, side, int(label)))
    return rows


def _corners(shares: list[float]) -> np.ndarray:
    """Return left, top, right, bottom of a box that is given by its centre and sides, or around an outline."""
    if len(shares) == 4:
        x, y, width, height = shares
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    points = np.array(shares).reshape(-1, 2)
    return np.concatenate([points.min(0), points.max(0)])
