"""`evaluate_tracking`: how well are masks and points of the main object of toy clips followed?"""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfssl.apply.config import Following
from tfssl.apply.mask_propagation import Memory, embeddings_of, in_cells, task_of
from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.evaluation.config import EvaluateTrackingSettings
from tfssl.models import batch_norm
from tfssl.pipelines.ops import lab
from tfssl.pipelines.sources.toy import FRAME_RATE, parse_toy_clips
from tfssl.pipelines.toy_world import MOTIONS, Clip, clip
from tfssl.pipelines.toy_world.scenes import FIRST_OBJECT
from tfssl.runs import heads
from tfssl.runs.run import Run, load_run

STEPS = 16  # of batch norm
RIGHT = 0.2
"""Part of the longer side of the object's box, up to which a point is right: PCK at 0.2."""
POINTS = np.array([(0.5, 0.5), (0.35, 0.5), (0.65, 0.5), (0.5, 0.35), (0.5, 0.65)])
"""Down and across, parts of the object's box. An object that hops or swells takes them along."""
SEEN = 0.98
"""Visibility from which on the box is that of the whole object."""


@dataclasses.dataclass(frozen=True)
class TrackingScore:
    """How well one way to follow does.

    Attributes:
      jaccard: mean over clips of the mean over frames of intersection over union of masks, 0..1.
      error: standard error of that, over clips; None of one.
      pck: share of points within a fifth of the longer side of the object's box; None without any.
    """

    jaccard: float
    error: float | None
    pck: float | None


@dataclasses.dataclass(frozen=True)
class TrackingEvaluation(Result):
    """What `evaluate_tracking` measures.

    Attributes:
      run: folder.
      clips: how many were followed.
      frames: of each, without the first one.
      points: frames of all in which five points are known.
      ways: "trained"; "random", the same network with random weights; "stays", the first mask and points stay where
        they are; "cells", the true mask at the resolution of cells, which is the most that can be reached.
    """

    run: Path
    clips: int
    frames: int
    points: int
    ways: dict[str, TrackingScore]

    def __str__(self) -> str:
        lines = [f"{self.run}: {self.clips} clips of the toy world, {self.frames} frames each, points in {self.points}"]
        for name, way in self.ways.items():
            error = "" if way.error is None else f" +- {way.error:.3f}"
            pck = "" if way.pck is None else f", {100 * way.pck:.1f} % of points"
            lines.append(f"  {name}: Jaccard {way.jaccard:.3f}{error}{pck}")
        return "\n".join(lines)


