"""Boxes in COCO's JSON: images, annotations with bbox [left, top, width, height] and iscrowd, categories."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.dense import data
from tfssl.downstream.dense.boxes.rows import NO_BOXES, Row, row_of, stacked
from tfssl.downstream.dense.boxes.yolo import divided
from tfssl.downstream.dense.data import Read
from tfssl.downstream.dense.joint_files import is_broken, numbers_of
from tfssl.pipelines.ops.annotations import BOX, CROWD
from tfssl.pipelines.sources import splits
from tfssl.pipelines.sources.regions import RegionSource, upright_sides

FILES = ("instances.json", "annotations.json", "_annotations.coco.json")
EXPECTED = "COCO's JSON with images, annotations (image_id, category_id, bbox, iscrowd) and categories"


def read(folder: Path, table: Path, max_broken: float) -> dict[str, Read]:
    """Read the boxes of a JSON file, of pictures below a folder.

    Pictures that it lists without annotations show none of the things; those that it does not list are left out. Where
    the folder has train/ beside val/ or test/, they are parts. Boxes without any width or height, of which COCO's own
    files have some, are left out.

    Raises:
      UserError: a file of another kind, a picture that is missing, what is no box, a category that is not listed.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    source = data.open_pictures(images, max_broken)
    content, places = _content(table), numbers_of(source, images)
    names = {each["id"]: str(each.get("name", each["id"])) for each in content["categories"]}
    order = {identity: number for number, identity in enumerate(names)}
    files = {each["id"]: str(each["file_name"]) for each in content["images"]}
    numbers: dict[Any, int] = {}
    for identity, name in files.items():
        if name in places:
            numbers[identity] = places[name]
        elif not is_broken(source, name):
            raise UserError(f"{table} names {name}, which is not in {source.name}; add the picture, or remove it there")
    sides, rows = upright_sides(source), {number: list[Row]() for number in sorted(numbers.values())}
    flat = 0
    for each in content["annotations"]:
        where = f"{table}, annotation {each.get('id')}"
        if each.get("category_id") not in order:
            raise UserError(f"{where}: category {each.get('category_id')}, which categories do not name")
        if each.get("image_id") not in files:
            raise UserError(f"{where}: image {each.get('image_id')}, which images do not list")
        if each["image_id"] not in numbers:
            continue  # broken
        number, kind = numbers[each["image_id"]], CROWD if each.get("iscrowd") else BOX
        corners = _corners(where, each.get("bbox"))
        if corners[0] == corners[2] or corners[1] == corners[3]:
            flat += 1
            continue
        rows[number].append(row_of(where, corners, sides[number], order[each["category_id"]], kind))
    if not rows:
        raise UserError(f"{table} lists no picture that is in {source.name}; expected {EXPECTED}")
    own = source.subset(np.array(list(rows)), source.name) if len(rows) < source.count else source
    left_out = source.count - len(rows)
    without = sum(not boxes for boxes in rows.values())
    said = [counted(without, *NO_BOXES)] if without else []
    said += [f"left out: {counted(flat, 'annotation')} without width or height"] if flat else []
    said += [f"left out: {counted(left_out, 'picture')} that {table.name} does not list"] if left_out else []
    every = Read(RegionSource.of(own), stacked(list(rows.values())), tuple(names.values()), source, ", ".join(said))
    below = [Path(path).relative_to(images).parts[0] for path in own.paths]
    layout = {name: part for part, name in splits.on_disk(images).splits.items()}
    return divided(every, [layout.get(name) for name in below]) if len(layout) > 1 else {splits.TRAIN: every}


def _corners(where: str, box: Any) -> list[float]:
    try:
        left, top, width, height = map(float, box)
    except (TypeError, ValueError):
        raise UserError(f"{where}: bbox {box!r}, expected [left, top, width, height] in pixels") from None
    return [left, top, left + width, top + height]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); expected {EXPECTED}") from problem
    lists = {"images": ("id", "file_name"), "annotations": (), "categories": ("id",)}
    for name, keys in lists.items():
        rows = content.get(name) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(each, dict) and each.keys() >= {*keys} for each in rows):
            with_keys = f" with {' and '.join(keys)} each" if keys else ""
            raise UserError(f"{path} has no list {name}{with_keys}; expected {EXPECTED}")
    return content
