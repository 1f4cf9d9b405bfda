"""Films, frame by frame, with PyAV, which is FFmpeg. Needs the extra `video`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv")
BT601 = 5  # FFmpeg's number of the matrix that it makes YUV of RGB with, if nothing else is asked for
QUALITY = "18"
"""Constant rate factor of H.264: the difference is hardly seen."""

Progress = Callable[[int, int | None], None]
ChangeFrame = Callable[[np.ndarray, float], np.ndarray]


def is_film(path: Path) -> bool:
    """Say whether a file is a film, by the ending of its name."""
    return path.suffix.lower() in ENDINGS


def change(source: Path, target: Path, change_frame: ChangeFrame, progress: Progress) -> int:
    """Write a film whose frames are changed one by one; times of frames, shape of pixels and sound stay as they are.

    Args:
      source: a film, of any kind that FFmpeg reads.
      target: an MP4 file; H.264, the sound copied where MP4 can hold it, and left out where not.
      change_frame: (uint8 [H, W, 3], upright; its time, seconds) -> the same shape.
      progress: called after each frame with how many are done, and how many there are or None where that is not known.

    Returns:
      How many frames there were.

    Raises:
      UserError: PyAV is missing.
      ValueError: no film, or a broken one. The message follows the file's name: "is no film".
    """
    av = _av()
    try:
        with av.open(address(source)) as reads:
            if not reads.streams.video:
                raise ValueError("has no pictures")
            with av.open(address(target), "w", format="mp4") as writes:
                return _rewrite(av, reads, writes, change_frame, progress)
    except av.error.FFmpegError as problem:
        reason = (problem.strerror or type(problem).__name__).lower()
        raise ValueError(f"cannot be read or written as a film: {reason}") from problem


def address(path: Path) -> str:
    """Return a file's name for FFmpeg, from the root: to it, 10:30/a.mp4 is a file of the protocol 10."""
    return os.path.abspath(path)


def _rewrite(av: Any, reads: Any, writes: Any, change_frame: ChangeFrame, progress: Progress) -> int:
    video = reads.streams.video[0]
    video.thread_type = "AUTO"
    sound = reads.streams.audio[0] if reads.streams.audio else None
    copied = _copy_sound(writes, sound)
    made, count = None, 0
    waiting: list[Any] = []  # sound that comes before the first frame: streams cannot be added once anything is written
    for packet in reads.demux([video, sound] if copied else [video]):
        if copied and packet.stream is sound:
            if packet.dts is not None:  # the empty packet at the end
                packet.stream = copied
                waiting.append(packet)
            if made is not None:
                writes.mux(waiting)
                waiting.clear()
            continue
        for frame in packet.decode():
            image = change_frame(_turn_upright(frame), frame.time or 0.0)
            if made is None:
                made = _add_video(writes, video, image.shape, frame.rotation % 180 != 0)
            new = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            new.pts, new.time_base = frame.pts, frame.time_base
            writes.mux(made.encode(new))
            count += 1
            progress(count, video.frames or None)
    if made is None:
        raise ValueError("has no pictures")
    writes.mux(waiting)
    writes.mux(made.encode(None))
    return count


def _copy_sound(writes: Any, sound: Any) -> Any:
    """Make a stream that copies the packets of a sound track; None where there is none or MP4 cannot hold it."""
    if sound is None or sound.codec.name not in ("aac", "mp3", "ac3", "opus", "flac"):
        return None
    return writes.add_stream_from_template(sound)


def _add_video(writes: Any, video: Any, shape: tuple[int, ...], lay: bool) -> Any:
    made = writes.add_stream("libx264", rate=video.average_rate or 25, options={"crf": QUALITY})
    made.height, made.width = shape[:2]
    # Colour at half of the size is what every player shows; it needs even sides.
    made.pix_fmt = "yuv420p" if shape[0] % 2 == shape[1] % 2 == 0 else "yuv444p"
    aspect = video.sample_aspect_ratio
    if aspect:
        made.sample_aspect_ratio = 1 / aspect if lay else aspect
    made.codec_context.time_base = video.time_base
    made.codec_context.colorspace = BT601  # untagged, players take another one for large films
    return made


def _turn_upright(frame: Any) -> np.ndarray:
    """Turn a frame uint8 [H, W, 3] as the film says that it is meant to be seen."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


def require() -> None:
    """Raise UserError where PyAV is missing."""
    _av()


def _av() -> Any:
    try:
        import av
    except ImportError as problem:
        raise UserError("films need PyAV, which is not installed; pip install 'tfssl[video]'") from problem
    return av
