"""`ingest`: a folder of clips and sounds to a data set that training reads by number."""

import concurrent.futures
import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base import beam as beams
from tfssl.base.errors import UserError
from tfssl.base.files import write_errors, write_json
from tfssl.base.result import Result
from tfssl.pipelines.clips import recordings
from tfssl.pipelines.config import IngestSettings
from tfssl.pipelines.sources.dividing import groups_of_names

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
    """

    folder: Path
    clips: dict[str, int]
    recordings: dict[str, int]
    with_sound: int
    seconds: float
    broken: dict[str, str]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {n} clips of {self.recordings[name]} recordings" for name, n in self.clips.items())
        lines = [f"{self.folder}: {parts}; {self.with_sound} clips with sound; {self.seconds:.1f} s"]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        return "\n".join(lines)


def ingest(
    clips: str | Path,
    to: str | Path,
    *,
    size: int = 128,
    rate: float = 12.5,
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
    """Decodes clips and sounds once, into sharded records of TensorFlow Datasets.

    Started again with the same arguments after an interruption, it goes on with what was not decoded yet.

    Args:
      clips: a folder of films (mp4, mkv, avi, webm, mpg, ...) and sounds (wav, flac, mp3, ogg, ...), at any depth. The
        first sub-folder is the label, where all files lie in one.
      to: folder of the data set, new; to be given as DATA afterwards. It appears whole or not at all.
      size: short side of frames, pixels; smaller ones stay.
      rate: frames a second.
      sound_rate: hertz.
      seconds: longest piece, about: longer recordings are cut in equal pieces.
      labels: a CSV with columns file and label, and group where wanted; `file` is a path below the folder, or its end.
      groups: a regular expression; files for which it finds the same text (its first group, or all) are of one source.
        Pieces of one source never stand in two splits.
      test: part of the sources for the split "test"; the rest is "train".
      seed: of that choice.
      processes: that decode at once; as many as there are cores where None.
      beam: a runner of Apache Beam, with its options after it ('FlinkRunner --flink_master=HOST:8081'), that decodes
        and writes in place of processes here. Its workers need this package, and must see both folders under the same
        paths. The records are the same, in another order.
      verbose: 1 a progress bar, 0 nothing.

    Raises:
      UserError: no folder, nothing in it that can be decoded, a `to` that exists, a CSV or expression that is wrong.
    """
    given = IngestSettings(**locals())
    began = time.monotonic()
    folder, to = given.clips, given.to
    _check(folder, to)
    names = _listed(folder)
    label_of, group_of = _labels(folder, names, labels, groups)
    settings = {
        "size": size,
        "rate": rate,
        "sound_rate": sound_rate,
        "seconds": seconds,
        "folder": str(folder.resolve()),
    }
    work = to / WORK
    options = None if beam is None else beams.options(beam)
    _claim(work, settings)
    broken, found = _decoded(folder, names, work, settings, processes, options, verbose)
    if not found:
        shutil.rmtree(work)
        problem = next(iter(sorted(broken.items())))
        raise UserError(f"nothing in {folder} can be decoded; the first: {problem[0]} {problem[1]}")
    splits = _splits(sorted(found), group_of, test, seed)
    facts = {"frame_rate": rate, "sound_rate": sound_rate, "short_side": size, "broken": broken}
    # By names as the records have them.
    facts["groups"] = {name.replace(os.sep, "/"): group_of[name] for name in found if group_of[name] != name}
    _write(to, splits, found, label_of, facts, options)
    heard = sum(_has_sound(path) for paths in found.values() for path in paths)
    shutil.rmtree(work)
    return Ingested(
        folder=Path(to),
        clips={split: sum(len(found[name]) for name in chosen) for split, chosen in splits.items()},
        recordings={split: len(chosen) for split, chosen in splits.items()},
        with_sound=heard,
        seconds=round(time.monotonic() - began, 1),
        broken=broken,
    )


def _check(folder: Path, to: Path) -> None:
    try:
        import av  # noqa: F401
    except ImportError as problem:
        raise UserError("films are decoded by PyAV, which is not installed; pip install 'tfssl[video]'") from problem
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; expected one of films and sounds")
    others = [each for each in to.iterdir() if each.name != WORK] if to.is_dir() else []
    if others or (to.exists() and not to.is_dir()):
        raise UserError(f"{to} exists and is not empty; choose a new folder for --to")


def _listed(folder: Path) -> list[str]:
    endings = (*recordings.FILMS, *recordings.SOUNDS)
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix.lower() in endings and path.is_file() and not path.name.startswith(".")
    )
    if not names:
        raise UserError(
            f"no film and no sound in {folder}; expected files that end in {', '.join(endings)}, at any depth"
        )
    return names


def _labels(
    folder: Path, names: Sequence[str], table: str | Path | None, groups: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Label ("" unknown) and source of each file."""
    label_of, group_of = dict.fromkeys(names, ""), {name: name for name in names}
    if table is None and all(os.sep in name for name in names):
        label_of = {name: name.split(os.sep)[0] for name in names}
    if groups is not None:
        group_of = dict(zip(names, groups_of_names(names, groups), strict=True))
    if table is not None:
        for row in _rows(Path(table)):
            given = row["file"].replace("/", os.sep)
            meant = [name for name in names if name == given or name.endswith(os.sep + given)]
            if len(meant) != 1:
                told = "is none" if not meant else f"could be {meant[0]} or {meant[1]}"
                raise UserError(f"{table}: the file {row['file']!r} {told} of those in {folder}; give paths below it")
            label_of[meant[0]] = row.get("label") or ""
            if row.get("group"):
                group_of[meant[0]] = row["group"]
    return label_of, group_of


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"--labels {path} cannot be read ({problem})") from problem
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise UserError(
            f"--labels {path} has no columns file and label; expected a CSV with a first line that names them"
        )
    return rows


