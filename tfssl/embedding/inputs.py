"""What is embedded: pictures, clips or sounds by number, in batches from any number on."""

import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.embedding.encoders import Encoder
from tfssl.pipelines import batches
from tfssl.pipelines.clips import recordings, video_files
from tfssl.pipelines.sources import walking
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.pipelines.sources.sounds import is_folder_of_sounds, windows
from tfssl.pipelines.sources.splits import labels_of

UNDECODABLE = "cannot be decoded to its end"


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """A collection.

    Attributes:
      name: what the user called it.
      fingerprint: tells whether it is still the same.
      paths: name of each of its N items.
      labels: str or None of each; None without any.
      broken: what was left out when it was opened: name -> what is wrong.
      listed: how many there are, broken ones included.
      items: what they are called: "pictures".
      source: None for a folder of sounds.
      kind: of the encoder: "image" or "sound".
    """

    name: str
    fingerprint: str
    paths: list[str]
    labels: list[str | None] | None
    broken: dict[str, str]
    listed: int
    items: str
    source: AnySource | None
    kind: str

    def embeddings(self, encoder: Encoder, start: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield rows from number `start` on: float32 [b, D], anything where they are broken; and which are not."""
        if self.source is None:
            yield from _sounds(self.paths, encoder, start, batch_size)
        elif self.kind == "sound":
            for batch in batches.plain_sound(self.source, encoder.size, batch_size, start):
                yield encoder.function(batch["sound"]).numpy(), np.ones(len(batch["index"]), bool)
        else:
            for batch in batches.plain(self.source, encoder.size, batch_size, start):
                yield encoder.function(batch["image"]).numpy(), batch["valid"].numpy()


def open_inputs(data: Any, sound: bool, max_broken: float) -> Inputs:
    """Open what a user named.

    Args:
      data: anything that `open_source` takes, or a folder of sounds, whose first sub-folder is the label.
      sound: of clips, what is heard and not what is seen.
      max_broken: largest part that may be unreadable.

    Raises:
      UserError: no such data, nothing in it, clips without sound, pictures where sound is asked for.
    """
    if is_folder_of_sounds(data):
        return _folder_of_sounds(Path(data))
    source = open_source(data, max_broken)
    labels = None
    if source.labels is not None:
        labels = [source.classes[number] if number >= 0 else None for number in source.labels]
    paths = source.paths
    if sound:
        if not source.has_sound.any():
            raise UserError(f"{source.name} has no sound; leave --sound out, or give clips or a folder of sounds")
        heard = np.flatnonzero(source.has_sound)
        paths = [paths[number] for number in heard]
        labels = None if labels is None else [labels[number] for number in heard]
    return Inputs(
        name=source.name,
        fingerprint=source.fingerprint,
        paths=paths,
        labels=labels,
        broken=source.broken,
        listed=source.listed,
        items=source.items,
        source=source,
        kind="sound" if sound else "image",
    )


def _folder_of_sounds(folder: Path) -> Inputs:
    video_files.require()
    found = walking.walk(folder, recordings.SOUNDS)
    walking.say_unread(folder, found)
    walking.say_strays(folder, found.paths)
    # In the order of their folders, in which "a/x" comes before "a-b/x".
    sizes = sorted(zip(found.paths, found.sizes, strict=True), key=lambda each: each[0].split(os.sep))
    listing = "\n".join(f"{path} {size}" for path, size in sizes)
    inside = [path for path, _ in sizes if path not in found.problems]
    return Inputs(
        name=str(folder),
        fingerprint=hashlib.sha256(os.fsencode(listing)).hexdigest(),
        paths=[str(folder / path) for path in inside],
        labels=labels_of([path.split(os.sep) for path in inside]),  # type: ignore[arg-type]  # all known, or none
        broken={str(folder / path): problem for path, problem in found.problems.items()},
        listed=len(found.paths),
        items="sounds",
        source=None,
        kind="sound",
    )


def embed_sound(path: str, encoder: Encoder) -> np.ndarray | None:
    """Return the mean over a file's windows, which overlap by half: float32 [D]; None where it cannot be decoded."""
    return _mean(_cut(path, encoder), encoder)


def _cut(path: str, encoder: Encoder) -> np.ndarray | None:
    try:
        wave = recordings.decode(Path(path), 8, 1.0, encoder.sample_rate).sound
    except recordings.BrokenRecordingError:
        return None
    return windows(wave.astype(np.float32) / 32768, encoder.size) if len(wave) else None


def _mean(cut: np.ndarray | None, encoder: Encoder) -> np.ndarray | None:
    return None if cut is None else encoder.function(cut).numpy().mean(0)


def _sounds(paths: list[str], encoder: Encoder, start: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for first in range(start, len(paths), batch_size):
            decoded = pool.map(lambda path: _cut(path, encoder), paths[first : first + batch_size])
            rows = [_mean(cut, encoder) for cut in decoded]
            valid = np.array([row is not None for row in rows])
            nothing = np.zeros(encoder.dimensions, np.float32)
            yield np.stack([nothing if row is None else row for row in rows]), valid
