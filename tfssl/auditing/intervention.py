"""For tasks whose answer is a picture: what is hidden is changed in the source, and the puzzle must not change.

Which it is, the puzzle tells. One that is grey hides colour: each pixel of the source gets another colour of the same
luminance. One that is its source but for some pixels hides these: they are taken from another picture.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.auditing.results import LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Maker
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.tasks.parts.two_views import TwoViews

NAME, CHROMA = "hidden part changed", "puzzle is grey"
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear sRGB
ROUNDING = 2.0
"""Grey levels by which a puzzle may change because the source's new colours are rounded."""


def probes(maker: Maker, images: np.ndarray) -> list[Probe]:
    """Make the probes of a batch uint8 [B, S, S, 3] of a task whose answer is no choice."""
    task = maker.task
    if isinstance(task, ChoiceTask):
        return [Probe(task=str(task), name=NAME, verdict=NONE, note="the answer is a choice: see the nuisances")]
    if isinstance(task, TwoViews):
        return [Probe(task=str(task), name=NAME, verdict=NONE, note="nothing is hidden: see what finds the partner")]
    puzzle, answer, _ = maker.graph({"image": images}, 0)
    pictures = list(pictures_of(puzzle).values())
    if not pictures:
        return [Probe(task=str(task), name=NAME, verdict=NONE, note="the puzzle holds no picture")]
    if all(chroma(picture) == 0 for picture in pictures):
        colours = Probe(task=str(task), name=CHROMA, verdict=OK, found=0.0, chance=0.0, note="share of coloured pixels")
        return [colours, _probe_change(maker, other_colours(images), images, puzzle, answer, ROUNDING, "the colour")]
    hidden = hidden_pixels(images, pictures[0])
    if hidden is None:
        share = max(chroma(picture) for picture in pictures)
        note = "the puzzle is neither grey nor its source but for some pixels; share of coloured pixels"
        return [Probe(task=str(task), name=NAME, verdict=WEAK, found=share, note=note)]
    others = np.where(hidden, np.roll(images, 1, 0), images)
    return [
        _probe_change(maker, others, images, puzzle, answer, 0.0, f"the {hidden.mean():.0%} of pixels that it lacks")
    ]


def parts_of(puzzle: Any) -> dict[str, np.ndarray]:
    """Return the tensors of a puzzle by name."""
    return puzzle if isinstance(puzzle, dict) else {"puzzle": puzzle}


def pictures_of(puzzle: Any) -> dict[str, np.ndarray]:
    """Return what the trunk may see: uint8 [B, H, W, c].

    A target that a head is given in training, say, is not seen.
    """
    return {name: part for name, part in parts_of(puzzle).items() if part.ndim == 4 and part.dtype == np.uint8}


def _share(one: np.ndarray, other: np.ndarray, allowed: float) -> float:
    return float((np.abs(one.astype(np.float64) - other.astype(np.float64)) > allowed).mean())


def chroma(picture: np.ndarray) -> float:
    """Return the share of pixels of [..., c] whose channels differ."""
    return float((picture.max(-1) - picture.min(-1) > 1e-6).mean())


def hidden_pixels(images: np.ndarray, shown: np.ndarray) -> np.ndarray | None:
    """Find the pixels of the source that the puzzle does not show, bool [B, S, S, 1]; None where it does not show most.

    The puzzle may show the mirror image: whichever side differs less counts.
    """
    if shown.shape != images.shape or shown.dtype != images.dtype:
        return None
    upright = (shown != images).any(-1, keepdims=True)
    mirrored = (shown[:, :, ::-1] != images).any(-1, keepdims=True)
    is_mirrored = mirrored.mean((1, 2, 3)) < upright.mean((1, 2, 3))
    hidden = np.where(is_mirrored[:, None, None, None], mirrored, upright)
    return hidden if 0 < hidden.mean() < 0.6 else None


def other_colours(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Give pixels of uint8 [..., 3] the same luminance and other colours: as far along one axis as fits."""
    values = images.astype(np.float32) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    axis = np.random.default_rng(seed).normal(size=3).astype(np.float32)
    axis -= LUMINANCE * (axis @ LUMINANCE) / (LUMINANCE @ LUMINANCE)
    room = np.where(axis > 0, 1 - linear, linear) / np.abs(axis)
    linear = np.clip(linear + axis * room.min(-1, keepdims=True), 0, 1)
    values = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * values).astype(np.uint8)


def _probe_change(
    maker: Maker, others: np.ndarray, images: np.ndarray, puzzle: Any, answer: Any, allowed: float, what: str
) -> Probe:
    """Say how much of the puzzle changes with the source, and whether the answer does.

    Where the answer does not change, nothing was hidden there.
    """
    changed_puzzle, changed_answer, _ = maker.graph({"image": others}, 0)
    shares = {name: _share(one, parts_of(changed_puzzle)[name], allowed) for name, one in parts_of(puzzle).items()}
    share = max(shares[name] for name in pictures_of(puzzle))
    others_changed = [name for name in shares if shares[name] and name not in pictures_of(puzzle)]
    rows = len(images)
    answers = np.zeros(rows, bool)
    for one, other in zip(tf.nest.flatten(answer), tf.nest.flatten(changed_answer), strict=True):
        answers |= (one.reshape(rows, -1) != other.reshape(rows, -1)).any(1)
    verdict = LEAK if share > 0 else WEAK if others_changed or answers.mean() <= 0.5 else OK
    given = f"; the head is given {', '.join(others_changed)}, which does too" if others_changed else ""
    return Probe(
        task=str(maker.task),
        name=NAME,
        verdict=verdict,
        found=share,
        chance=0.0,
        note=f"share of the puzzle that changes with {what}; {answers.mean():.0%} of answers do{given}",
    )
