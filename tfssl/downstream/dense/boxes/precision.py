"""Average precision of boxes, as COCO has it: pictures are matched by pycocotools, and what it found is kept.

What is kept of each picture is a row of numbers, so that the figures of any draw of pictures follow without matching
them again: for intervals.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfssl.export.signatures.dense import DETECTIONS
from tfssl.pipelines.ops.annotations import CROWD, LEFT_OUT

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Of intersection over union, from which on a box is right."""
RECALLS = np.linspace(0, 1, 101)
FIELDS = 4
"""Of a box that was found: score, class, bits of the thresholds at which it is right, and where it does not count."""
HELD = 1 << 22
"""Numbers that are worked on at once."""


def matches(answers: np.ndarray, found: Mapping[str, np.ndarray], classes: int) -> np.ndarray:
    """Match what was found with the answers of pictures.

    Args:
      answers: float [B, K, 6], of `pipelines.ops.annotations.cut_boxes`. Crowds are as of pycocotools: any number of
        boxes may lie in one, and do not count. So it is with one box in one that is left out.
      found: "boxes" [B, D, 4], "scores" and "classes" [B, D], "count" [B], of `export.signatures.dense.boxes`.

    Returns:
      float64 [B, 4 D + classes]: score, class (-1 where there is none), right, not counted of each box that was found,
      and how many boxes of each class there are.
    """
    from pycocotools.cocoeval import COCOeval

    things, given = [], []
    for number, rows in enumerate(answers, 1):
        things += [_annotation(number, row[:4], int(row[4]), row[5]) for row in rows.tolist() if row[5] > 0]
        boxes, numbers, scores = (found[name][number - 1].tolist() for name in ("boxes", "classes", "scores"))
        given += [
            _annotation(number, boxes[place], numbers[place], score=scores[place])
            for place in range(int(found["count"][number - 1]))
        ]
    pictures, out = range(1, len(answers) + 1), np.zeros((len(answers), FIELDS * DETECTIONS + classes))
    out[:, 1 : FIELDS * DETECTIONS : FIELDS] = -1
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(things, len(answers), classes), _coco(given, len(answers), classes), "bbox")
        evaluation.params.imgIds, evaluation.params.catIds = list(pictures), list(range(classes))
        evaluation.params.iouThrs, evaluation.params.maxDets = THRESHOLDS, [DETECTIONS]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, _HUGE / 2]], ["all"]
        evaluation.evaluate()
    bits, filled = 1 << np.arange(len(THRESHOLDS)), np.zeros(len(answers), int)
    for each in filter(None, evaluation.evalImgs):
        row, scores = each["image_id"] - 1, np.array(each["dtScores"])
        right, open_ = bits @ (each["dtMatches"] > 0), bits @ (each["dtIgnore"] > 0)
        places = FIELDS * (filled[row] + np.arange(len(scores)))
        for field, values in enumerate((scores, each["category_id"], right, open_)):
            out[row, places + field] = values
        filled[row] += len(scores)
        out[row, FIELDS * DETECTIONS + each["category_id"]] = np.sum(np.asarray(each["gtIgnore"]) == 0)
    return out


_HUGE = 1e10
"""The area of what is left out: pycocotools does not count what is outside of the range of areas."""


def _annotation(
    picture: int, corners: Sequence[float], number: int, kind: float = 0.0, score: float | None = None
) -> dict[str, Any]:
    left, top, right, bottom = corners
    box = [left, top, right - left, bottom - top]
    made = {"image_id": picture, "category_id": number, "bbox": box, "iscrowd": int(kind == CROWD)}
    made["area"] = _HUGE if kind == LEFT_OUT else box[2] * box[3]
    return made if score is None else made | {"score": score}


def _coco(annotations: list[dict[str, Any]], pictures: int, classes: int) -> Any:
    from pycocotools.coco import COCO

    made = COCO()
    made.dataset = {
        "images": [{"id": number} for number in range(1, pictures + 1)],
        "annotations": [each | {"id": number} for number, each in enumerate(annotations, 1)],  # 0 is "none" in COCOeval
        "categories": [{"id": number} for number in range(classes)],
    }
    made.createIndex()
    return made


def average_precisions(table: np.ndarray, counts: np.ndarray, thresholds: Sequence[int]) -> np.ndarray:
    """Return the average precision of each class, of draws of pictures.

    Precision is the largest at that recall or more, averaged over 101 recalls, as in COCOeval.accumulate.

    Args:
      table: of `matches`, [M, .].
      counts: how often each picture is in each draw, float64 [D, M].
      thresholds: numbers of `THRESHOLDS`.

    Returns:
      float64 [D, thresholds, classes]; nan where a draw has no box of the class.
    """
    split = FIELDS * DETECTIONS
    rows = table[:, :split].reshape(-1, FIELDS)
    own, pictures = rows[rows[:, 1] >= 0], np.repeat(np.arange(len(table)), DETECTIONS)[rows[:, 1] >= 0]
    order = np.argsort(-own[:, 0], kind="stable")
    own, pictures = own[order], pictures[order]
    there = counts @ table[:, split:]
    out = np.full((len(counts), len(thresholds), there.shape[1]), np.nan)
    for number in np.flatnonzero(table[:, split:].sum(0)):
        held = own[:, 1] == number
        right, opened = own[held, 2].astype(int), own[held, 3].astype(int)
        step = max(1, HELD // max(1, held.sum()))
        for first in range(0, len(counts), step):
            part = np.s_[first : first + step]
            weights = counts[part][:, pictures[held]]
            for place, threshold in enumerate(thresholds):
                counted = weights * (opened >> threshold & 1 == 0)
                is_right = right >> threshold & 1 == 1
                out[part, place, number] = _areas(counted * is_right, counted * ~is_right, there[part, number])
    return out


def _areas(right: np.ndarray, wrong: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return average precision [D] of boxes in the order of their scores, [D, n] each; nan where there are none."""
    right, wrong = np.cumsum(right, 1), np.cumsum(wrong, 1)
    recall = right / np.maximum(there, 1)[:, None]
    precision = right / np.maximum(right + wrong, 1e-9)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    precision = np.concatenate([precision, np.zeros((len(there), 1))], 1)
    at = np.stack([np.searchsorted(each, RECALLS) for each in recall])
    return np.where(there > 0, np.take_along_axis(precision, at, 1).mean(1), np.nan)


def means(precisions: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not nan; 0 where all is."""
    held = ~np.isnan(precisions)
    return np.where(held, precisions, 0).sum(-1) / np.maximum(held.sum(-1), 1)
