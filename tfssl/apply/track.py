"""`track`: follows what a mask shows through a film, and draws it over the frames."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.apply import masks
from tfssl.apply.config import TrackSettings
from tfssl.apply.films import refuse_toy_clips
from tfssl.apply.mask_propagation import Follower, embeddings_of
from tfssl.apply.outputs import frame_progress, write_png
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.pipelines.clips import recordings, video_files
from tfssl.pipelines.decoding import full_size
from tfssl.runs.run import Run, load_run

COLOUR = np.array([255, 60, 20])
STRENGTH = 0.5
"""Strength of the colour over what is followed."""
HALF = 0.5
SHORT_SIDE, RATE, SOUND_RATE = 1 << 16, 1000.0, 8000
"""How frames are decoded that are written one by one: all of them, as they are."""
MASK = "expected a picture as large as a frame (white = what to follow), or TOP,LEFT,HEIGHT,WIDTH in pixels"


@dataclasses.dataclass(frozen=True)
class Tracked(Result):
    """What `track` wrote.

    Attributes:
      to: the film, or the folder.
      frames: how many there are.
      shares: of each frame's area, what the mask covers.
      damage: what of the film is lost, a phrase that goes on from its name; "" where nothing is.
    """

    to: Path
    frames: int
    shares: list[float]
    damage: str

    def __str__(self) -> str:
        first, last = 100 * self.shares[0], 100 * self.shares[-1]
        line = (
            f"{self.to}: {self.frames} frames; the mask covers {first:.1f} % of the first and {last:.1f} % of the last"
        )
        return f"{line}\ndamaged: the film {self.damage}" if self.damage else line


@on_its_own()
def track(
    run: str | Path | Run,
    clip: str | Path,
    mask: str | Path,
    to: str | Path,
    *,
    recent: int = 4,
    most: int = 10,
    temperature: float = 0.5,
    reach: int = 6,
    verbose: int = 1,
) -> Tracked:
    """Follow what a mask shows in the first frame of a film through all frames, by the embeddings of `tracking`.

    Each place takes its part of the mask from the places of the first frame and of a few recent ones that look most
    like it to the network, which sees lightness only, at the scale that it was trained on.

    Args:
      run: a run that was trained on tracking.
      clip: a film, of any kind that FFmpeg reads.
      mask: of the first frame: a picture, white where it is to be followed, or "TOP,LEFT,HEIGHT,WIDTH" in pixels.
      to: out.mp4 for the film with the mask drawn over it, its sound kept; any other name for a folder, which gets
        frame-00000.png, that, and mask-00000.png, white where it is, of each frame.
      recent, most, temperature, reach: see `tfssl.apply.config.Following`.
      verbose: 1 a progress bar on standard error, 0 nothing.

    Raises:
      UserError: no such run, or one without tracking; no film; a mask that is missing, empty, of another size or
        reaches outside; a file that cannot be written; PyAV is missing.
    """
    how = TrackSettings(**locals())
    refuse_toy_clips(clip, "evaluate-tracking")
    run = load_run(run)
    clip, to = Path(clip), Path(to)
    follower = Follower(embeddings_of(run), run.settings.size, how)
    video_files.require()
    if not clip.is_file():
        raise UserError(f"{clip} does not exist; expected a film")
    if to.exists() and to.samefile(clip):
        raise UserError(f"{clip} would be overwritten; choose another --to")
    drawing = _Drawing(follower, _mask_reader(str(mask), clip))
    if to.suffix.lower() == ".mp4":
        with frame_progress(clip, verbose) as progress, atomic_write(to) as temporary:
            try:
                damage = video_files.change(clip, temporary, drawing.film, progress)
            except ValueError as problem:
                if isinstance(problem, UserError):
                    raise
                raise UserError(f"{clip} {problem}") from problem
    else:
        damage = _write_frames(clip, to, drawing, verbose)
    return Tracked(to, len(drawing.shares), drawing.shares, damage)


def drawn_over(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Draw a colour over uint8 [H, W, 3] where `inside`, bool [H, W], and a line of it around that."""
    canvas = image.copy()
    canvas[inside] = np.round((1 - STRENGTH) * image[inside] + STRENGTH * COLOUR).astype(np.uint8)
    padded = np.pad(inside, 1, mode="edge")
    middle = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    canvas[inside & ~middle] = COLOUR
    return canvas


class _Drawing:
    """Frames of a film, one after the other."""

    def __init__(self, follower: Follower, read_mask: Callable[[tuple[int, ...]], np.ndarray]):
        self._follower, self._read_mask = follower, read_mask
        self.shares: list[float] = []

    def film(self, image: np.ndarray, time: float) -> np.ndarray:
        del time
        return drawn_over(image, self.mask(image))

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Return the mask of the next frame, bool [H, W]."""
        if self.shares:
            inside = self._follower.next(image)[..., 0] >= HALF
        else:
            inside = self._read_mask(image.shape[:2])
            self._follower.start(image, inside[..., None].astype(np.float32))
        self.shares.append(float(inside.mean()))
        return inside


def _write_frames(clip: Path, folder: Path, drawing: _Drawing, verbose: int) -> str:
    """Write the frames and masks; say what of the film is lost."""
    try:
        whole = recordings.decode(clip, SHORT_SIDE, RATE, SOUND_RATE)
    except recordings.BrokenRecordingError as problem:
        raise UserError(f"{clip} {problem}; expected a film") from problem
    if not whole.frames:
        raise UserError(f"{clip} has no pictures; expected a film")
    with frame_progress(clip, verbose) as progress:
        for number, frame in enumerate(whole.frames):
            image = tf.io.decode_jpeg(frame, channels=3).numpy()
            inside = drawing.mask(image)
            write_png(folder / f"frame-{number:05d}.png", drawn_over(image, inside))
            write_png(folder / f"mask-{number:05d}.png", np.where(inside, 255, 0).astype(np.uint8)[..., None])
            progress(number + 1, len(whole.frames))
    return whole.damage


def _mask_reader(given: str, clip: Path) -> Callable[[tuple[int, ...]], np.ndarray]:
    """Return what gives the mask, bool [H, W], of a frame of a shape. Raise UserError, at once or when it is called."""
    box = masks.parse_box(given)
    if box is not None:
        return lambda shape: masks.of_box(box, clip, shape)
    path = Path(given)
    if not path.is_file():
        raise UserError(f"--mask {given} is given, {MASK}")
    try:
        white = masks.of_picture(full_size.decode(path.read_bytes()))
    except (OSError, ValueError) as problem:
        raise UserError(f"the mask {path} cannot be read: {problem}; {MASK}") from problem
    if not white.any():
        raise UserError(f"the mask {path} is empty; {MASK}")
    return lambda shape: masks.check_size(white, path, clip, shape)
