"""Recordings (films and sounds of any kind) to frames with their times and sound with its own, on one clock, by PyAV.

No TensorFlow here: processes that decode start at once.
"""

import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.pipelines.clips import reading
from tfssl.pipelines.sources import walking

FILMS = (".mp4", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".mov", ".ogv", ".wmv")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
QUALITY = 90  # of JPEG
THUMBNAIL = 16
"""Side of thumbnails, pixels: small pictures of all frames, by which motion is found without decoding."""
LARGEST_GAP = 0.05
"""Seconds without sound inside of a sound track that are filled with silence; less is rounding of time stamps."""
LONGEST_GAP = 600.0
"""Seconds; a longer one is a broken time stamp, not silence."""
SAY_THEIR_LENGTH = ("mp4", "matroska", "avi", "asf", "wav")
"""Formats whose header says how long a recording is; of others FFmpeg guesses it."""
EARLY = 1.0
"""Seconds by which a recording must end too early to be called cut off: headers are not exact."""


class BrokenRecordingError(Exception):
    """The error of a recording of which nothing can be used; it says why."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a recording.

    Attributes:
      frames: JPEGs, upright.
      thumbnails: uint8 [T, 16, 16, 3], the frames as means over 16 x 16 cells, whatever their shape.
      times: float32 [T], seconds on the recording's clock, rising.
      sound: int16 [n], mono; empty where there is none.
      sound_start: time of its first sample, seconds on the same clock.
      damage: of a whole recording, what of it is lost, a phrase that goes on from the file's name; "" where nothing is.
        It is not written.
    """

    frames: list[bytes]
    thumbnails: np.ndarray
    times: np.ndarray
    sound: np.ndarray
    sound_start: float
    damage: str = ""

    def write(self, path: Path) -> None:
        """Write the piece as .npz, without pickles."""
        joined = np.frombuffer(b"".join(self.frames), np.uint8)
        ends = np.cumsum([len(frame) for frame in self.frames], dtype=np.int64)
        with open(path, "wb") as file:  # np.savez would add an ending to the name
            rest = {key: getattr(self, key) for key in ("thumbnails", "times", "sound", "sound_start")}
            np.savez(file, joined=joined, ends=ends, **rest)

    @classmethod
    def read(cls, path: Path) -> "Piece":
        """Invert `write`."""
        with np.load(path) as file:
            frames = (
                [part.tobytes() for part in np.split(file["joined"], file["ends"][:-1])] if len(file["ends"]) else []
            )
            return cls(frames, file["thumbnails"], file["times"], file["sound"], float(file["sound_start"]))


def decode(path: Path, short_side: int, frame_rate: float, sound_rate: int) -> Piece:
    """Decode a whole recording.

    One frame is taken for every 1 / frame_rate seconds: the newest at that time, by time stamps, so that a variable
    frame rate comes out right; frames are never repeated, so a slower film stays as slow. Film that a phone took on its
    side is turned upright, and pixels that are not square are made so. Frames without a time are counted at the film's
    rate. The default sound track is taken (FFmpeg's choice), mixed down to mono. What is damaged or missing is passed
    over, in film and sound each for itself, and `damage` says it.

    Args:
      path: the path of a file that FFmpeg reads.
      short_side: pixels; larger frames are scaled down to it, smaller ones stay.
      frame_rate: frames a second.
      sound_rate: hertz.

    Raises:
      BrokenRecordingError: there is nothing to see and nothing to hear in it.
    """
    import av

    if unreadable := walking.problem_of(path):
        raise BrokenRecordingError(unreadable)
    try:
        container = reading.open_file(path)
    except (av.error.FFmpegError, OSError, ValueError) as problem:
        raise BrokenRecordingError(f"cannot be opened ({_reason(problem)})") from problem
    with container:
        film, sound = reading.film_of(container), reading.sound_of(container)
        streams = [each for each in (film, sound) if each is not None]
        if not streams:
            raise BrokenRecordingError("has neither film nor sound")
        if film is not None:
            # Not several frames at once: their errors come late, at the end all together, and hide what is left.
            film.thread_type = "SLICE"
        frames = _Frames(film, short_side, frame_rate)
        heard = _Sound(sound_rate)
        reader = reading.Reader(container, streams)
        for packet in reader.packets():
            for frame in reader.decode(packet):
                (frames if isinstance(frame, av.VideoFrame) else heard).add(frame)
        heard.end()
        damage = [*reader.damage(), *heard.damage(), *_cut_off(container, streams, max(frames.end, heard.end_time))]
    if not frames.jpegs and not heard.count:
        raise BrokenRecordingError("holds no frame and no sound that can be decoded")
    pcm = np.concatenate(heard.parts) if heard.parts else np.zeros(0, np.int16)
    small = np.asarray(frames.thumbnails, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3)
    times = np.asarray(frames.times, np.float32)
    return Piece(frames.jpegs, small, times, pcm, heard.start or 0.0, ", ".join(damage))


