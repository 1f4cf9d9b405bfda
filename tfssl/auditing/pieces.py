"""The puzzle put right by its answer: is it the source, and do facing edges of its pieces go on in each other?"""

from collections.abc import Iterable

import numpy as np

from tfssl.auditing import statistics
from tfssl.auditing.results import FAULT, LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Made
from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts.classification import ChoiceTask
from tfssl.tasks.parts.undoing import Pieces, Undoable

LOOKED_UP = 96
"""Pictures whose pieces are looked up in their source."""

FOUND = 0.9
"""Correlation from which on a piece is that place of the source. A piece that was down- and up-sampled reaches it."""

ENOUGH = 0.95
FLAT = 3.0
"""Deviation in grey levels under which a piece looks like any place."""

GOES_ON = 1.3
"""Step over a gap, in steps between neighbouring lines inside of a piece, under which an edge goes on in the next."""


def put_right(task: PretextTask, made: Made) -> Pieces | None:
    """Return the pieces of a batch, as numpy arrays; None where the task cannot be undone."""
    pieces = task.undone(made.puzzle, made.answer) if isinstance(task, Undoable) else None
    return None if pieces is None else Pieces(np.asarray(pieces.pixels), np.asarray(pieces.boxes))


def is_cut(pieces: Pieces | None) -> bool:
    """Say whether the pieces come from places that differ, as patches do and turned pictures do not."""
    return pieces is not None and len(np.unique(pieces.boxes, axis=0)) > 1


def probes(task: PretextTask, batches: Iterable[Made]) -> list[Probe]:
    """Say whether pieces occur in their source, and how large the step between facing edges is."""
    name = "undone, it is the source"
    first = put_right(task, next(iter(batches)))
    if first is None:
        return [Probe(task=str(task), name=name, verdict=NONE, note="the task cannot be undone")]
    shares, controls, pictures = [], [], 0
    for made in batches:
        if pictures >= LOOKED_UP:
            break
        pieces = put_right(task, made)
        assert pieces is not None
        shares.append(find_in(made.images, pieces))
        controls.append(find_in(np.roll(made.images, 1, 0), pieces))
        pictures += len(made.images)
    share, control = (_mean(np.concatenate(each)) for each in (shares, controls))
    verdict = OK if share >= ENOUGH else FAULT
    note = "share of pieces found in their box, beside that in another picture"
    results = [Probe(task=str(task), name=name, verdict=verdict, found=share, chance=control, note=note)]
    return results + ([_continuity(task, batches)] if facing(first.boxes) else [])


