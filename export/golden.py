"""Golden vectors: pictures with their embeddings, computed outside of the SavedModel, that travel with it."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.export import limits
from tfssl.pipelines import batches, clips
from tfssl.pipelines.sources import AnySource, ClipSource, open_source

COUNT = 12
NO_PICTURE = b"this is no picture"
"""The last of the pictures: what is no picture must be told as such, and leave its neighbours alone."""


@dataclasses.dataclass(frozen=True)
class Golden:
    """Inputs and outputs of an encoder.

    Attributes:
      encoded: bytes of N pictures.
      pixels: uint8 [N, S, S, 3], zeros where a picture is none.
      valid: bool [N].
      embedding: float32 [N, D], zeros where a picture is none.
      waveform: float32 [M, samples], where there is a sound encoder; else empty.
      sound_embedding: float32 [M, D].
    """

    encoded: list[bytes]
    pixels: np.ndarray
    valid: np.ndarray
    embedding: np.ndarray
    waveform: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))
    sound_embedding: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def write(self, path: Path) -> None:
        """Writes an .npz without pickles: the bytes are `encoded` uint8, one picture after another up to its `end`."""
        joined = np.frombuffer(b"".join(self.encoded), np.uint8)
        end = np.cumsum([len(one) for one in self.encoded])
        rest = {key: value for key, value in vars(self).items() if key != "encoded"}
        np.savez(path, encoded=joined, end=end, **rest)


def read_golden(path: Path) -> Golden:
    """The inverse of `Golden.write`. Raises OSError, ValueError or KeyError where it is not readable."""
    with np.load(path) as file:
        parts = np.split(file["encoded"], file["end"][:-1])
        names = [field.name for field in dataclasses.fields(Golden) if field.name != "encoded" and field.name in file]
        return Golden([part.tobytes() for part in parts], **{name: file[name] for name in names})


def own_source(data: Mapping[str, Any]) -> AnySource | None:
    """The source that a run learned from, by name, if it is still the same; else None, and the log says so."""
    try:
        source = open_source(data["name"], max_broken=1.0)
        # A name alone does not do: that of a data set made in Python may be some folder here.
        if source.fingerprint == data["fingerprint"]:
            return source
        problem = "has changed since"
    except (UserError, OSError):
        problem = "cannot be opened"
    logging.getLogger("tfssl").warning(
        "%s, which the run learned from, %s: the toy world stands in", data["name"], problem
    )
    return None


def make_golden(
    encoder: keras.Model, source: AnySource | None, size: int, sound_encoder: keras.Model | None = None
) -> Golden:
    """A dozen pictures and their embeddings, and of sound too where there is an encoder for it.

    Args:
      encoder: uint8 [N, size, size, 3] -> float32 [N, D].
      source: of the pictures and sounds; the toy world where None.
      size: pixels of a side.
      sound_encoder: float32 [M, samples] -> float32 [M, D].
    """
    encoded = [*_some_pictures(source, COUNT - 1), NO_PICTURE]
    images, valid = limits.pictures(tf.constant(encoded), size)
    embedding = encoder(images, training=False).numpy() * valid.numpy()[:, None]
    golden = Golden(encoded, images.numpy(), valid.numpy(), embedding)
    if sound_encoder is None:
        return golden
    waves = _some_sounds(source, sound_encoder.input_shape[1], COUNT)
    return dataclasses.replace(golden, waveform=waves, sound_embedding=sound_encoder(waves, training=False).numpy())


def _some_pictures(source: AnySource | None, count: int) -> list[bytes]:
    """Encoded pictures, spread over a source; small files are preferred, as they travel with the model."""
    found = _read(source, count) if source is not None else []
    return found or _read(open_source(f"toy:images(count={count})"), count)


def _some_sounds(source: AnySource | None, samples: int, count: int) -> np.ndarray:
    """Waveforms float32 [count or fewer, samples] of a source of clips."""
    own = isinstance(source, ClipSource) and source.has_sound.any()
    clips_of: Any = source if own else open_source(f"toy:clips(count={count}, size=16)")
    return next(iter(batches.plain_sound(clips_of, samples, count)))["sound"].numpy()


def _read(source: AnySource, count: int) -> list[bytes]:
    numbers = np.unique(np.linspace(0, source.count - 1, 4 * count).round().astype(int))
    if isinstance(source, ClipSource):
        records = source.reader().records(tf.constant(numbers, tf.int64))
        given = clips.parse(records)
        found = [given[number] for number in range(len(numbers))]
        return sorted((each.frames(each.count // 2).numpy() for each in found if each.count), key=len)[:count]
    if source.encoded is not None:
        encoded = [source.encoded[number] for number in numbers]
    else:
        small = sorted(numbers, key=lambda number: Path(source.paths[number]).stat().st_size)[:count]
        encoded = [Path(source.paths[number]).read_bytes() for number in small]
    return sorted(encoded, key=len)[:count]
