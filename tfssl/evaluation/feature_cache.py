"""Features on disk: what one evaluation made, the next protocol reads. Where they lie: `base.files.cache_folder`."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from tfssl.base import environment
from tfssl.base.files import cache_folder
from tfssl.base.result import Result
from tfssl.evaluation.config import CacheSettings
from tfssl.evaluation.on_disk import RowsOnDisk
from tfssl.frozen.features import Features
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.pipelines.text.corpus import RECORD

FORMAT = 1
LIMIT = 8 << 30
"""Bytes that features take at most: of the entries that were read longest ago."""
LARGE = 1 << 30
"""Bytes of an array from which on it stays on disk, and is read in parts."""
CONTENT = "content.json"
NETWORKS, CHOSEN = "networks", "chosen.json"
"""Folder of what came of networks that an evaluation trained, and what each of them has once it was measured."""
SENSED = 4
"""Pictures of noise whose features tell one network from another of the same weights."""


def network_of(model: keras.Model) -> str:
    """Return a hash of a network: its weights, and what it makes of a few pictures of noise.

    Names of layers, and so its configuration, differ from process to process.

    Args:
      model: a `features.stage_model`.
    """
    noise = np.random.default_rng(0).integers(0, 256, (SENSED, *model.input.shape[1:])).astype(np.uint8)
    digest = hashlib.sha256()
    for value in (*model.get_weights(), *(out.numpy() for _, out in sorted(model(noise, training=False).items()))):
        digest.update(str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def key_of(network: str, places: Mapping[str, Sequence[int]], source: AnySource, size: int, frames: int) -> str:
    """Tell apart all that features depend on: network, places, data, size, frames, versions.

    Files are known by the time of their last change too: their names and sizes may stay the same.

    Args:
      network: of `network_of`.
      places: stage -> how many places a side its map is averaged to.
    """
    facts = {
        "format": FORMAT,
        "versions": environment.versions(),
        "network": network,
        "places": {stage: list(sides) for stage, sides in places.items()},
        "size": size,
        "frames": frames,
        "data": source.fingerprint,
        "changed": times_of(source),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def times_of(source: AnySource) -> str:
    """Return a hash of the times at which the files of a source were changed; "" where it is held in memory."""
    digest = hashlib.sha256()
    if source.encoded is not None:
        return ""
    for path in source.paths:
        with contextlib.suppress(OSError):  # a place within a larger file
            digest.update(str(os.stat(path).st_mtime_ns).encode())
    return digest.hexdigest()


def read(key: str) -> Features | None:
    """Read features; None where there are none. Large arrays stay on disk: see `RowsOnDisk`.

    Pictures that could not be decoded are counted as they were.
    """
    folder = _folder() / key
    try:
        content = json.loads((folder / CONTENT).read_text())
        stages: dict[str, dict[int, np.ndarray | RowsOnDisk]] = {}
        for name, stage, side in content["arrays"]:
            path = folder / name
            large = path.stat().st_size > LARGE
            stages.setdefault(stage, {})[side] = RowsOnDisk(path) if large else np.load(path)
        features = Features(stages, np.load(folder / "rows.npy"), content["broken"])
        os.utime(folder)
    except (OSError, ValueError, EOFError, KeyError):
        return None
    return features


def write(key: str, features: Features) -> None:
    """Keep features. A cache must stop nobody: where there is no home, or the disk is full, they are not kept."""
    arrays = [(stage, side, value) for stage, sides in features.stages.items() for side, value in sides.items()]
    wanted = sum(value.nbytes for *_, value in arrays)
    root = _folder()
    if wanted > LIMIT or not root.is_absolute():
        return
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        _make_room(wanted)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=root))
        try:
            names = []
            for number, (stage, side, value) in enumerate(arrays):
                names.append((f"{number}.npy", stage, side))
                np.save(temporary / names[-1][0], value)
            np.save(temporary / "rows.npy", features.rows)
            content = {"format": FORMAT, "arrays": names, "broken": features.broken}
            (temporary / CONTENT).write_text(json.dumps(content))
            temporary.rename(root / key)  # fails where another process was faster
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _make_room(wanted: int) -> None:
    """Remove the entries that were read longest ago until there is room for so many bytes."""
    entries = sorted((path.stat().st_mtime, _size(path), path) for path in _folder().iterdir() if path.is_dir())
    taken = sum(size for _, size, _ in entries)
    for _, size, path in entries:
        if taken + wanted <= LIMIT:
            break
        shutil.rmtree(path, ignore_errors=True)
        taken -= size


def _folder() -> Path:
    return cache_folder() / "features"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@dataclasses.dataclass(frozen=True)
class Cache(Result):
    """What is kept between commands.

    Attributes:
      folder: where; the environment variable XDG_CACHE_HOME moves it.
      entries: features of so many parts of data.
      networks: answers of so many networks that an evaluation trained.
      texts: words of so many texts, as numbers.
      bytes: that the folder takes, with what `jigsaw` keeps of its permutations, and networks that were interrupted.
      limit: bytes that features take at most.
      cleared: whether it has just been emptied; then the numbers are of before.
    """

    folder: Path
    entries: int
    networks: int
    texts: int
    bytes: int
    limit: int
    cleared: bool

    def __str__(self) -> str:
        parts = "part" if self.entries == 1 else "parts"
        networks = f", answers of {self.networks} network{'s' * (self.networks > 1)}" if self.networks else ""
        texts = f", words of {self.texts} text{'s' * (self.texts > 1)}" if self.texts else ""
        held = f"features of {self.entries} {parts} of data{networks}{texts}, {self.bytes / 2**20:,.1f} MiB"
        if self.cleared:
            return f"{self.folder} is empty now; it held {held}"
        return f"{self.folder} holds {held} of at most {self.limit / 2**30:g} GiB; tfssl cache --clear empties it"


def cache(clear: bool = False) -> Cache:
    """Say what is kept between commands, and where.

    Args:
      clear: remove it all. What a command reads at that moment it makes again.
    """
    settings = CacheSettings(**locals())
    folder = cache_folder()
    found = [path for path in _folder().glob("*") if (path / CONTENT).is_file()]
    trained = len(list((folder / NETWORKS).glob(f"*/{CHOSEN}")))
    size = _size(folder) if folder.is_dir() else 0
    if settings.clear:
        for path in folder.glob("*") if folder.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    texts = len(list((folder / "text").glob(f"*/{RECORD}")))
    return Cache(folder, len(found), trained, texts, size, LIMIT, settings.clear)
