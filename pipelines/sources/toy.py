"""The toy world as data: 'toy:images', 'toy:clips', 'toy:text', alone or with settings, drawn from a seed.

Pictures and clips are held in memory.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base import specs
from tfssl.base.errors import UserError
from tfssl.pipelines.clips import record
from tfssl.pipelines.clips.recordings import THUMBNAIL, Piece
from tfssl.pipelines.sources.clips import ClipSource, open_records
from tfssl.pipelines.sources.pictures import PictureSource, in_memory
from tfssl.pipelines.sources.source import AnySource
from tfssl.pipelines.sources.text import TextSource, text_of_examples

FRAME_RATE, SOUND_RATE = 12.5, 16000
"""Rates of toy clips: frames a second, and hertz."""
QUALITY = 95
"""Quality of the JPEGs of toy data."""


@dataclasses.dataclass(frozen=True)
class ToyImages:
    """'toy:images(count=2000, size=64, seed=0, start=0)'.

    Attributes:
      count: number of pictures.
      size: the size of their sides, pixels.
      seed: the seed of the world.
      start: number of the first scene: other numbers are other scenes of the same world.
    """

    count: int = 2000
    size: int = 64
    seed: int = 0
    start: int = 0


@dataclasses.dataclass(frozen=True)
class ToyClips:
    """'toy:clips(count=200, size=64, seconds=2.0, seed=0, start=0)'.

    Attributes:
      count: number of clips.
      size: the size of the sides of their frames, pixels.
      seconds: that each lasts.
      seed, start: as of `ToyImages`.
    """

    count: int = 200
    size: int = 64
    seconds: float = 2.0
    seed: int = 0
    start: int = 0


@dataclasses.dataclass(frozen=True)
class ToyText:
    """'toy:text(count=2000, seed=0, start=0)': sentences of `toy_world.sentences`.

    Attributes:
      count: number of sentences.
      seed, start: as of `ToyImages`.
    """

    count: int = 2000
    seed: int = 0
    start: int = 0


AnyToy = ToyImages | ToyClips | ToyText
KINDS: dict[str, type[AnyToy]] = {"images": ToyImages, "clips": ToyClips, "text": ToyText}


def parse_toy(text: str) -> AnyToy:
    """Parse 'toy:images(count=100)' as its settings.

    Raises:
      UserError: no such kind, an unknown setting, or one out of range.
    """
    kind, given = specs.parse_call(text.removeprefix("toy:"))
    if kind not in KINDS:
        raise specs.unknown("toy source", kind, KINDS)
    specs.check_settings(f"toy:{kind}", given, specs.defaults(KINDS[kind]))
    settings = KINDS[kind](**given)
    if isinstance(settings, ToyText):
        if settings.count < 1:
            raise UserError(f"{text}: expected a count of at least 1")
    elif settings.count < 1 or settings.size < 16:
        raise UserError(f"{text}: expected a count of at least 1 and a size of at least 16 pixels")
    if isinstance(settings, ToyClips) and not settings.seconds > 0:
        raise UserError(f"{text}: expected clips of more than 0 seconds")
    return settings


def parse_toy_clips(text: str) -> ToyClips:
    """Parse 'toy:clips(count=50, seed=1)' as its settings, for measurements where the answers are known.

    Raises:
      UserError: something else, an unknown setting, or one out of range.
    """
    settings = parse_toy(text) if text.startswith("toy:") else None
    if not isinstance(settings, ToyClips):
        raise UserError(f"{text} is given, expected 'toy:clips(count=100, seed=1)': only there the answers are known")
    return settings


def open_toy(data: Any) -> AnySource | None:
    """Open pictures, clips or sentences of the toy world; return None for another name.

    Raises:
      UserError: see `parse_toy`.
    """
    text = str(data)
    if not text.startswith("toy:"):
        return None
    settings = parse_toy(text)
    if isinstance(settings, ToyText):
        return _open_text(text, settings)
    return _open_clips(text, settings) if isinstance(settings, ToyClips) else _open_images(text, settings)


def _open_text(text: str, settings: ToyText) -> TextSource:
    from tfssl.pipelines.toy_world import sentences

    def drawn() -> Iterator[bytes]:
        return (line.encode() for line in sentences.sentences(**dataclasses.asdict(settings)))

    facts = [repr(settings), sentences.SHAPES, sentences.WORD_CLASSES]
    made = text_of_examples(text, facts, drawn)
    return dataclasses.replace(made, word_classes=sentences.WORD_CLASSES)


@functools.lru_cache(maxsize=4)
def _open_images(text: str, settings: ToyImages) -> PictureSource:
    from tfssl.pipelines import toy_world

    scenes = toy_world.scenes(**dataclasses.asdict(settings))
    encoded = list(
        tf.data.Dataset.from_tensor_slices(scenes.image)
        .map(tf.io.encode_png, num_parallel_calls=tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
    return in_memory(text, encoded, list(scenes.label), toy_world.CLASSES)


def _open_clips(text: str, settings: ToyClips) -> ClipSource:
    from tfssl.pipelines.toy_world import CLASSES

    encoded = list(_draw_records(settings))
    digest = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in encoded)).hexdigest()
    return open_records(
        text, CLASSES, frame_rate=FRAME_RATE, sound_rate=SOUND_RATE, fingerprint=digest, encoded=encoded
    )


@functools.lru_cache(maxsize=4)
def _draw_records(settings: ToyClips) -> tuple[bytes, ...]:
    numbers = range(settings.start, settings.start + settings.count)
    return tuple(_draw_record(number, settings) for number in numbers)


def _draw_record(number: int, settings: ToyClips) -> bytes:
    from tfssl.pipelines.toy_world import clip

    drawn = clip(
        number,
        seed=settings.seed,
        seconds=settings.seconds,
        frame_rate=FRAME_RATE,
        size=settings.size,
        sample_rate=SOUND_RATE,
    )
    frames = [tf.io.encode_jpeg(frame, quality=QUALITY, chroma_downsampling=False).numpy() for frame in drawn.frames]
    small = tf.image.resize(drawn.frames, [THUMBNAIL, THUMBNAIL], "area").numpy().round().astype(np.uint8)
    times = np.arange(len(frames), dtype=np.float32) / FRAME_RATE
    sound = np.round(np.clip(drawn.sound, -1, 1) * 32767).astype(np.int16)
    piece = Piece(frames, small, times, sound, 0.0)
    return record.write(record.of_piece(piece, int(drawn.label), f"toy#{number}", 0))
