"""Clips: a scene whose main object moves and sounds, kind for timbre, motion for rhythm."""

import dataclasses

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.toy_world.layout import Layout, draw_layout, uniforms
from tfssl.pipelines.toy_world.objects import CLASSES
from tfssl.pipelines.toy_world.scenes import render
from tfssl.pipelines.toy_world.sound import sound_of

MOTIONS = ("hop", "sway", "pulse")
"""hop: up and down, sounds as it lands. sway: from side to side, sounds at both ends. pulse: swells, sounds at the
largest."""
_SWAY = 0.30
_SCENE_STREAM, _MOTION_STREAM = 16, 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """T frames of S x S pixels with their sound. The sounding object is the main one, at place 0.

    frames: uint8 [T, S, S, 3]; frame t is seen at t / frame_rate seconds. sound: float32 [samples], -1..1.
    label: int, class of the sounding object. motion: index into `MOTIONS`. beats: float32 [B], seconds at which it
    sounds. class_ids: int32 [K], -1 where there is no object. boxes: int32 [T, K, 4] (top, left, height, width).
    visibility: float32 [T, K]. instances: uint8 [T, S, S]. All as in `Scenes`.
    """

    frames: np.ndarray
    sound: np.ndarray
    label: int
    motion: int
    beats: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    visibility: np.ndarray
    instances: np.ndarray


def clip(
    index: int, seed: int = 0, seconds: float = 2.0, frame_rate: float = 12.5, size: int = 64, sample_rate: int = 16000
) -> Clip:
    """Make clip `index` of a seed, `seconds` long, `frame_rate` frames a second, `sample_rate` samples a second.

    Clips 0..9, 10..19 and so on have each class once as the object that sounds. It also drifts to one side, so that
    frames have an order; the other objects stand still or drift slowly, in silence. The same clip with more seconds
    goes on where the shorter one ends.

    Raises:
        UserError: a negative `index` or `seed`, less than one frame, `size` below 16, `sample_rate` below 8000 hertz.
    """
    count = round(seconds * frame_rate)
    if index < 0 or seed < 0 or count < 1 or size < 16 or sample_rate < 8000:
        raise UserError(
            f"toy clip with index={index}, seed={seed}, seconds={seconds}, frame_rate={frame_rate}, size={size}, "
            f"sample_rate={sample_rate}: expected index and seed from 0, at least one frame, size from 16, "
            "sample_rate from 8000"
        )
    still = draw_layout(1, seed, index, stream=_SCENE_STREAM)
    drawn = uniforms(seed, _MOTION_STREAM, index, 1, 16)[0]
    motion = min(int(drawn[0] * len(MOTIONS)), len(MOTIONS) - 1)
    period, phase = 0.28 + 0.52 * drawn[1] ** 1.5, drawn[2]
    layout = _move(still, np.arange(count) / frame_rate, motion, period, phase, drawn)
    drawing = render(layout, size, keep_main_seen=False, most_tilt=_SWAY)
    beats = (np.arange(-1, np.ceil(seconds / period) + 1) + 1 - phase) * period
    beats = beats[(beats >= 0) & (beats < seconds)].astype(np.float32)
    label = int(still.class_ids[0, 0])
    pitch, strength = 2 ** (0.25 * (1 - 2 * drawn[3])), 0.55 + 0.4 * drawn[4]
    sound = sound_of(CLASSES[label], beats, round(seconds * sample_rate), sample_rate, pitch, strength)
    return Clip(
        frames=drawing.image,
        sound=sound,
        label=label,
        motion=motion,
        beats=beats,
        class_ids=layout.class_ids[0],
        boxes=drawing.boxes,
        visibility=drawing.visibility,
        instances=drawing.instances,
    )


def _move(still: Layout, time: np.ndarray, motion: int, period: float, phase: float, drawn: np.ndarray) -> Layout:
    """Return the layout of every frame; `phase` counts periods, and whole ones are the beats."""
    moved = still.take(np.zeros(len(time), int))
    turn = time / period + phase
    swing = {
        "hop": 0.22 * np.abs(np.sin(np.pi * turn)),
        "sway": _SWAY * np.cos(np.pi * turn),
        "pulse": 0.16 * np.cos(2 * np.pi * turn),
    }[MOTIONS[motion]].astype(np.float32)
    way = -1 if still.x[0, 0] > 0.5 else 1
    speed = 0.04 + 0.13 * drawn[5]
    far = 0.6  # it slows down rather than leave the picture, and never turns: frames keep an order
    moved.x[:, 0] += (way * far * (1 - np.exp(-speed / far * time))).astype(np.float32)
    moved.facing[:, 0] = way
    for place in range(2, moved.x.shape[1]):
        moved.x[:, place] += (0.06 * (2 * drawn[6 + place] - 1) * time).astype(np.float32)
    # In front of the sounding object nothing else hides it: an object that is not seen cannot be matched to its sound.
    moved.class_ids[:, 1] = -1
    if MOTIONS[motion] == "hop":
        moved.lift[:, 0] = swing * np.minimum(moved.scale[:, 0], 0.6)
    elif MOTIONS[motion] == "sway":
        moved.tilt[:, 0] = swing
    else:
        moved.scale[:, 0] *= 1 + swing
    return moved
