"""`ingest`: a folder of clips and sounds to a data set that training reads by number."""

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

from tfssl.base import beam as beams
from tfssl.base.errors import UserError
from tfssl.base.files import require_text
from tfssl.base.result import Result
from tfssl.pipelines.clips import recordings
from tfssl.pipelines.clips.decode_jobs import claim, decode_missing
from tfssl.pipelines.clips.listing import choose_splits, list_recordings, read_labels, splits_on_disk
from tfssl.pipelines.config import IngestSettings

WORK = ".ingest"


@dataclasses.dataclass(frozen=True)
class Ingested(Result):
    """What `ingest` wrote.

    Attributes:
      folder: DIR.
      clips: pieces by split.
      recordings: by split.
      with_sound: pieces that have sound.
      seconds: how long it took.
      broken: recordings that were left out: name -> what is wrong.
      damaged: recordings of which a part is lost: name -> what.
    """

    folder: Path
    clips: dict[str, int]
    recordings: dict[str, int]
    with_sound: int
    seconds: float
    broken: dict[str, str]
    damaged: dict[str, str]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {n} clips of {self.recordings[name]} recordings" for name, n in self.clips.items())
        lines = [f"{self.folder}: {parts}; {self.with_sound} clips with sound; {self.seconds:.1f} s"]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        lines += [f"damaged: {name} {problem}" for name, problem in sorted(self.damaged.items())]
        return "\n".join(lines)


def ingest(
    clips: str | Path,
    out: str | Path,
    *,
    size: int = 128,
    frame_rate: float = 12.5,
    sound_rate: int = 16000,
    seconds: float = 10.0,
    labels: str | Path | None = None,
    groups: str | None = None,
    test: float = 0.2,
    seed: int = 0,
    processes: int | None = None,
    beam: str | None = None,
    verbose: int = 1,
) -> Ingested:
    """Decode clips and sounds once, into sharded records of TensorFlow Datasets.

    Started again with the same arguments after an interruption, it resumes with what was not decoded yet.

    Args:
      clips: a folder of films (mp4, mkv, avi, webm, mpg, ...) and sounds (wav, flac, mp3, ogg, ...), at any depth. The
        first sub-folder is the label, where all files lie in one. Below splits (`train/`, `val/`, `test/` or the like)
        the second is, and the data set has these splits. What cannot be opened is left out; of what is damaged the rest
        is taken, as FFmpeg does. Both are said.
      out: folder of the data set, new; to be given as DATA afterwards. It appears whole or not at all.
      size: short side of frames, pixels; smaller ones stay. Pixels that are not square are made so.
      frame_rate: frames a second.
      sound_rate: hertz.
      seconds: longest piece, about: longer recordings are cut in equal pieces.
      labels: a CSV with columns file and label, and group where wanted; `file` is a path below the folder, or its end.
      groups: a regular expression; files for which it finds the same text (its first group, or all) are of one source.
        Pieces of one source never stand in two splits.
      test: part of the sources for the split "test"; the rest is "train". Not of what is divided already.
      seed: the seed of that choice.
      processes: that decode at once; as many as there are cores where None.
      beam: a runner of Apache Beam, with its options after it ('FlinkRunner --flink_master=HOST:8081'), that decodes
        and writes in place of processes here. Its workers need this package, and must see both folders under the same
        paths. The records are the same, in another order.
      verbose: 1 a progress bar, 0 nothing.

    Raises:
      UserError: no folder, nothing in it that can be decoded, an `out` that exists, a CSV or expression that is wrong.
    """
    given = IngestSettings(**locals())
    began = time.monotonic()
    folder, out = given.clips, given.out
    _check(folder, out)
    names = list_recordings(folder)
    label_of, group_of = read_labels(folder, names, labels, groups)
    on_disk = splits_on_disk(folder, names, labels)
    settings = {
        "size": size,
        "rate": frame_rate,
        "sound_rate": sound_rate,
        "seconds": seconds,
        "folder": str(folder.resolve()),
    }
    work = out / WORK
    options = None if beam is None else beams.options(beam)
    claim(work, settings)
    broken, damaged, pieces = decode_missing(folder, names, work, settings, processes, options, verbose)
    if not pieces:
        shutil.rmtree(work)
        problem = next(iter(sorted(broken.items())))
        raise UserError(f"nothing in {folder} can be decoded; the first: {problem[0]} {problem[1]}")
    splits = choose_splits(sorted(pieces), group_of, test, seed, on_disk)
    facts: dict[str, Any] = {"frame_rate": frame_rate, "sound_rate": sound_rate, "short_side": size}
    facts |= {"broken": broken, "damaged": damaged}  # for people: nothing here reads them
    # By names as the records have them.
    facts["groups"] = {name.replace(os.sep, "/"): group_of[name] for name in pieces if group_of[name] != name}
    from tfssl.pipelines.clips.tfds_builder import write_data_set  # which takes seconds to import

    write_data_set(out, splits, pieces, label_of, facts, options)
    heard = sum(_has_sound(path) for paths in pieces.values() for path in paths)
    shutil.rmtree(work)
    return Ingested(
        folder=out,
        clips={split: sum(len(pieces[name]) for name in chosen) for split, chosen in splits.items()},
        recordings={split: len(chosen) for split, chosen in splits.items()},
        with_sound=heard,
        seconds=round(time.monotonic() - began, 1),
        broken=broken,
        damaged=damaged,
    )


def _check(folder: Path, out: Path) -> None:
    try:
        import av  # noqa: F401
    except ImportError as problem:
        raise UserError("films are decoded by PyAV, which is not installed; pip install 'tfssl[video]'") from problem
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; expected one of films and sounds")
    require_text(out)
    others = [each for each in out.iterdir() if each.name != WORK] if out.is_dir() else []
    if others or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} exists and is not empty; choose a new folder for --out")


def _has_sound(path: Path) -> bool:
    return len(recordings.Piece.read(path).sound) > 0
