"""From scores of classes to the figures of an evaluation."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfssl.base import statistics
from tfssl.frozen import metrics
from tfssl.runs.evaluation import Score


def score_of(shares: np.ndarray, answers: np.ndarray, counts: np.ndarray, held_out: float | None = None) -> Score:
    """Return the figures of scores of test rows.

    Args:
      shares: float [M, classes]; in each row the class with the largest one is the answer.
      answers: int [M], the right ones; or float [M, classes], 1 where a row has a label, of which it may have several.
      counts: int [classes], how many labels of each were learned from: which classes are common and which rare.
      held_out: what choices were made by, of what was held out for them: see `choice_of`.
    """
    precisions = metrics.average_precisions(shares, answers)
    score = Score(
        top1=metrics.top1(shares, answers),
        map=float(np.nanmean(precisions)),
        held_out=held_out,
        right=metrics.named_right(shares, answers).astype(np.float32),
        by_class=precisions,
    )
    if answers.ndim > 1:  # which of its labels a row is named by is a matter of chance, so that no class has a share
        return dataclasses.replace(score, map_interval=metrics.mean_average_precision_interval(shares, None, answers))
    recalls = metrics.recalls(shares, answers)
    balanced, groups = float(np.nanmean(recalls)), thirds(recalls, counts)
    return dataclasses.replace(score, balanced=balanced, thirds=groups, by_class=recalls)


def choice_of(shares: np.ndarray, answers: np.ndarray) -> float:
    """Return what stages are chosen by: the share named right; where rows have several labels, average precision.

    Arguments as of `score_of`.
    """
    return metrics.top1(shares, answers) if answers.ndim == 1 else metrics.mean_average_precision(shares, answers)


def over_draws(scores: Sequence[Score], held_out: float | None) -> Score:
    """Return the mean over draws of labels, and half of Student's 95 % interval of the mean share right.

    Of one draw its own figures. Draws that are level to the picture tell no interval: then there is none over draws.
    Which pictures were named right is another question for each draw, and is left out.

    Args:
      scores: one a draw.
      held_out: the share right of what was held out for choices.
    """
    if len(scores) == 1:
        return dataclasses.replace(scores[0], held_out=held_out)
    tops = tuple(each.top1 for each in scores)
    mean, low, _ = statistics.over_draws(tops)
    by_class = [each.by_class for each in scores if each.by_class is not None]
    return Score(
        top1=mean,
        map=float(np.mean([each.map for each in scores])),
        balanced=float(np.mean([each.balanced for each in scores])),
        held_out=held_out,
        over_draws=mean - low if mean - low > 1e-9 else None,
        draws=tops,
        by_class=np.mean(by_class, 0) if len(by_class) == len(scores) else None,
    )


def thirds(recalls: np.ndarray, counts: np.ndarray) -> tuple[float, float, float] | None:
    """Return the mean of `recalls` over the classes of most labels, of fewer, and of fewest.

    A third of the classes each, as near as can be; classes without test rows are left out. None where all classes have
    about as many labels (the largest not twice the smallest), or there are fewer than three.

    Args:
      recalls: float [classes], not a number where a class has no test row.
      counts: int [classes], labels that were learned from.
    """
    tested = np.flatnonzero(~np.isnan(recalls))
    if len(tested) < 3 or counts[tested].max() < 2 * counts[tested].min():
        return None
    order = tested[np.argsort(-counts[tested], kind="stable")]
    head, middle, tail = (float(recalls[part].mean()) for part in np.array_split(order, 3))
    return head, middle, tail
