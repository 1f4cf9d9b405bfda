"""Clips that `tfssl.ingest` wrote to a folder: 'FOLDER', or 'FOLDER:train' for one of its splits."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.pipelines.clips.record import FORMAT
from tfssl.pipelines.sources.clips import ClipSource, open_records
from tfssl.pipelines.sources.tfrecords import index_records


def open_ingested(data: Any) -> ClipSource | None:
    """Open the clips of a folder, or of one split of it; return None where the name is not that of ingested clips.

    Raises:
      UserError: no such split, records of another version, a file that is missing or cut off.
    """
    named = parse_name(data) if isinstance(data, (str, os.PathLike)) else None
    if named is None:
        return None
    folder, split = named
    version = _versions(folder)[-1]
    info = json.loads((version / "dataset_info.json").read_text())
    if info["version"] != FORMAT:
        raise UserError(
            f"{folder} holds clips of version {info['version']}, this tfssl reads {FORMAT}; run `tfssl ingest` again"
        )
    facts = _metadata(version)
    names = _names_of(info)
    if split is not None and split not in names:
        raise UserError(f"{folder} has no clips in a split {split!r}; its splits are: {', '.join(names)}")
    files = []
    for each in info["splits"]:
        if each["name"] in names and split in (None, each["name"]):
            shards = len(each["shardLengths"])
            files += [
                version / f"{info['name']}-{each['name']}.tfrecord-{shard:05d}-of-{shards:05d}"
                for shard in range(shards)
            ]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is missing; make the data set anew by `tfssl ingest`")
    places = index_records(files)
    label = version / "label.labels.txt"
    digest = hashlib.sha256("".join(f"{file.name} {file.stat().st_size}\n" for file in files).encode())
    digest.update(places.tobytes())
    return open_records(
        f"{folder}:{split}" if split else str(folder),
        tuple(label.read_text().split("\n")[:-1]) if label.exists() else (),
        frame_rate=float(facts["frame_rate"]),
        sound_rate=int(facts["sound_rate"]),
        fingerprint=digest.hexdigest(),
        broken=facts.get("broken", {}),
        group_of=facts.get("groups", {}),
        files=[str(file) for file in files],
        places=places,
    )


def parse_name(data: str | os.PathLike[str]) -> tuple[Path, str | None] | None:
    """Return the folder of ingested clips and the split that a name means; None where it means none."""
    if os.path.exists(data):  # whatever is behind a colon in its name
        return (Path(data), None) if is_ingested(Path(data)) else None
    name, _, split = str(data).rpartition(":")
    return (Path(name), split) if name and is_ingested(Path(name)) else None


def splits_of(folder: Path) -> list[str]:
    """Return the names of the splits of ingested clips that hold any."""
    return _names_of(json.loads((_versions(folder)[-1] / "dataset_info.json").read_text()))


def is_ingested(folder: Path) -> bool:
    """Say whether a folder holds clips that `tfssl.ingest` prepared."""
    return bool(_versions(folder))


def _versions(folder: Path) -> list[Path]:
    """List the folders of the versions of a data set, which TensorFlow Datasets puts below its name.

    Such a folder is DIR/clips/1.0.0.
    """
    return [
        path.parent for pattern in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{pattern}dataset_info.json"))
    ]


def _names_of(info: Mapping[str, Any]) -> list[str]:
    return [each["name"] for each in info["splits"] if sum(map(int, each["shardLengths"]))]


def _metadata(version: Path) -> dict[str, Any]:
    path = version / "metadata.json"
    if not path.is_file():
        raise UserError(f"{version} has no metadata.json; expected clips that `tfssl ingest` prepared")
    return json.loads(path.read_text())
