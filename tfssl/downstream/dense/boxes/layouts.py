"""Which layout boxes come in: YOLO's, COCO's or PASCAL VOC's."""

from pathlib import Path

from tfssl.base.errors import UserError
from tfssl.downstream.dense.boxes import coco, voc, yolo
from tfssl.downstream.dense.data import Read, places
from tfssl.pipelines.ops.annotations import BOX
from tfssl.pipelines.sources import splits

EXPECTED = (
    "images/ and labels/ (YOLO), --labels instances.json or that file (COCO), or JPEGImages/ and Annotations/ (VOC)"
)


def read(folder: Path, table: Path | None, max_broken: float) -> dict[str, Read]:
    """Read the boxes of a folder: part -> pictures with float32 [N, K, 6], as of `rows.Row`; zeros where there is none.

    Args:
      folder: in one of the layouts, or train/ beside val/ or test/ with one of them each.
      table: COCO's JSON; None where it is in the folder, or in another layout.

    Raises:
      UserError: no such layout, boxes that do not fit, none at all.
    """
    found = _read(folder, table, max_broken)
    if found is None:
        if not splits.on_disk(folder).splits:
            raise UserError(f"{folder} has no boxes; expected {EXPECTED}")
        parts = {part: _read(place, None, max_broken) for part, place in places(folder).items()}
        lacking = [place for part, place in places(folder).items() if parts[part] is None]
        if lacking:
            raise UserError(f"{lacking[0]} has no boxes; expected {EXPECTED}")
        found = {part: _whole(each) for part, each in parts.items() if each is not None}
    if not any((each.answers[..., 5] == BOX).any() for each in found.values()):
        count = sum(each.source.count for each in found.values())
        raise UserError(f"{folder} has no boxes of its {count} pictures; expected {EXPECTED}, with a box at least")
    return found


def _read(folder: Path, table: Path | None, max_broken: float) -> dict[str, Read] | None:
    if table is not None:
        return coco.read(folder, table, max_broken)
    if (folder / "JPEGImages").is_dir() and (folder / "Annotations").is_dir():
        return voc.read(folder, max_broken)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return yolo.read(folder, max_broken)
    beside = next((folder / name for name in coco.FILES if (folder / name).is_file()), None)
    return None if beside is None else coco.read(folder, beside, max_broken)


def _whole(parts: dict[str, Read]) -> Read:
    """Return what was read of a folder that is a part itself."""
    if len(parts) > 1:
        names = ", ".join(f"{part}/" for part in parts)
        raise UserError(f"{parts[splits.TRAIN].source.name}: this and others are parts of DATA, and it has {names} too")
    return parts[splits.TRAIN]
