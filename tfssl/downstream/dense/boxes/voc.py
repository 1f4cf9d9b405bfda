"""Boxes in PASCAL VOC's layout: JPEGImages/, Annotations/ with an XML file a picture, ImageSets/Main/ with parts."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.dense import data
from tfssl.downstream.dense.boxes.rows import NO_BOXES, Row, names_in, row_of, stacked
from tfssl.downstream.dense.boxes.yolo import NAMES_FILE, divided
from tfssl.downstream.dense.data import Read
from tfssl.pipelines.ops.annotations import BOX, LEFT_OUT
from tfssl.pipelines.sources import splits
from tfssl.pipelines.sources.regions import RegionSource, upright_sides

EXPECTED = "VOC's XML, of each object a name and bndbox with xmin, ymin, xmax and ymax"
LISTS = {splits.TRAIN: ("train", "trainval"), splits.VAL: ("val",), splits.TEST: ("test",)}
"""Part -> names of lists in ImageSets/Main, of which the first that is there is taken."""


def read(folder: Path, max_broken: float) -> dict[str, Read]:
    """Read JPEGImages/ and Annotations/.

    Pixels are counted from 1, and the last one is inside: a box from xmin to xmax is xmax - xmin + 1 pixels wide. What
    is `difficult` is neither learned from nor measured. Classes are those of classes.txt, or else all that occur.

    Raises:
      UserError: a picture without annotation or the other way round, no XML, what is no box, a class without name.
    """
    source = data.open_pictures(folder / "JPEGImages", max_broken)
    lists = _lists(folder / "ImageSets" / "Main")
    number_of = {Path(path).stem: number for number, path in enumerate(source.paths)}
    annotations = {path.stem: path for path in sorted((folder / "Annotations").glob("*.xml"))}
    broken = {Path(path).stem for path in source.broken}
    wanted = [name for names in lists.values() for name in names] if lists else [*annotations]
    for name in wanted:
        if name not in number_of and name not in broken:
            why = "ImageSets/Main names" if lists else "Annotations/ has a file for"
            raise UserError(f"{folder}: {why} {name}, but JPEGImages/ has no such picture; add or remove it")
        if name not in annotations:
            raise UserError(
                f"{folder}: {name} has no annotation; expected {folder / 'Annotations' / name}.xml, without objects"
                " where it shows none"
            )
    stems = [name for name in dict.fromkeys(wanted) if name in number_of]
    given = names_in(folder / NAMES_FILE) if (folder / NAMES_FILE).is_file() else ()
    objects = [_objects(annotations[name]) for name in stems]
    names = given or tuple(sorted({each[0] for picture in objects for each in picture}))
    sides, rows = upright_sides(source), []
    for name, picture in zip(stems, objects, strict=True):
        side = sides[number_of[name]]
        rows.append([_row(annotations[name], side, names, at, each) for at, each in enumerate(picture, 1)])
    if not stems:
        raise UserError(f"{folder} has no picture with an annotation; expected {EXPECTED}")
    left_out, without = source.count - len(stems), sum(not boxes for boxes in rows)
    said = [counted(without, *NO_BOXES)] if without else []
    said += [f"left out: {counted(left_out, 'picture')} without annotation or in no list"] if left_out else []
    own = source.subset(np.array([number_of[name] for name in stems], int), source.name)
    every = Read(RegionSource.of(own), stacked(rows), names, source, ", ".join(said))
    part_of = {name: part for part, listed in reversed(lists.items()) for name in listed}
    return divided(every, [part_of.get(name) for name in stems]) if len(lists) > 1 else {splits.TRAIN: every}


def _lists(folder: Path) -> dict[str, list[str]]:
    """Return the stems of each part that has a list; {} where training has none."""
    found = {}
    for part, names in LISTS.items():
        path = next((folder / f"{name}.txt" for name in names if (folder / f"{name}.txt").is_file()), None)
        if path is not None:
            found[part] = [line.split()[0] for line in names_in(path)]
    return found if splits.TRAIN in found else {}


def _objects(path: Path) -> list[tuple[str, list[str], bool]]:
    """Return name, the texts of xmin, ymin, xmax and ymax, and whether it is difficult, of each object."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); expected {EXPECTED}") from problem
    found = []
    for number, each in enumerate(root.iter("object"), 1):
        name = (each.findtext("name") or "").strip()
        texts = [each.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        held = [text for text in texts if text is not None]
        if not name or len(held) < 4:
            raise UserError(f"{path}, object {number}: no name, or a corner is missing; expected {EXPECTED}")
        found.append((name, held, (each.findtext("difficult") or "0").strip() == "1"))
    return found


def _row(path: Path, side: np.ndarray, names: tuple[str, ...], number: int, found: tuple[str, list[str], bool]) -> Row:
    name, texts, difficult = found
    where = f"{path}, object {number}"
    if name not in names:
        raise UserError(f"{where}: class {name}, which {NAMES_FILE} does not name: it has {', '.join(names)}")
    try:
        left, top, right, bottom = map(float, texts)
    except ValueError:
        raise UserError(f"{where}: the corners {', '.join(texts)}, expected numbers of pixels") from None
    return row_of(where, (left - 1, top - 1, right, bottom), side, names.index(name), LEFT_OUT if difficult else BOX)