@on_its_own()
def evaluate_tracking(
    run: str | Path | Run,
    data: str = "toy:clips(count=50, seed=20180)",
    *,
    recent: int = 4,
    most: int = 10,
    temperature: float = 0.5,
    reach: int = 6,
) -> TrackingEvaluation:
    """Follow the main object of clips of the toy world from its mask in the first frame.

    Clips have 12.5 frames a second, at the size of the run's crops; those whose object does not fill half of a cell in
    the first frame are left out, and frames in which it is not seen. Points are followed where the object hops or
    swells, in frames in which it is seen whole, as only there it is known where they are.

    Args:
      run: a run that was trained on tracking, on whatever data, or its folder.
      data: 'toy:clips(count=200, seconds=2.0, seed=0, start=0)'; choose a seed that the run was not trained on.
        Pictures are drawn at the size of the run's crops, whatever `size` says.
      recent, most, temperature, reach: see `tfssl.apply.config.Following`.

    Raises:
      UserError: no such run, other data, clips of less than two frames, none in which the object is large enough.
    """
    how = EvaluateTrackingSettings(**locals())
    run = load_run(run)
    task, size, asked = task_of(run), run.settings.size, parse_toy_clips(data)
    clips, seconds, seed, start = asked.count, asked.seconds, asked.seed, asked.start
    if not seconds * FRAME_RATE >= 2:
        raise UserError(f"{data} has clips of {seconds} s, expected two frames or more, {2 / FRAME_RATE} s")
    numbers = range(start, start + clips)
    scenes = [clip(number, seed=seed, seconds=seconds, frame_rate=FRAME_RATE, size=size) for number in numbers]
    side = -(-size // task.cell_at(size))
    masks = np.stack([scene.instances == FIRST_OBJECT for scene in scenes])
    large = in_cells(tf.constant(masks[:, 0, ..., None], tf.float32), side, side).numpy().max((1, 2, 3)) >= 0.5
    if not large.any():
        raise UserError(f"in none of {clips} clips the object can be seen at cells of {size // side} pixels; give more")
    scenes, masks = [scene for scene, fits in zip(scenes, large, strict=True) if fits], masks[large]
    points, known = _points(scenes)
    first = tf.constant(masks[:, 0, ..., None], tf.float32)
    labels = tf.concat([in_cells(first, side, side), splat(points[:, 0], size, side)], -1)
    grey = np.stack([lab.lightness(tf.constant(scene.frames)).numpy() for scene in scenes])
    made = {"trained": embeddings_of(run), "random": _random(run, grey)}
    lengths = np.stack([scene.boxes[:, 0, 2:].max(-1) for scene in scenes])
    ways = {}
    for name, embeddings in made.items():
        followed = followed_labels(embeddings, grey, labels, how)
        predicted = tf.image.resize(tf.reshape(followed[..., :1], [-1, side, side, 1]), [size, size]).numpy()
        places = located(followed[..., 1:], size)
        ways[name] = _score(predicted.reshape(masks[:, 1:].shape) >= 0.5, masks, places, points, known, lengths)
    stays = np.broadcast_to(masks[:, :1], masks[:, 1:].shape)
    ways["stays"] = _score(stays, masks, np.broadcast_to(points[:, :1], points[:, 1:].shape), points, known, lengths)
    truth = in_cells(tf.constant(masks.reshape(-1, size, size, 1), tf.float32), side, side)
    cells = tf.image.resize(truth, [size, size]).numpy().reshape(masks.shape)[:, 1:] >= 0.5
    ways["cells"] = dataclasses.replace(_score(cells, masks, points[:, 1:], points, known, lengths), pck=None)
    return TrackingEvaluation(run.folder, len(masks), masks.shape[1] - 1, int(known[:, 1:].sum()), ways)


def followed_labels(embeddings: keras.Model, grey: np.ndarray, labels: tf.Tensor, how: Following) -> np.ndarray:
    """Carry labels of first frames, float32 [N, h, w, C], through clips uint8 [N, T, S, S, 1]: [N, T - 1, h, w, C]."""
    embed = tf.function(lambda seen: embeddings(seen, training=False))
    memory = Memory(embed(grey[:, 0]), labels, how)
    return np.stack([memory.step(embed(grey[:, number])).numpy() for number in range(1, grey.shape[1])], 1)


def jaccard(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return intersection over union of masks, bool [..., H, W] -> float [...]; 1 where both are empty."""
    both, either = (one & other).sum((-2, -1)), (one | other).sum((-2, -1))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def splat(points: np.ndarray, size: int, side: int) -> tf.Tensor:
    """Turn points (y, x) in pixels, [N, P, 2], into shares of cells whose mean they are: float32 [N, side, side, P].

    Points outside of the middles of the outer cells count for the nearest.
    """
    place = np.clip(points * side / size - 0.5, 0, side - 1)[..., None]
    shares = np.maximum(1 - np.abs(place - np.arange(side)), 0)  # [N, P, 2, side]
    return tf.constant(np.einsum("npy,npx->nyxp", shares[:, :, 0], shares[:, :, 1]), tf.float32)


def located(shares: np.ndarray, size: int) -> np.ndarray:
    """Turn shares of cells [..., h, w, P] into points (y, x) in pixels [..., P, 2], the mean of the heaviest cells."""
    side = shares.shape[-2]
    heavy = np.where(shares >= shares.max((-3, -2), keepdims=True) / 2, shares, 0)
    middles = (np.arange(side) + 0.5) * size / side
    total = np.maximum(heavy.sum((-3, -2)), 1e-12)
    down, across = np.einsum("...yxp,y->...p", heavy, middles), np.einsum("...yxp,x->...p", heavy, middles)
    return np.stack([down / total, across / total], -1)


def _points(scenes: list[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the objects, float [N, T, P, 2] in pixels; where that is known, and they are, bool [N, T]."""
    boxes = np.stack([scene.boxes[:, 0] for scene in scenes])
    places = boxes[:, :, None, :2] + POINTS * boxes[:, :, None, 2:]
    whole = np.stack([scene.visibility[:, 0] >= SEEN for scene in scenes])
    stiff = np.array([MOTIONS[scene.motion] != "sway" for scene in scenes])
    return places, whole & whole[:, :1] & stiff[:, None]


def _score(
    followed: np.ndarray,
    masks: np.ndarray,
    places: np.ndarray,
    points: np.ndarray,
    known: np.ndarray,
    lengths: np.ndarray,
) -> TrackingScore:
    seen = masks[:, 1:].any((-2, -1))
    each = np.ma.array(jaccard(followed, masks[:, 1:]), mask=~seen).mean(1).compressed()
    away = np.linalg.norm(places - points[:, 1:], axis=-1) <= RIGHT * lengths[:, 1:, None]
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None
    right = away[known[:, 1:]]
    return TrackingScore(float(each.mean()), error, float(right.mean()) if right.size else None)


def _random(run: Run, grey: np.ndarray) -> keras.Model:
    """Return the embeddings of the run's first weights, with a new head, and batch norm statistics of these clips."""
    embeddings = embeddings_of(run, heads.untrained(run, task_of(run)))
    frames = grey.reshape(-1, *grey.shape[2:])
    batch_norm.estimate(embeddings, np.array_split(frames, max(1, len(frames) // 64)), STEPS)
    return embeddings