def seen_by_place(task: PretextTask, made: Made, pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of questions as the network gets them, each once, and where each lies.

    `undone` may give pieces as they were cut, `questions` gives them as they are seen (one channel kept, down-sampled):
    a part is that piece of its picture with which it correlates best.

    Returns:
      uint8 [M, h, w, 3]; int [M], the number of the box.
    """
    parts = made.asked[0] if isinstance(task, ChoiceTask) else pieces.pixels
    rows, number = pieces.pixels.shape[:2]
    if parts.shape[2:] != pieces.pixels.shape[2:] or len(parts) % rows:
        return pieces.pixels.reshape(-1, *pieces.pixels.shape[2:]), np.tile(np.arange(number), rows)
    parts = parts.reshape(rows, -1, *parts.shape[2:])
    seen, cut = _standardise(_channels(parts)), _standardise(_channels(pieces.pixels))
    places = np.einsum("bqhwc,bnhwc->bqnc", seen, cut, optimize=True).max(-1).argmax(-1)
    pixels, kept = [], []
    for row in range(rows):
        names, first = np.unique(places[row], return_index=True)
        pixels.append(parts[row, first])
        kept.append(names)
    return np.concatenate(pixels), np.concatenate(kept)


def _standardise(values: np.ndarray) -> np.ndarray:
    values = values - values.mean((2, 3), keepdims=True)
    return values / (np.sqrt(np.square(values).mean((2, 3), keepdims=True)) + 1e-3)


def _mean(values: np.ndarray) -> float:
    """Return the mean of those that are not NaN; 1 where all pieces are flat, as nothing speaks against them."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else 1.0


def find_in(images: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Search each piece in its box of the picture or of its mirror image: float [B, n], 1 where it occurs, NaN if flat.

    All pieces of a picture are looked for in the picture or all in its mirror image: that with more of them counts.
    """
    upright, mirrored = (
        np.stack([_correlations(side, pieces.pixels[:, k], box) for k, box in enumerate(pieces.boxes)], 1)
        for side in (images, images[:, :, ::-1])
    )
    flat = _channels(pieces.pixels)[..., 0].std((2, 3)) < FLAT
    right = np.where(
        (mirrored >= FOUND).sum(1, keepdims=True) > (upright >= FOUND).sum(1, keepdims=True), mirrored, upright
    )
    return np.where(flat, np.nan, right >= FOUND)


def _correlations(images: np.ndarray, pieces: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the largest normalised correlation of a piece [B, h, w, 3] over all places in a box, 1 if flat: float [B].

    Of grey values, and of each channel: where noise stands in for two of them, the third is still the source's.
    """
    top, left, tall, wide = box
    height, width = pieces.shape[1:3]
    inside = _channels(images[:, top : top + tall, left : left + wide])
    parts = _channels(pieces)
    windows = np.lib.stride_tricks.sliding_window_view(inside, (height, width), (1, 2))  # [B, y, x, 4, h, w]
    parts = parts - parts.mean((1, 2), keepdims=True)
    products = np.einsum("byxchw,bhwc->byxc", windows, parts, optimize=True)
    count = height * width
    sums, squares = (_box_sums(values, height, width) for values in (inside, inside * inside))
    deviation = np.sqrt(np.maximum(squares - sums**2 / count, 0) * np.square(parts).sum((1, 2))[:, None, None])
    correlation = np.where(deviation > 1e-3, products / np.maximum(deviation, 1e-3), 0.0)
    return correlation.max((1, 2, 3))


def _box_sums(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sum over all windows of [B, H, W, C]: [B, H - height + 1, W - width + 1, C]."""
    total = np.pad(values.astype(np.float64), [(0, 0), (1, 0), (1, 0), (0, 0)]).cumsum(1).cumsum(2)
    rows = total[:, height:] - total[:, :-height]
    return rows[:, :, width:] - rows[:, :, :-width]


def _channels(pixels: np.ndarray) -> np.ndarray:
    """Return grey, red, green, blue: float32 [..., 4]."""
    values = pixels.astype(np.float32)
    return np.concatenate([values.mean(-1, keepdims=True), values], -1)


def facing(boxes: np.ndarray) -> list[tuple[int, int, bool]]:
    """List pairs of pieces that are neighbours: (first, second, whether the second lies below, else to the right).

    Boxes of neighbours may overlap or leave a gap, as they hold cells of more than one size.
    """
    pairs = []
    for first, (top, left, tall, wide) in enumerate(boxes):
        for second, (lower, right, *_) in enumerate(boxes):
            down, across = (lower - top) / tall, (right - left) / wide
            if 0.5 < across < 1.5 and abs(down) < 0.25:
                pairs.append((first, second, False))
            elif 0.5 < down < 1.5 and abs(across) < 0.25:
                pairs.append((first, second, True))
    return pairs


def _continuity(task: PretextTask, batches: Iterable[Made]) -> Probe:
    """Measure the step from edge to facing edge, in steps between neighbouring lines.

    The step is 1 where the picture just goes on.
    """
    across: list[float] = []
    inside: list[float] = []
    strange: list[float] = []
    for made in batches:
        pieces = put_right(task, made)
        assert pieces is not None
        pixels = pieces.pixels.astype(np.float32)
        sums = np.zeros([3, len(pixels)])
        for first, second, is_below in facing(pieces.boxes):
            one, other = (pixels[:, k] if is_below else pixels[:, k].swapaxes(1, 2) for k in (first, second))
            step = np.abs(one[:, -1] - other[:, 0]).mean((1, 2))
            near = np.abs(one[:, -1] - one[:, -2]).mean((1, 2)) + np.abs(other[:, 0] - other[:, 1]).mean((1, 2))
            far = np.abs(one[:, -1] - np.roll(other[:, 0], 1, 0)).mean((1, 2))
            sums += np.stack([step, near / 2, far])
        for values, kept in zip(sums, (across, inside, strange), strict=True):
            kept.append(values.mean())
    level = float(np.mean(inside)) + 1e-6
    ratio, bounds = statistics.mean_interval(np.array(across) / level, np.arange(len(across)))
    verdict = LEAK if bounds[0] < GOES_ON and ratio < GOES_ON else WEAK if bounds[0] < GOES_ON else OK
    return Probe(
        task=str(task),
        name="facing edges",
        verdict=verdict,
        found=ratio,
        bounds=bounds,
        chance=float(np.mean(strange)) / level,
        unit="steps",
        note=f"step over the gap, in steps inside of a piece: 1 where it goes on; a leak is below {GOES_ON}",
    )
