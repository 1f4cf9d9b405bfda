"""Does a patch's colour fringe tell where in the picture it lay?

A lens shifts red and blue against green, towards the middle of the photo or away from it; so a patch tells its place by
that alone (Doersch et al. 2015, section 3.1, whose regressor of a patch's absolute position is the model of this one).
Theirs is a network and sees the content too; this one sees the shifts between channels alone, so all it finds is leak.
"""

from collections.abc import Iterable

import numpy as np

from tfssl.auditing import statistics
from tfssl.auditing.pieces import is_cut, put_right, seen_by_place
from tfssl.auditing.results import LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Made
from tfssl.tasks.base import PretextTask

NAME = "position from colour fringes"
LARGEST = 3.0
"""Pixels; a larger shift between channels is a wrong estimate."""

MARGIN = 0.02
"""Part of the error of chance by which a leak is below it."""


def probe(task: PretextTask, made: Iterable[Made]) -> Probe:
    """Return the root mean square error of a piece's place, guessed from colour fringes, and of always the mean."""
    values, places, groups = [], [], []
    for group, batch in enumerate(made):
        pieces = put_right(task, batch)
        if pieces is None or not is_cut(pieces):
            return Probe(task=str(task), name=NAME, verdict=NONE, note="the task has no patches")
        pixels, places_seen = seen_by_place(task, batch, pieces)
        top, left, tall, wide = pieces.boxes[places_seen].T
        size = batch.images.shape[1]
        values.append(shifts(pixels))
        places.append(np.stack([(top + tall / 2) / size, (left + wide / 2) / size], 1))
        groups.append(np.full(len(pixels), group))
    squares, by_mean, group_of = errors(np.concatenate(values), np.concatenate(places), np.concatenate(groups))
    gain, bounds = statistics.mean_interval(by_mean - squares, group_of)
    chance = float(by_mean.mean())
    low, high = (float(np.sqrt(max(chance - bound, 0))) for bound in bounds[::-1])
    surely = statistics.mean_interval(by_mean - squares, group_of, statistics.SURE)[1][0]
    verdict = LEAK if high < (1 - MARGIN) * np.sqrt(chance) else WEAK if surely > 0 else OK
    return Probe(
        task=str(task),
        name=NAME,
        verdict=verdict,
        found=float(np.sqrt(max(chance - gain, 0))),
        bounds=(low, high),
        chance=float(np.sqrt(chance)),
        unit="sides",
        note="error of a patch's place in sides of the crop; a leak is 2 % below chance",
    )


def shifts(patches: np.ndarray) -> np.ndarray:
    """Measure how red and blue lie against green and red against blue, float [M, 6]: down and across, in pixels.

    Least squares over the patch of what a small shift changes: difference of channels against gradient (Lucas and
    Kanade 1981). A grey patch, or one with two empty channels, has none.

    Args:
      patches: uint8 [M, h, w, 3].
    """
    values = patches.astype(np.float32)
    values = values - values.mean((1, 2), keepdims=True)
    values = values / (values.std((1, 2), keepdims=True) + 1)
    columns = []
    for moved, fixed in ((0, 1), (2, 1), (0, 2)):
        one, other = values[..., moved], values[..., fixed]
        mean = (one + other) / 2
        down = (mean[:, 2:, 1:-1] - mean[:, :-2, 1:-1]) / 2
        across = (mean[:, 1:-1, 2:] - mean[:, 1:-1, :-2]) / 2
        change = (one - other)[:, 1:-1, 1:-1]
        dd, aa, da = ((a * b).mean((1, 2)) for a, b in ((down, down), (across, across), (down, across)))
        dc, ac = ((a * change).mean((1, 2)) for a in (down, across))
        dd, aa = dd + 1e-3, aa + 1e-3
        scale = dd * aa - da * da
        columns += [(da * ac - aa * dc) / scale, (da * dc - dd * ac) / scale]
    return np.clip(np.stack(columns, 1), -LARGEST, LARGEST)


def errors(values: np.ndarray, places: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return squared errors [M] of a ridge regression that saw the other half of the batches, and of that half's mean.

    Args:
      values: float [M, F].
      places: float [M, 2], down and across.
      groups: int [M], the batch of each; given back.
    """
    squares, by_mean = np.empty(len(values)), np.empty(len(values))
    for half in (0, 1):
        train, test = groups % 2 != half, groups % 2 == half
        centre, mean = values[train].mean(0), places[train].mean(0)
        scaled = (values - centre) / (values[train].std(0) + 1e-4)
        matrix = scaled[train].T @ scaled[train] + train.sum() * 1e-3 * np.eye(values.shape[1])
        weights = np.linalg.solve(matrix, scaled[train].T @ (places[train] - mean))
        squares[test] = np.square(places[test] - mean - scaled[test] @ weights).sum(1)
        by_mean[test] = np.square(places[test] - mean).sum(1)
    return squares, by_mean, groups
