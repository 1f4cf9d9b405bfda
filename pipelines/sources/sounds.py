"""Folders of sounds, decoded once and kept in memory, for evaluation."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.files import text_of
from tfssl.pipelines.clips import recordings, video_files
from tfssl.pipelines.sources import splits, walking


@dataclasses.dataclass(frozen=True)
class Sounds:
    """Labelled sounds.

    Attributes:
      names: the names of the files, relative to the folder.
      waves: float32 [n] each, mono, -1..1.
      labels: int32 [N], index into `classes`.
      classes: names of the sub-folders.
      broken: name -> what is wrong.
      damaged: sounds of which a part is lost: name -> what.
    """

    names: list[str]
    waves: list[np.ndarray]
    labels: np.ndarray
    classes: tuple[str, ...]
    broken: dict[str, str]
    damaged: dict[str, str]


def is_folder_of_sounds(data: object) -> bool:
    """Say whether a folder holds sounds and nothing else that this package reads, in sub-folders."""
    if not isinstance(data, (str, os.PathLike)):
        return False
    folder = Path(data)
    return folder.is_dir() and any(
        path.suffix.lower() in recordings.SOUNDS and "/." not in f"/{path.relative_to(folder).as_posix()}"
        for path in folder.glob("*/*")
    )


def read_sounds(folder: str | Path, sample_rate: int) -> Sounds:
    """Decode every sound, at a sample rate in hertz; its first sub-folder is the class.

    Those beside the folders of classes are left out, as broken ones are.

    Raises:
      UserError: no such folder, splits in place of classes, no sounds in sub-folders, none that can be decoded, or
        PyAV is missing.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise UserError(f"a {type(folder).__name__} is given; expected a folder, with one sub-folder of sounds a class")
    folder = Path(folder)
    video_files.require()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; expected one sub-folder of sounds a class")
    layout = splits.on_disk(folder)
    if layout.splits or layout.unclear:
        shown = splits.list_folders(layout.unclear or layout.splits.values())
        raise UserError(
            f"{folder} has {shown}, which are splits; folds are made here: give one of them, or their classes"
        )
    found = walking.walk(folder, recordings.SOUNDS)
    walking.say_unread(folder, found)
    inside = sorted((name for name in found.paths if os.sep in name), key=lambda name: name.split(os.sep))
    if len({name.split(os.sep)[0] for name in inside}) < 2:
        raise UserError(f"{folder} has no labelled sounds; expected one sub-folder a class, two at least")
    names, waves, kinds, damaged = [], [], [], {}
    broken = {name: "lies beside the folders of the classes" for name in found.paths if os.sep not in name}
    for name in inside:
        try:
            whole = recordings.decode(folder / name, 8, 1.0, sample_rate)
        except recordings.BrokenRecordingError as problem:
            broken[name] = str(problem)
            continue
        if whole.damage:
            damaged[name] = whole.damage
        names.append(name)
        waves.append(whole.sound.astype(np.float32) / 32768)
        kinds.append(text_of(name.split(os.sep)[0]))
    if not names:
        raise UserError(f"no sound in {folder} can be decoded; the first: {next(iter(broken.items()))}")
    classes = tuple(sorted(set(kinds)))
    labels = np.array([classes.index(kind) for kind in kinds], np.int32)
    return Sounds(names, waves, labels, classes, broken, damaged)


def windows(wave: np.ndarray, samples: int) -> np.ndarray:
    """Cut a sound into windows float32 [K, samples] that overlap by at least half, ends included; pad a short one."""
    if len(wave) <= samples:
        return np.pad(wave, (0, samples - len(wave)))[None]
    count = 1 + -(-2 * (len(wave) - samples) // samples)
    starts = np.linspace(0, len(wave) - samples, count).round().astype(int)
    return np.stack([wave[start : start + samples] for start in starts])
