"""Records of clips changed for a probe: frozen, with marks that say when frames and sound are, one frame replaced."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfssl.pipelines.clips import record

LEVEL = 16384
"""Level of marked sound, of 32767: a task may change its loudness by half."""
WORD = 64
"""Samples in a row by whose signs a place is found."""


def frozen(records: np.ndarray) -> np.ndarray:
    """Freeze clips, bytes [B]: make all frames of each the one in its middle.

    Their times, thumbnails and sound stay, so the same puzzles are drawn of them. What still tells the order of such
    frames, or which one is in a puzzle, was not the picture: the task put it there.
    """
    return _each(records, lambda frames, number: [frames[len(frames) // 2]] * len(frames))


def frame_count(records: np.ndarray) -> int:
    """Count the frames of the clip that has most."""
    return max(len(record.read(each)["frames"]) for each in records)


def numbered(records: np.ndarray, count: int) -> np.ndarray:
    """Make the frames of clips, bytes [B], of one grey each: see `numbers_of`.

    Args:
      count: at least `frame_count`, at most 256.
    """
    greys = _levels(count)

    def flat(frames: list[bytes], row: int) -> list[bytes]:
        del row
        shape = tf.io.extract_jpeg_shape(frames[0]).numpy() if frames else (1, 1, 3)
        return [_jpeg(np.full((*shape[:2], 3), grey, np.uint8)) for grey in greys[: len(frames)]]

    return _each(records, flat)


def numbers_of(parts: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Say which frames of `numbered` clips pictures show.

    Args:
      parts: uint8 [Q, n, h, w, 3].
      count: as given to `numbered`.

    Returns:
      int [Q, n], and whether that is sure, bool [Q, n]: each is of one grey, as it was made.
    """
    greys = _levels(count)
    means = parts.astype(np.float64).mean((2, 3, 4))
    numbers = np.abs(means[..., None] - greys).argmin(-1)
    return numbers, (np.abs(means - greys[numbers]) < 0.5) & (np.ptp(parts, (2, 3, 4)) <= 1)


def with_frame(
    records: np.ndarray, place: int, change: Callable[[np.ndarray], np.ndarray], quality: int = 100
) -> np.ndarray:
    """Replace frame number `place` of clips, bytes [B], where there is one, by what `change` makes of it.

    Args:
      change: uint8 [1, h, w, 3] -> the same.
      quality: the quality of its JPEG.
    """

    def replaced(frames: list[bytes], row: int) -> list[bytes]:
        del row
        if place >= len(frames):
            return frames
        picture = tf.io.decode_jpeg(frames[place], channels=3).numpy()
        return [*frames[:place], _jpeg(change(picture[None])[0], quality), *frames[place + 1 :]]

    return _each(records, replaced)


class MarkedSound:
    """Clips whose sound says where in it one is: random signs, of which each run of 64 occurs once.

    Attributes:
      records: bytes [B].
    """

    def __init__(self, records: np.ndarray, seed: int = 0):
        rng = np.random.default_rng(seed)
        clips = [record.read(each) for each in records]
        words, places = [], []
        for row, clip in enumerate(clips):
            length = len(clip["sound"]) // 2
            if length < WORD:
                continue
            signs = rng.integers(0, 2, length).astype(bool)
            clip["sound"] = np.where(signs, LEVEL, -LEVEL).astype("<i2").tobytes()
            runs = _words(signs)
            words.append(runs)
            places.append(np.stack([np.full(len(runs), row), np.arange(len(runs))], 1))
        self.records = np.array([record.write(clip) for clip in clips], object)
        self._words = np.concatenate(words) if words else np.zeros(0, np.uint64)
        self._places = np.concatenate(places) if places else np.zeros((0, 2), int)
        order = np.argsort(self._words)
        self._words, self._places = self._words[order], self._places[order]

    def places_of(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find where sounds float32 [Q, samples] are cut from.

        Returns:
          int [Q], which clip; int [Q], the sample of it that is the first of the sound, below 0 where silence comes
          before it; bool [Q], whether that was found.
        """
        first = (sound != 0).argmax(1)
        first = np.minimum(first, sound.shape[1] - WORD)
        signs = sound[np.arange(len(sound))[:, None], first[:, None] + np.arange(WORD)] > 0
        wanted = _words(signs.reshape(-1))[::WORD]
        place = np.minimum(np.searchsorted(self._words, wanted), max(len(self._words) - 1, 0))
        if not len(self._words):
            nothing = np.zeros(len(sound), int)
            return nothing, nothing, nothing > 0
        return self._places[place, 0], self._places[place, 1] - first, self._words[place] == wanted


def _words(signs: np.ndarray) -> np.ndarray:
    """Return each run of 64 as one number: bool [n] -> uint64 [n - 63]."""
    count = len(signs) - WORD + 1
    words = np.zeros(count, np.uint64)
    for bit in range(WORD):
        words |= signs[bit : bit + count].astype(np.uint64) << np.uint64(bit)
    return words


def _levels(count: int) -> np.ndarray:
    return np.round(np.linspace(0, 255, max(count, 2))).astype(int)


def _jpeg(picture: np.ndarray, quality: int = 100) -> bytes:
    return tf.io.encode_jpeg(picture, quality=quality, chroma_downsampling=False).numpy()


def _each(records: np.ndarray, change: Callable[[list[bytes], int], list[bytes]]) -> np.ndarray:
    """Change the frames of records, bytes [B]: change(frames, row)."""
    results = []
    for row, each in enumerate(records):
        clip = record.read(each)
        if clip["frames"]:
            clip["frames"] = change(clip["frames"], row)
        results.append(record.write(clip))
    return np.array(results, object)
