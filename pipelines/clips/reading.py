"""Films and sounds as PyAV opens them: the frames of a stream in order, each with a time, past what is damaged.

No TensorFlow here: processes that decode start at once.
"""

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RATE_UNKNOWN = 25
"""Frames a second of a film that does not say it: what FFmpeg takes."""
LARGEST_ASPECT = 8
"""A pixel that is more times as wide as high, or as high as wide, is an error in the header of a film."""


def open_file(path: Path) -> Any:
    """Open a film or sound. Raise FFmpegError, OSError or ValueError where FFmpeg cannot."""
    import av

    # Without "file:" FFmpeg takes what stands before a colon for a protocol. Titles may be in any encoding.
    return av.open(f"file:{path}", metadata_errors="replace")


def film_of(container: Any) -> Any:
    """Return the first stream of pictures that is film and can be decoded; None where there is none."""
    return next((each for each in container.streams.video if each.codec_context and not _is_cover(each)), None)


def sound_of(container: Any) -> Any:
    """Return the sound track that FFmpeg takes by itself; None where there is none, or it cannot be decoded."""
    sound = container.streams.best("audio")
    return sound if sound is not None and sound.codec_context else None


class Reader:
    """Reads some streams of an open film or sound to the end.

    As FFmpeg does, it goes on behind a packet that cannot be decoded, each stream for itself.
    """

    def __init__(self, container: Any, streams: list[Any]):
        self._container, self._streams = container, streams
        self._packets: collections.Counter[str] = collections.Counter()
        self._lost: collections.Counter[str] = collections.Counter()
        self._ends_early = False
        self._last: dict[int, int] = {}

    def packets(self) -> Iterator[Any]:
        """Yield the packets, and an empty one of each stream at the end, which makes its decoder give what it holds."""
        import av

        try:
            for packet in self._container.demux(self._streams):
                self._packets[packet.stream.type] += packet.size > 0
                yield packet
        except (av.error.FFmpegError, OSError):  # from here on FFmpeg reads no more either
            self._ends_early = True
            for stream in self._streams:
                packet = av.Packet()
                packet.stream, packet.time_base = stream, stream.time_base
                yield packet

    def decode(self, packet: Any) -> list[Any]:
        """Decode a packet; those frames of a film that have no time get one: see `_count`."""
        import av

        stream = packet.stream
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            self.lose(stream.type)
            return []
        if stream.type == "video":
            for frame in frames:
                self._count(frame, stream)
        return frames

    def lose(self, kind: str) -> None:
        """Count a packet of a stream of this kind, "video" or "audio", that is of no use."""
        self._lost[kind] += 1

    def _count(self, frame: Any, stream: Any) -> None:
        """Let a frame come one interval after the frame before it where it has no time, or none that rises.

        Raw H.264 and HEVC have no times. AVI has the order in which frames are decoded, of which FFmpeg guesses that in
        which they are shown, wrongly where B-frames refer to B-frames.
        """
        last = self._last.get(stream.index)
        if frame.pts is None or (last is not None and frame.pts <= last):
            rate = stream.guessed_rate or stream.average_rate or RATE_UNKNOWN
            frame.time_base = frame.time_base or stream.time_base
            frame.pts = 0 if last is None else last + max(1, round(1 / (rate * frame.time_base)))
        self._last[stream.index] = frame.pts

    def damage(self) -> list[str]:
        """Say what could not be read so far; each phrase goes on from the file's name."""
        lost = [
            f"{self._lost[kind]} of {self._packets[kind]} packets of {name}"
            for kind, name in (("video", "film"), ("audio", "sound"))
            if self._lost[kind]
        ]
        lines = [f"lost {' and '.join(lost)} to damage"] if lost else []
        return lines + ["cannot be read to its end"] * self._ends_early


class Resampler:
    """Changes the format of sound, also of a stream whose own format changes on the way, as that of broadcasts does."""

    def __init__(self, sample_format: str, layout: str, sample_rate: int):
        self._makes = sample_format, layout, sample_rate
        self._takes: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def resample(self, frame: Any) -> list[Any]:
        """Return frames of sound in the new format. None in place of a frame gives what is left at the end."""
        import av

        if frame is None:
            return self._resampler.resample(None) if self._resampler else []
        takes, before = (frame.format.name, frame.layout.name, frame.sample_rate), []
        if takes != self._takes:
            before = self.resample(None)
            self._resampler, self._takes = av.AudioResampler(*self._makes), takes
        return before + self._resampler.resample(frame)


def shown_size(frame: Any, stream: Any) -> tuple[int, int]:
    """Return width and height of a frame in square pixels, before it is turned upright.

    Films of discs, tapes and broadcasts have pixels that are not square: they say how wide one is to be shown.
    The longer side of a pixel is stretched to, so that nothing is lost. Sides are even, as codecs want them.
    """
    width, height, aspect = frame.width, frame.height, stream.sample_aspect_ratio
    if not aspect or not 1 / LARGEST_ASPECT <= aspect <= LARGEST_ASPECT:
        return width, height
    if aspect > 1:
        return _stretched(width, aspect), height
    return width, _stretched(height, 1 / aspect)


def _stretched(side: int, factor: Any) -> int:
    return side if round(side * factor) == side else 2 * round(side * factor / 2)


def _is_cover(stream: Any) -> bool:
    """Say whether a stream is the picture on the cover of a sound file, not film."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)
