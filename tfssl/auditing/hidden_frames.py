"""For tasks on clips whose answer is a picture: is there a frame that the answer needs and the puzzle does not show?

Frame after frame is changed in the source, in colour only where the puzzle is grey. A frame with which the answer
changes, and the puzzle does not, is hidden.
"""

import numpy as np

from tfssl.auditing import marked_clips
from tfssl.auditing.intervention import chroma, other_colours, parts_of, pictures_of
from tfssl.auditing.results import LEAK, NONE, OK, Probe
from tfssl.auditing.samples import Batch, Maker
from tfssl.tasks.parts.classification import ChoiceTask

NAME = "a frame is hidden"
ROWS = 8
ENOUGH = 0.95
ROUNDING, FEW = 4.0, 0.25
"""Grey levels by which a grey picture may change, and the share of its pixels that may by more: JPEG rounds colours,
and where pixels are mixed to smaller ones, as colours and not as lights, their lightness is not quite the same."""


def probe(maker: Maker, batch: Batch) -> Probe:
    """Change each frame of the first clips of a batch, in turn."""
    task = maker.task
    if isinstance(task, ChoiceTask):
        return Probe(task=str(task), name=NAME, verdict=NONE, note="the answer is a choice: see the nuisances")
    some = {key: np.asarray(value)[:ROWS] for key, value in batch.items()}
    puzzle, answer, weight = maker.graph(some, 0)
    shown_pictures = pictures_of(puzzle) or {name: part for name, part in parts_of(puzzle).items() if part.ndim == 5}
    grey = all(part.shape[-1] == 1 or chroma(part) == 0 for part in shown_pictures.values())
    change = other_colours if grey else (lambda picture: 255 - picture)
    rows = len(some["clip"])
    hidden = np.zeros(rows, bool)
    for place in range(marked_clips.frame_count(some["clip"])):
        changed = {**some, "clip": marked_clips.with_frame(some["clip"], place, change)}
        other_puzzle, other_answer, _ = maker.graph(changed, 0)
        shown = np.zeros(rows, bool)
        for name, part in parts_of(puzzle).items():
            away = np.abs(part.astype(np.float64) - parts_of(other_puzzle)[name])
            if grey and name in shown_pictures:
                shown |= ((away > ROUNDING).mean((-3, -2, -1)) > FEW).reshape(rows, -1).any(1)
            else:
                shown |= away.reshape(rows, -1).any(1)
        hidden |= (answer != other_answer).reshape(rows, -1).any(1) & ~shown
    counts = np.asarray(weight).reshape(rows, -1).any(1)
    if not counts.any():
        return Probe(task=str(task), name=NAME, verdict=NONE, note="no puzzle counts")
    share = float(hidden[counts].mean())
    what = "colour" if grey else "picture"
    note = f"share of clips of which the {what} of some frame is asked for and not shown"
    return Probe(task=str(task), name=NAME, verdict=OK if share >= ENOUGH else LEAK, found=share, note=note)