def _cut_off(container: Any, streams: list[Any], end: float) -> list[str]:
    """Say where a recording ends before the time that its header tells, as one does that was copied in part."""
    if not any(name in container.format.name for name in SAY_THEIR_LENGTH):
        return []
    lengths = [float(each.duration * each.time_base) for each in streams if each.duration is not None]
    length = max(lengths) if lengths else (container.duration or 0) / 1e6
    wanted = max(0, container.start_time or 0) / 1e6 + length
    return [f"ends at {end:.1f} s of {wanted:.1f} s"] if end < wanted - EARLY else []


def pieces(whole: Piece, seconds: float, sound_rate: int) -> Iterator[Piece]:
    """Cut a recording by time into pieces of equal length, of `seconds` at most by a half more."""
    starts = [whole.times[0]] if len(whole.times) else []
    ends = [whole.times[-1]] if len(whole.times) else []
    if len(whole.sound):
        starts.append(whole.sound_start)
        ends.append(whole.sound_start + len(whole.sound) / sound_rate)
    begin, length = min(starts), max(ends) - min(starts)
    count = max(1, round(length / seconds))
    for number in range(count):
        first, last = begin + number * length / count, begin + (number + 1) * length / count
        inside = (whole.times >= first) & ((whole.times < last) | (number == count - 1))
        from_sample = max(0, math.ceil((first - whole.sound_start) * sound_rate))
        to_sample = max(0, math.ceil((last - whole.sound_start) * sound_rate)) if number < count - 1 else None
        sound = whole.sound[from_sample:to_sample]
        places = np.flatnonzero(inside)
        if len(places) or len(sound):
            yield Piece(
                [whole.frames[place] for place in places],
                whole.thumbnails[inside],
                whole.times[inside],
                sound,
                whole.sound_start + from_sample / sound_rate if len(sound) else 0.0,
            )


class _Frames:
    """A sink that takes decoded frames in order and keeps those of the frame rate as JPEG."""

    def __init__(self, stream: Any, short_side: int, frame_rate: float):
        self.jpegs: list[bytes] = []
        self.thumbnails: list[np.ndarray] = []
        self.times: list[float] = []
        self.end = 0.0
        self._stream, self._short_side, self._interval = stream, short_side, 1 / frame_rate
        self._due: float | None = None
        self._shown: tuple[int, int] | None = None

    def add(self, frame: Any) -> None:
        time = self.end = frame.time
        if self._due is None:
            self._due = time
        if time >= self._due - 1e-3:  # time stamps are rounded to milliseconds
            # All of one size, as in FFmpeg, also where it changes on the way: training cuts one window from them.
            self._shown = self._shown or reading.shown_size(frame, self._stream)
            jpeg, thumbnail = _pictures(frame, self._shown, self._short_side)
            self.jpegs.append(jpeg)
            self.thumbnails.append(thumbnail)
            self.times.append(time)
            self._due += self._interval
            if self._due < time:  # after a gap the grid starts again from here
                self._due = time + self._interval


class _Sound:
    """A sink that takes decoded sound in order; gives 16 bit mono at one sample rate, with gaps filled by silence."""

    def __init__(self, sample_rate: int):
        self.parts: list[np.ndarray] = []
        self.count = 0
        self.start: float | None = None
        self._sample_rate, self._silence = sample_rate, 0.0
        self._resampler = reading.Resampler("s16", "mono", sample_rate)

    @property
    def end_time(self) -> float:
        return (self.start or 0.0) + self.count / self._sample_rate

    def add(self, frame: Any) -> None:
        if self.start is None:
            self.start = float(frame.time or 0.0)
        elif frame.time is not None:
            gap = frame.time - self.end_time
            if LARGEST_GAP < gap < LONGEST_GAP:
                self._take(np.zeros(round(gap * self._sample_rate), np.int16))
                self._silence += gap
        frame.pts = None  # the resampler would count a jump of time stamps itself
        for part in self._resampler.resample(frame):
            self._take(part.to_ndarray().reshape(-1))

    def end(self) -> None:
        for part in self._resampler.resample(None):
            self._take(part.to_ndarray().reshape(-1))

    def damage(self) -> list[str]:
        return [f"has no sound for {self._silence:.2f} s, where silence is put"] if self._silence else []

    def _take(self, part: np.ndarray) -> None:
        self.parts.append(part)
        self.count += len(part)


def _pictures(frame: Any, shown: tuple[int, int], short_side: int) -> tuple[bytes, np.ndarray]:
    """Return a frame as JPEG, upright and with square pixels, and its thumbnail."""
    from PIL import Image

    scale = min(1.0, short_side / min(shown))
    width, height = (max(1, round(side * scale)) for side in shown)
    pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise, degrees
    output = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(np.rot90(pixels, turns)))
    picture.save(output, "JPEG", quality=QUALITY)
    return output.getvalue(), np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def _reason(problem: BaseException) -> str:
    return (getattr(problem, "strerror", None) or str(problem) or type(problem).__name__).splitlines()[0].lower()
