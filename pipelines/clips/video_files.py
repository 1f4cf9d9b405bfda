"""Films, frame by frame, with PyAV, which is FFmpeg. Needs the extra `video`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.clips import reading

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv")
BT601 = 5  # FFmpeg's number of the matrix that it makes YUV of RGB with, if nothing else is asked for
QUALITY = "18"
"""Constant rate factor of H.264: the difference is hardly seen."""
COPIED = ("aac", "mp3", "ac3", "opus", "flac")
"""Sound that players find in MP4; other kinds are encoded anew, as AAC."""
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
AAC_LAYOUTS = {1: "mono", 6: "5.1"}
"""Layout of so many channels; of others two are made."""

Progress = Callable[[int, int | None], None]
ChangeFrame = Callable[[np.ndarray, float], np.ndarray]


def is_film(path: Path) -> bool:
    """Say whether a file is a film, by the ending of its name."""
    return path.suffix.lower() in ENDINGS


def change(source: Path, target: Path, change_frame: ChangeFrame, progress: Progress) -> str:
    """Write a film whose frames are changed one by one; times of frames and sound stay as they are.

    Frames are as a player shows them: upright, and with square pixels. Those without a time are counted at the film's
    rate. What is damaged is passed over.

    Args:
      source: a film, of any kind that FFmpeg reads.
      target: an MP4 file; H.264, the sound copied where players find it in MP4, else encoded anew as AAC.
      change_frame: (uint8 [H, W, 3]; its time, seconds) -> the same shape.
      progress: called after each frame with how many are done, and how many there are or None where that is not known.

    Returns:
      What of the film is lost, a phrase that goes on from the file's name; "" where nothing is.

    Raises:
      UserError: PyAV is missing.
      ValueError: no film, or one of which nothing can be used. The message follows the file's name: "is no film".
    """
    av = _av()
    try:
        with reading.open_file(source) as reads:
            film = reading.film_of(reads)
            if film is None:
                raise ValueError("has no pictures")
            with av.open(f"file:{target}", "w", format="mp4") as writes:
                return _rewrite(av, reads, film, writes, change_frame, progress)
    except av.error.FFmpegError as problem:
        reason = (problem.strerror or type(problem).__name__).lower()
        raise ValueError(f"cannot be read or written as a film: {reason}") from problem


def _rewrite(av: Any, reads: Any, film: Any, writes: Any, change_frame: ChangeFrame, progress: Progress) -> str:
    film.thread_type = "SLICE"  # as in `recordings.decode`
    given = reads.streams.audio[0] if reads.streams.audio else None
    sound = _make_sound(writes, given)
    reader = reading.Reader(reads, [film, given] if sound else [film])
    made, shown, count = None, None, 0
    waiting: list[Any] = []  # sound that comes before the first frame: streams cannot be added once anything is written
    for packet in reader.packets():
        if packet.stream is not film:
            waiting += sound.packets(packet, reader)
            if made is not None:
                _write_sound(av, writes, waiting, reader)
            continue
        for frame in reader.decode(packet):
            shown = shown or reading.shown_size(frame, film)  # and of this size all others, as in FFmpeg
            image = change_frame(_as_shown(frame, shown), frame.time)
            if made is None:
                made = _add_video(writes, film, image.shape)
            new = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            new.pts, new.time_base = frame.pts, frame.time_base
            writes.mux(made.encode(new))
            count += 1
            progress(count, film.frames or None)
    if made is None:
        raise ValueError("has no pictures that can be decoded")
    _write_sound(av, writes, waiting, reader)
    writes.mux(made.encode(None))
    left_out = [] if sound or given is None else ["has sound of a kind that cannot be decoded, which is left out"]
    return ", ".join([*reader.damage(), *left_out])


def _write_sound(av: Any, writes: Any, waiting: list[Any], reader: reading.Reader) -> None:
    for packet in waiting:
        try:
            writes.mux(packet)
        except av.error.InvalidDataError:  # a damaged packet that is copied
            reader.lose("audio")
    waiting.clear()


def _make_sound(writes: Any, given: Any) -> Any:
    """Make what writes a sound track; None where there is none, or none that can be decoded."""
    if given is None or not given.codec_context:
        return None
    return _CopiedSound(writes, given) if given.codec.name in COPIED else _EncodedSound(writes, given)


class _CopiedSound:
    """Sound whose packets are written as they are."""

    def __init__(self, writes: Any, given: Any):
        self._made = writes.add_stream_from_template(given)

    def packets(self, packet: Any, reader: reading.Reader) -> list[Any]:
        """Return what is written of a packet."""
        del reader
        if packet.dts is None:  # the empty packet at the end
            return []
        packet.stream = self._made
        return [packet]


class _EncodedSound:
    """Sound that is encoded anew."""

    def __init__(self, writes: Any, given: Any):
        rate = given.sample_rate if given.sample_rate in AAC_RATES else 48000
        layout = AAC_LAYOUTS.get(given.channels, "stereo")
        self._made = writes.add_stream("aac", rate=rate, layout=layout)
        self._resampler = reading.Resampler("fltp", layout, rate)

    def packets(self, packet: Any, reader: reading.Reader) -> list[Any]:
        """Return what is written of a packet."""
        last = not packet.size
        made = []
        for frame in [*reader.decode(packet), *([None] if last else [])]:
            for part in self._resampler.resample(frame):
                made += self._made.encode(part)
        return made + (self._made.encode(None) if last else [])


def _add_video(writes: Any, film: Any, shape: tuple[int, ...]) -> Any:
    made = writes.add_stream("libx264", rate=film.average_rate or reading.RATE_UNKNOWN, options={"crf": QUALITY})
    made.height, made.width = shape[:2]
    # Colour at half of the size is what every player shows; it needs even sides.
    made.pix_fmt = "yuv420p" if shape[0] % 2 == shape[1] % 2 == 0 else "yuv444p"
    made.codec_context.time_base = film.time_base
    made.codec_context.colorspace = BT601  # untagged, players take another one for large films
    return made


def _as_shown(frame: Any, shown: tuple[int, int]) -> np.ndarray:
    """Return a frame upright, uint8 [H, W, 3]; `shown` is its width and height before it is turned."""
    width, height = shown
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.rot90(pixels, round(frame.rotation / 90))


def require() -> None:
    """Raise UserError where PyAV is missing."""
    _av()


def _av() -> Any:
    try:
        import av
    except ImportError as problem:
        raise UserError("films need PyAV, which is not installed; pip install 'tfssl[video]'") from problem
    return av
