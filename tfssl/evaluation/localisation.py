"""`evaluate_localisation`: does the heat map of a sound point at the object of the toy world that sounds?

The pointing game (Zhang et al. 2016, arXiv 1608.00507): a hit where the largest value lies inside of the object's box.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.apply.localise import Localiser, localising_task
from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.base.statistics import wilson
from tfssl.evaluation.config import EvaluateLocalisationSettings
from tfssl.models import batch_norm
from tfssl.pipelines.sources.toy import FRAME_RATE, ToyClips, parse_toy_clips
from tfssl.pipelines.toy_world import Clip, clip
from tfssl.pipelines.toy_world.scenes import FIRST_OBJECT
from tfssl.runs import heads
from tfssl.runs.run import Run, load_run

STEPS = 16  # of batch norm, for random weights


@dataclasses.dataclass(frozen=True)
class LocalisationEvaluation(Result):
    """How often a way to point hits the object that sounds.

    Attributes:
      run: folder.
      clips: how many were looked at: those in which the object is seen, in the frame in the middle.
      trained: share of hits of the run.
      interval: Wilson's 95 % interval of it.
      random: share of hits of the same network with random weights.
      middle: share of hits of the picture's middle.
      chance: mean area of the object's box: hits of a place at random.
      on_object: share in which the largest value lies on a pixel of the object itself.
    """

    run: Path
    clips: int
    trained: float
    interval: tuple[float, float]
    random: float
    middle: float
    chance: float
    on_object: float

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.run}: the heat map points at the box of the object that sounds in {100 * self.trained:.1f} % of"
            f" {self.clips} clips of the toy world ({100 * low:.1f} to {100 * high:.1f} %), at the object itself in"
            f" {100 * self.on_object:.1f} %; random weights {100 * self.random:.1f} %, the middle"
            f" {100 * self.middle:.1f} %, a place at random {100 * self.chance:.1f} %"
        )


@on_its_own()
def evaluate_localisation(
    run: str | Path | Run, data: str = "toy:clips(count=200, seed=20180)"
) -> LocalisationEvaluation:
    """Play the pointing game on clips of the toy world, one frame each, with the sound around its time.

    Args:
      run: a run that was trained on 'audio_visual(fusion="localise")', or its folder.
      data: 'toy:clips(count=200, seconds=2.0, seed=0, start=0)'; choose a seed that the run was not trained on.
        Pictures are drawn at the size of the run's crops, whatever `size` says.

    Raises:
      UserError: a run without localisation, other data, clips shorter than the sound that the run hears at once, no
        clip in which the object is seen.
    """
    EvaluateLocalisationSettings(**locals())
    run = load_run(run)
    localiser = Localiser(run)
    asked = parse_toy_clips(data)
    if asked.seconds < localiser.seconds + 1 / FRAME_RATE:
        raise UserError(f"{data} has clips of {asked.seconds} s, expected more than {localiser.seconds} s of sound")
    numbers = range(asked.start, asked.start + asked.count)
    made = [_case(number, asked, localiser) for number in numbers]
    cases = [case for case in made if case is not None]
    if not cases:
        raise UserError(f"in none of the clips of {data} the object that sounds is seen; give a larger count")
    images, sounds, masks = (np.stack(parts) for parts in zip(*cases, strict=True))
    boxes = _boxes(masks)
    trained = largest(localiser(images, sounds), localiser.size)
    random = largest(_random(run, images, sounds)(images, sounds), localiser.size)
    rows, middle = np.arange(len(masks)), localiser.size // 2
    hits = boxes[rows, trained[:, 0], trained[:, 1]]
    return LocalisationEvaluation(
        run=run.folder,
        clips=len(masks),
        trained=float(hits.mean()),
        interval=wilson(float(hits.mean()), len(masks)),
        random=float(boxes[rows, random[:, 0], random[:, 1]].mean()),
        middle=float(boxes[:, middle, middle].mean()),
        chance=float(boxes.mean()),
        on_object=float(masks[rows, trained[:, 0], trained[:, 1]].mean()),
    )


def largest(maps: np.ndarray, size: int) -> np.ndarray:
    """Return row and column, int [N, 2], where maps float32 [N, h, w], made as large as the picture, are largest."""
    large = tf.image.resize(maps[..., None], [size, size]).numpy().reshape(len(maps), -1)
    # Bilinear growth makes plateaus at the border: of equal values the middle one is taken.
    most = large >= large.max(1, keepdims=True) - 1e-6
    places = [np.flatnonzero(row)[row.sum() // 2] for row in most]
    return np.stack(np.unravel_index(places, (size, size)), 1)


def _case(number: int, asked: ToyClips, localiser: Localiser) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the frame in the middle of a clip, its sound, and the mask of what sounds; None where that is not seen."""
    size, sample_rate = localiser.size, localiser.sample_rate
    scene = clip(number, asked.seed, seconds=asked.seconds, frame_rate=FRAME_RATE, size=size, sample_rate=sample_rate)
    place = len(scene.frames) // 2
    mask = scene.instances[place] == FIRST_OBJECT
    return (scene.frames[place], _sound(scene, place, localiser), mask) if mask.any() else None


def _sound(scene: Clip, place: int, localiser: Localiser) -> np.ndarray:
    first = round((place / FRAME_RATE - localiser.seconds / 2) * localiser.sample_rate)
    first = min(max(first, 0), len(scene.sound) - localiser.samples)
    return scene.sound[first : first + localiser.samples]


def _boxes(masks: np.ndarray) -> np.ndarray:
    """Return boxes around masks, bool [N, S, S], as masks."""
    down, across = np.arange(masks.shape[1])[None], np.arange(masks.shape[2])[None]
    inside = []
    for numbers, seen in ((down, np.asarray(masks.any(2))), (across, np.asarray(masks.any(1)))):
        first, last = seen.argmax(1), seen.shape[1] - 1 - seen[:, ::-1].argmax(1)
        inside.append((numbers >= first[:, None]) & (numbers <= last[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]


def _random(run: Run, images: np.ndarray, sounds: np.ndarray) -> Localiser:
    """Make a localiser with the run's first weights, a new head, and batch norm statistics of these clips."""
    solver = heads.untrained(run, localising_task(run))
    count = max(1, len(images) // 64)
    parts = zip(np.array_split(images, count), np.array_split(sounds, count), strict=True)
    batch_norm.estimate(solver, [{"image": image, "sound": sound} for image, sound in parts], STEPS)
    return Localiser(run, solver)