def _claim(work: Path, settings: dict[str, Any]) -> None:
    """Makes the folder of decoded pieces, or finds it from before. UserError where it was begun with other settings."""
    path = work / "settings.json"
    if path.exists():
        found = json.loads(path.read_text())
        if found != settings:
            differ = next(key for key in settings if found.get(key) != settings[key])
            raise UserError(
                f"{work.parent} holds an interrupted ingest with {differ} {found.get(differ)!r}, now"
                f" {settings[differ]!r} is given; give the same, or another --to"
            )
    else:
        write_json(path, settings)


def _decoded(
    folder: Path,
    names: Sequence[str],
    work: Path,
    settings: dict[str, Any],
    processes: int | None,
    options: Any,
    verbose: int,
) -> tuple[dict[str, str], dict[str, tuple[Path, ...]]]:
    """Decodes what is not decoded yet: what is broken, and the files of the pieces of each recording."""
    places = {name: work / hashlib.sha256(name.encode()).hexdigest()[:32] for name in names}
    missing = [name for name in names if not (places[name] / "done.json").exists()]
    jobs = [(str(folder / name), str(places[name]), settings) for name in missing]
    if verbose and len(missing) < len(names):
        done = f"{len(names) - len(missing)} of {len(names)}"
        print(f"going on: {done} recordings are decoded already", file=sys.stderr)
    if jobs and options is not None:
        apache_beam = beams.require()
        with apache_beam.Pipeline(options=options) as pipeline:
            pipeline | apache_beam.Create(jobs) | apache_beam.Reshuffle() | apache_beam.Map(_decode_to)
    elif jobs:
        import keras

        bar = keras.utils.Progbar(len(jobs), verbose=verbose, unit_name="recording")
        count = min(processes or os.cpu_count() or 1, len(jobs))
        # Spawned: a fork of a process in which TensorFlow runs may hang.
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(count, mp_context=context) as pool:
            for _ in pool.map(_decode_to, jobs):
                bar.add(1)
    broken, found = {}, {}
    for name, place in places.items():
        done = json.loads((place / "done.json").read_text())
        if done["broken"]:
            broken[name] = done["broken"]
        else:
            found[name] = tuple(place / f"{number}.npz" for number in range(done["pieces"]))
    return broken, found


def _decode_to(job: tuple[str, str, dict[str, Any]]) -> None:
    """Decodes one recording to a folder of its own, in which done.json is written last."""
    path, place, settings = Path(job[0]), Path(job[1]), job[2]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    result: dict[str, Any] = {"broken": "", "pieces": 0}
    try:
        whole = recordings.decode(path, settings["size"], settings["rate"], settings["sound_rate"])
        for piece in recordings.pieces(whole, settings["seconds"], settings["sound_rate"]):
            piece.write(place / f"{result['pieces']}.npz")
            result["pieces"] += 1
    except recordings.BrokenRecordingError as problem:
        result["broken"] = str(problem)
    write_json(place / "done.json", result)


def _splits(names: Sequence[str], group_of: dict[str, str], test: float, seed: int) -> dict[str, list[str]]:
    """Names by split; all of one source in one. At least one source in "test" where any is wanted and there are two."""
    sources = sorted({group_of[name] for name in names})
    count = round(test * len(sources))
    if test > 0 and len(sources) > 1:
        count = min(max(count, 1), len(sources) - 1)
    chosen = {sources[place] for place in np.random.default_rng(seed).permutation(len(sources))[:count]}
    splits = {
        "train": [name for name in names if group_of[name] not in chosen],
        "test": [name for name in names if group_of[name] in chosen],
    }
    return {split: found for split, found in splits.items() if found}


def _write(
    to: Path,
    splits: dict[str, list[str]],
    found: dict[str, tuple[Path, ...]],
    label_of: dict[str, str],
    facts: dict[str, Any],
    options: Any,
) -> None:
    """Writes the records beside, and moves them into place when they are whole."""
    import tensorflow_datasets as tfds

    from tfssl.pipelines.clips.tfds_builder import Clips, Recording

    classes = sorted({label_of[name] for names in splits.values() for name in names} - {""})
    listed = {
        split: [Recording(name.replace(os.sep, "/"), label_of[name], found[name]) for name in names]
        for split, names in splits.items()
    }
    with write_errors(to), tempfile.TemporaryDirectory(dir=to, prefix=".") as building:
        builder = Clips(splits=listed, classes=classes, facts=facts, beam=options is not None, data_dir=building)
        # Without a runner of its own TensorFlow Datasets takes the one that the options name.
        download = None if options is None else tfds.download.DownloadConfig(beam_options=options)
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):  # it says where it writes, a name that is gone when it ends
            builder.download_and_prepare(download_config=download)
        (Path(building) / "clips").rename(to / "clips")


def _has_sound(path: Path) -> bool:
    return len(recordings.Piece.read(path).sound) > 0
