"""Does the head standardise each part on its own?

Brightness and contrast of a photo change slowly from one side to the other, so neighbours are alike in them. A head
that standardises each part does not see them: its answer stays when single parts are made paler. An untrained network
is enough to see that.
"""

import keras
import numpy as np
import tensorflow as tf

from tfssl.auditing.results import LEAK, NONE, OK, Probe
from tfssl.auditing.samples import Maker
from tfssl.models.trunks import make_trunk
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import make_model

NAME = "parts standardised"
TRUNK = "resnet10(width=4)"
CONTRAST, BRIGHTNESS = 0.6, 80
MOST = 0.15
"""How far the output may move, in differences between pictures: what is rounded, and parts that are flat, move it."""


def probe(maker: Maker, images: np.ndarray) -> Probe:
    """Make every other part paler and brighter, and see how far the output of an untrained network moves.

    Args:
      maker: the maker of a task.
      images: uint8 [B, S, S, 3].
    """
    task = maker.task
    puzzle, _, _ = maker.graph({"image": images}, 0)
    if not any(_has_parts(tensor) for tensor in tf.nest.flatten(puzzle)):
        return Probe(task=str(task), name=NAME, verdict=NONE, note="a puzzle has one part")
    size = images.shape[1]
    trunk = make_trunk(TRUNK, size)
    model = make_model([task], {"image": trunk}, ({task.name: puzzle_stream.puzzle_spec(task, size)[0]},))
    answers = np.asarray(model({task.name: puzzle}, training=False)[task.name])
    paler = tf.nest.map_structure(_paler, puzzle)
    moved = np.abs(np.asarray(model({task.name: paler}, training=False)[task.name]) - answers).mean()
    others = np.abs(np.roll(answers, 1, 0) - answers).mean()
    keras.backend.clear_session(free_memory=False)
    movement = float(moved / max(others, 1e-9))
    return Probe(
        task=str(task),
        name=NAME,
        verdict=LEAK if movement > MOST else OK,
        found=movement,
        chance=0.0,
        note=f"how far the output moves where parts get paler, in differences of pictures; a leak is above {MOST:.0%}",
    )


def _has_parts(tensor: np.ndarray) -> bool:
    return tensor.ndim == 5 and tensor.dtype == np.uint8


def _paler(tensor: np.ndarray) -> np.ndarray:
    if not _has_parts(tensor):
        return tensor
    changed = tensor.copy()
    changed[:, ::2] = np.round(changed[:, ::2] * CONTRAST + BRIGHTNESS)
    return changed
