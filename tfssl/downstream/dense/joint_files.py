"""Joints of people in files: joints.json beside the pictures, or COCO's key points."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.downstream.dense import data
from tfssl.downstream.dense.data import Read
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.pipelines.sources.regions import RegionSource, upright_sides

FILES = ("joints.json", "annotations.json")
EXPECTED = (
    '{"order": [names], "joints": {picture: [[x, y, visible], ...]}}, or COCO\'s key points (images, annotations,'
    " categories)"
)
MARGIN = 1.25
"""Side of the square around a person, over the longer side of the box: Xiao et al. 2018 have this margin."""


def read_folder(place: Any, table: Path | None, max_broken: float) -> Read:
    """Read a folder of pictures and the file that says where joints are.

    In joints.json a joint is [x, y, visible] in pixels; 0 for visible, null, or no number is a joint that is not known.
    Of COCO each annotated person is a picture of its own: the square around the box. Pictures that the file does not
    name are left out.

    Args:
      place: the folder; pictures in its images/, where there is one, or at any depth.
      table: the file; joints.json or annotations.json in the folder where None.

    Raises:
      UserError: no such file, a file of another kind, a picture or joints that are missing.
    """
    folder = Path(place)
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    source = data.open_pictures(pictures, max_broken)
    path = table or next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} has no joints.json; give the file with the joints as --labels FILE.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); expected {EXPECTED}") from problem
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no joints; expected {EXPECTED}")
    places = numbers_of(source, pictures)
    if "joints" in content and "order" in content:
        return _read_joints(path, content, source, places)
    if {"images", "annotations", "categories"} <= content.keys():
        return _read_coco(path, content, source, places)
    raise UserError(f"{path} holds no joints; expected {EXPECTED}")


def numbers_of(source: PictureSource, folder: Path) -> dict[str, int]:
    """Return the number of each picture, by its path below the folder and by its name alone where that is one's own."""
    below = {str(Path(path).relative_to(folder)): number for number, path in enumerate(source.paths)}
    names: dict[str, int | None] = {}
    for path, number in below.items():
        name = Path(path).name
        names[name] = None if name in names else number
    return {name: number for name, number in names.items() if number is not None} | below


def _read_joints(path: Path, content: dict[str, Any], source: PictureSource, places: dict[str, int]) -> Read:
    names = tuple(map(str, content["order"]))
    if not names or len(set(names)) < len(names):
        raise UserError(f"{path}: order has {len(names)} names, expected one a joint, and none twice")
    numbers, rows = [], []
    for picture, joints in content["joints"].items():
        if picture not in places:
            if is_broken(source, picture):
                continue
            raise UserError(
                f"{path} names {picture}, which is not in {source.name}; add the picture, or remove it there"
            )
        if not isinstance(joints, list) or len(joints) != len(names):
            count = len(joints) if isinstance(joints, list) else "no"
            raise UserError(
                f"{path}: {picture} has {count} joints, expected {len(names)} (order), each [x, y, visible]; give 0 for"
                " visible where one is not known"
            )
        numbers.append(places[picture])
        rows.append([_point(path, picture, name, joint) for name, joint in zip(names, joints, strict=True)])
    return _read(path, source, numbers, rows, names, None)


def _point(path: Path, picture: str, name: str, joint: Any) -> tuple[float, float, float]:
    if joint is None:
        return 0.0, 0.0, 0.0
    if not isinstance(joint, list) or len(joint) not in (2, 3):
        raise UserError(f"{path}: {name} of {picture} is {joint!r}, expected [x, y, visible] or null")
    x, y, visible = (*joint, 1)[:3]
    if x is None or y is None or not visible:
        return 0.0, 0.0, 0.0
    try:
        x, y = float(x), float(y)
    except (TypeError, ValueError):
        raise UserError(f"{path}: {name} of {picture} is {joint!r}, expected numbers x, y in pixels") from None
    return (x, y, 1.0) if np.isfinite([x, y]).all() else (0.0, 0.0, 0.0)


def _read_coco(path: Path, content: dict[str, Any], source: PictureSource, places: dict[str, int]) -> Read:
    with_points = [each for each in content["categories"] if each.get("keypoints")]
    if len(with_points) != 1:
        raise UserError(f"{path} has {len(with_points)} categories with key points, expected one; leave the others out")
    (category,) = with_points
    names = tuple(map(str, category["keypoints"]))
    files = {each["id"]: str(each["file_name"]) for each in content["images"]}
    numbers, rows, boxes = [], [], []
    for each in content["annotations"]:
        if each.get("category_id") not in {one["id"] for one in content["categories"]}:
            raise UserError(
                f"{path}: annotation {each.get('id')} has the category {each.get('category_id')}, which categories do"
                " not name"
            )
        if each["category_id"] != category["id"] or each.get("iscrowd") or not each.get("num_keypoints", 1):
            continue
        if each.get("image_id") not in files:
            raise UserError(
                f"{path}: annotation {each.get('id')} is of image {each.get('image_id')}, which is not listed"
            )
        picture, flat = files[each["image_id"]], each.get("keypoints") or []
        if len(flat) != 3 * len(names):
            raise UserError(
                f"{path}: annotation {each.get('id')} has {len(flat)} numbers of key points, expected"
                f" {3 * len(names)}: x, y, visibility of {len(names)}"
            )
        if picture not in places:
            if is_broken(source, picture):
                continue
            raise UserError(
                f"{path} names {picture}, which is not in {source.name}; add the picture, or remove it there"
            )
        points = np.array(flat, float).reshape(-1, 3)
        if not (points[:, 2] > 0).any():
            continue
        numbers.append(places[picture])
        rows.append([(x, y, float(seen > 0)) if seen > 0 else (0.0, 0.0, 0.0) for x, y, seen in points.tolist()])
        boxes.append(each.get("bbox"))
    return _read(path, source, numbers, rows, names, boxes)


def is_broken(source: PictureSource, picture: str) -> bool:
    """Return whether a picture of this name was left out, as it cannot be read."""
    return any(Path(path).name == Path(picture).name for path in source.broken)


def _read(
    path: Path, source: PictureSource, numbers: list[int], rows: list[Any], names: tuple[str, ...], boxes: Any
) -> Read:
    if not rows:
        raise UserError(f"{path} has no joints of a picture in {source.name}; expected {EXPECTED}")
    chosen, points = np.array(numbers, int), np.array(rows, np.float32)
    own = source.subset(chosen, source.name)
    sides = upright_sides(own)
    known = points[..., 2] > 0
    if not known.any():
        raise UserError(f"{path} has no joint that is known; expected [x, y, visible] with 1 for visible")
    regions = None if boxes is None else np.array([_square(*each) for each in zip(points, boxes, sides, strict=True)])
    return Read(RegionSource.of(own, regions), points, names, source)


def _square(points: np.ndarray, box: Any, sides: np.ndarray) -> list[int]:
    """Return the square around a person, moved and shrunk into the picture; around the known joints without a box."""
    if box is None:
        known = points[points[:, 2] > 0]
        (left, top), (right, bottom) = known[:, :2].min(0), known[:, :2].max(0)
        box = [left, top, right - left, bottom - top]
    left, top, width, height = map(float, box)
    side = int(min(max(1.0, round(MARGIN * max(width, height))), *sides.tolist()))
    corner = [round(top + height / 2 - side / 2), round(left + width / 2 - side / 2)]
    inside = [int(min(max(0, at), limit - side)) for at, limit in zip(corner, sides.tolist(), strict=True)]
    return [*inside, side, side]
