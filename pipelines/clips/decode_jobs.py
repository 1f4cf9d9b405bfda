"""Recordings decoded to pieces on disk, by processes here or by Apache Beam; what is done once is not done again.

Each recording has a folder, in which done.json is written last: so what an interruption left half made is made anew.
Processes that decode import no TensorFlow.
"""

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfssl.base import beam as beams
from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.pipelines.clips import recordings
from tfssl.pipelines.progress import Progress


def claim(work: Path, settings: dict[str, Any]) -> None:
    """Make or reuse the folder of decoded pieces. Raise UserError where it was begun with other settings."""
    path = work / "settings.json"
    if path.exists():
        earlier = json.loads(path.read_text())
        if earlier != settings:
            differ = next(key for key in settings if earlier.get(key) != settings[key])
            words = "frame_rate" if differ == "rate" else differ
            raise UserError(
                f"{work.parent} holds an interrupted ingest with {words} {earlier.get(differ)!r}, now"
                f" {settings[differ]!r} is given; give the same, or another --out"
            )
    else:
        write_json(path, settings)


def decode_missing(
    folder: Path,
    names: Sequence[str],
    work: Path,
    settings: dict[str, Any],
    processes: int | None,
    options: Any,
    verbose: int,
) -> tuple[dict[str, str], dict[str, str], dict[str, tuple[Path, ...]]]:
    """Decode what is not decoded yet.

    Returns:
      What is broken and what is damaged, name -> what is wrong, and the files of the pieces of each recording.
    """
    places = {name: work / hashlib.sha256(os.fsencode(name)).hexdigest()[:32] for name in names}
    missing = [name for name in names if not (places[name] / "done.json").exists()]
    how = {key: value for key, value in settings.items() if key != "folder"}
    # Bytes, as names need not be UTF-8, and Beam sends text as that.
    jobs = [(os.fsencode(folder / name), str(places[name]), how) for name in missing]
    if verbose and len(missing) < len(names):
        done = f"{len(names) - len(missing)} of {len(names)}"
        print(f"resuming: {done} recordings are decoded already", file=sys.stderr)
    if jobs and options is not None:
        apache_beam = beams.require()
        with apache_beam.Pipeline(options=options) as pipeline:
            pipeline | apache_beam.Create(jobs) | apache_beam.Reshuffle() | apache_beam.Map(_decode_to)
    elif jobs:
        count = min(processes or os.cpu_count() or 1, len(jobs))
        # Spawned: a fork of a process in which TensorFlow runs may hang.
        context = multiprocessing.get_context("spawn")
        with (
            Progress("recordings decoded", str(folder), len(jobs), verbose) as progress,
            concurrent.futures.ProcessPoolExecutor(count, mp_context=context) as pool,
        ):
            for _ in pool.map(_decode_to, jobs):
                progress.add(1)
    broken, damaged, pieces = {}, {}, {}
    for name, place in places.items():
        done = json.loads((place / "done.json").read_text())
        if done["broken"]:
            broken[name] = done["broken"]
        else:
            pieces[name] = tuple(place / f"{number}.npz" for number in range(done["pieces"]))
            if done.get("damage"):
                damaged[name] = done["damage"]
    return broken, damaged, pieces


def _decode_to(job: tuple[bytes, str, dict[str, Any]]) -> None:
    """Decode one recording to a folder of its own, in which done.json is written last."""
    path, place, settings = Path(os.fsdecode(job[0])), Path(job[1]), job[2]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    result: dict[str, Any] = {"broken": "", "damage": "", "pieces": 0}
    try:
        whole = recordings.decode(path, settings["size"], settings["rate"], settings["sound_rate"])
        result["damage"] = whole.damage
        for piece in recordings.pieces(whole, settings["seconds"], settings["sound_rate"]):
            piece.write(place / f"{result['pieces']}.npz")
            result["pieces"] += 1
    except recordings.BrokenRecordingError as problem:
        result["broken"] = str(problem)
    write_json(place / "done.json", result)
