"""`localise`: where in the picture does the sound come from?"""

import dataclasses
import io
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfssl.apply.config import LocaliseSettings
from tfssl.apply.films import refuse_toy_clips
from tfssl.base.errors import UserError
from tfssl.base.figures import save_figure
from tfssl.base.files import atomic_write
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.pipelines.clips import clip_records, recordings, video_files
from tfssl.runs.run import Run, load_run
from tfssl.tasks.audio_visual import AudioVisual, similarity_of

RATE = 10.0  # frames a second that are looked at
SHOWN = 8  # of a picture
STRENGTH = 0.5  # of the colours over the picture
BATCH = 32


@dataclasses.dataclass(frozen=True)
class Localised(Result):
    """What `localise` wrote.

    Attributes:
      file: where.
      frames: how many were looked at.
      fits: share of these whose sound is found to fit the picture.
      damage: what of the film is lost, a phrase that goes on from its name; "" where nothing is.
    """

    file: Path
    frames: int
    fits: float
    damage: str

    def __str__(self) -> str:
        line = f"{self.file}: {self.frames} frames, the sound fits {100 * self.fits:.0f} % of them"
        return f"{line}\ndamaged: the film {self.damage}" if self.damage else line


class Localiser:
    """The similarity of each place of pictures with a sound, by a run's audio_visual(fusion="localise").

    Args:
      solver: other weights than those of the run, as `Run.solver` gives them.

    Raises:
      UserError: a run without it.
    """

    def __init__(self, run: Run, solver: keras.Model | None = None):
        task = localising_task(run)
        self.seconds, self.size = task.seconds, run.settings.size
        self.samples, self.sample_rate = run.sound["samples"], run.sound["rate"]  # type: ignore[index]
        inner = similarity_of(solver or run.solver(task.name))
        self._similarity = tf.function(lambda puzzle: inner(puzzle, training=False), reduce_retracing=True)

    def __call__(self, images: np.ndarray, sounds: np.ndarray) -> np.ndarray:
        """Turn uint8 [N, S, S, 3] and float32 [N, samples] into logits float32 [N, h, w]: above 0 the place sounds."""
        parts = [
            self._similarity({"image": images[start : start + BATCH], "sound": sounds[start : start + BATCH]})
            for start in range(0, len(images), BATCH)
        ]
        return np.concatenate(parts)[..., 0]


def localising_task(run: Run) -> AudioVisual:
    """Return the run's audio_visual(fusion="localise"). Raise UserError where there is none."""
    for task in run.tasks():
        if isinstance(task, AudioVisual) and task.fusion == "localise":
            return task
    raise UserError(
        f"the run in {run.folder} has {run.settings.tasks}; localise needs one that was trained on"
        " 'audio_visual(fusion=\"localise\")'"
    )


@on_its_own()
def localise(run: str | Path | Run, clip: str | Path, to: str | Path) -> Localised:
    """Draw over the pictures of a clip how well each place fits the sound around that time.

    The square in the middle of each frame is looked at, as in evaluation. Colours go from the least to the largest
    similarity of the whole clip.

    Args:
      run: a run that was trained on 'audio_visual(fusion="localise")'.
      clip: a film with sound, of any kind that FFmpeg reads.
      to: heat.mp4 for the film with its sound, or heat.png for eight of its frames.

    Raises:
      UserError: no such run, a clip without pictures or sound, a file that cannot be written, or PyAV is missing.
    """
    LocaliseSettings(**locals())
    refuse_toy_clips(clip, "evaluate-localisation")
    clip, to = Path(clip), Path(to)
    if to.suffix.lower() not in (".mp4", ".png"):
        raise UserError(f"--to {to} is given, expected a file that ends in .mp4 or .png")
    if to.exists() and clip.exists() and to.samefile(clip):
        raise UserError(f"{clip} would be overwritten; choose another --to")
    localiser = Localiser(load_run(run))
    video_files.require()
    try:
        whole = recordings.decode(clip, 4 * localiser.size, RATE, localiser.sample_rate)
    except recordings.BrokenRecordingError as problem:
        raise UserError(f"{clip} {problem}; expected a film with sound") from problem
    if not whole.frames or not len(whole.sound):
        raise UserError(f"{clip} has no {'sound' if whole.frames else 'film'}; expected a film with sound")
    images = clip_records.decode_frames(tf.constant(whole.frames), localiser.size, None).numpy()
    maps = localiser(images, _windows(whole, localiser))
    with atomic_write(to) as temporary:
        if to.suffix.lower() == ".png":
            _draw(whole, maps, temporary)
        else:
            _film(clip, whole, maps, temporary)
    return Localised(to, len(images), float(np.mean(maps.max((1, 2)) > 0)), whole.damage)


def heat(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Draw a map over the square in the middle of a picture.

    Args:
      image: uint8 [H, W, 3].
      values: float32 [h, w], 0..1.

    Returns:
      uint8 [H, W, 3].
    """
    from matplotlib import colormaps

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    smooth = tf.image.resize(values[..., None], [side, side], "bicubic").numpy()[..., 0].clip(0, 1)
    colours = 255 * colormaps["inferno"](smooth)[..., :3]
    canvas = image.copy()
    square = canvas[top : top + side, left : left + side]
    square[:] = np.round((1 - STRENGTH) * square + STRENGTH * colours).astype(np.uint8)
    return canvas


def _windows(whole: recordings.Piece, localiser: Localiser) -> np.ndarray:
    pcm = tf.constant(whole.sound.astype("<i2").tobytes())
    starts = whole.times - localiser.seconds / 2
    sounds = [
        clip_records.waveform(pcm, whole.sound_start, start, localiser.samples, localiser.sample_rate)
        for start in starts
    ]
    return np.stack(sounds)


def _scaled(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min(), maps.max()
    return (maps - low) / max(high - low, 1e-6)


def _draw(whole: recordings.Piece, maps: np.ndarray, path: Path) -> None:
    from matplotlib.figure import Figure
    from PIL import Image

    chosen = np.unique(np.linspace(0, len(maps) - 1, SHOWN).round().astype(int))
    figure = Figure(figsize=(2.4 * len(chosen), 4.2), layout="constrained")
    scaled = _scaled(maps)
    for number, (above, below) in zip(chosen, figure.subplots(2, len(chosen), squeeze=False).T, strict=True):
        image = np.asarray(Image.open(io.BytesIO(whole.frames[number])).convert("RGB"))
        above.imshow(image)
        below.imshow(heat(image, scaled[number]))
        below.set_title(f"largest {maps[number].max():.1f}", fontsize=8)
        above.set_title(f"{whole.times[number]:.2f} s", fontsize=9)
        above.set_axis_off()
        below.set_axis_off()
    save_figure(figure, path, dpi=120)


def _film(clip: Path, whole: recordings.Piece, maps: np.ndarray, path: Path) -> None:
    scaled = _scaled(maps)

    def draw_heat(image: np.ndarray, time: float) -> np.ndarray:
        return heat(image, scaled[int(np.argmin(np.abs(whole.times - time)))])

    try:
        video_files.change(clip, path, draw_heat, lambda done, count: None)
    except ValueError as problem:
        raise UserError(f"{clip} {problem}") from problem
