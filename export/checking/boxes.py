"""Boxes that were found, beside golden ones: rounding decides which of two of the same score comes first."""

import numpy as np

NEAR = 0.5
"""Pixels within which a box is the golden one."""
ALONE = 0.05
"""The part of the boxes of a picture that only one of both may have, whose score or overlap is at a threshold."""


def in_golden_order(
    expected: dict[str, np.ndarray], answers: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Put the boxes of each picture in the order of the golden ones; leave out the few that only one of both has.

    Args:
      expected, answers: of the signature `detect`: "boxes" [N, K, 4], "scores", "labels" [N, K], "count" [N].

    Returns:
      Both, in whose "boxes" and "scores" a place has the same box and zeros where it has none, without "labels" and
      "count"; and which rows have too many boxes that the other has not, or other labels, bool [N].
    """
    wanted, given = ({name: np.array(rows) for name, rows in each.items()} for each in (expected, answers))
    wrong = np.zeros(len(wanted["count"]), bool)
    for row, (count, other) in enumerate(zip(wanted["count"], given["count"], strict=True)):
        boxes, labels, scores = (given[name][row].copy() for name in ("boxes", "labels", "scores"))
        for name in ("boxes", "scores"):
            given[name][row] = 0
        left = list(range(other))
        for place in range(count):
            away = [
                np.abs(boxes[each] - wanted["boxes"][row, place]).max()
                if labels[each] == wanted["labels"][row, place]
                else np.inf
                for each in left
            ]
            if away and min(away) <= NEAR:
                best = left.pop(int(np.argmin(away)))
                given["boxes"][row, place], given["scores"][row, place] = boxes[best], scores[best]
            else:
                wanted["boxes"][row, place] = wanted["scores"][row, place] = 0
        alone = len(left) + count - (other - len(left))
        wrong[row] = alone > ALONE * (count + other)
    rest = ("labels", "count")
    one, two = ({name: rows for name, rows in each.items() if name not in rest} for each in (wanted, given))
    return one, two, wrong
