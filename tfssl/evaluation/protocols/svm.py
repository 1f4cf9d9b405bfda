"""Linear SVMs, one against all: what mean average precision is published of."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.protocols.base import Protocol, Rows, Split
from tfssl.evaluation.protocols.linear_map import LinearMap, apply, of_all_classes
from tfssl.frozen import metrics

COSTS = tuple(10.0**power for power in range(-4, 4))
"""What held-out rows choose among, the strongest penalty first."""
USUAL = 1.0
"""The cost where nothing can be held out."""
WORSE = 2
"""After so many costs in a row that are worse than the best one no larger ones are tried."""
LARGEST = 1 << 27
"""Numbers that scikit-learn is given at once; it takes 24 bytes for each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupportVectors(Protocol):
    """One linear SVM a class against all others, of a grid of each stage's map; scores are decision values.

    As Goyal et al. 2019 (arXiv 1905.01235) on VOC07: L2-normalised features, squared hinge, a class's own rows weigh
    twice (scikit-learn's LinearSVC). One thing differs. They choose C for each class by 3-fold cross-validation; here
    it is one C for all, that of the best mean average precision of the held-out rows. These are what all other choices
    are made on, pieces of one recording never stand on both sides, and it is one fit a C in place of three; a class
    with few rows would have none in some folds; and decision values of one C can be compared, as naming the class of
    the largest one does.

    It is meant for thousands of pictures: a fit takes time in proportion to rows, numbers and classes. Where a picture
    may have several labels, as in VOC07, each class asks for its own rows all the same.

    Attributes:
      cost: C; what held-out rows choose of `COSTS` where None, and `USUAL` where there are none.
    """

    name: ClassVar[str] = "svm"
    title: ClassVar[str] = "linear SVM"
    pool: ClassVar[int | None] = None
    several: ClassVar[bool] = True
    cost: float | None = None

    def __post_init__(self) -> None:
        if self.cost is not None and not (isinstance(self.cost, (int, float)) and self.cost > 0):
            raise UserError(f"svm: cost={self.cost!r} is given, expected a number above 0")

    def scores(self, train: Rows, test: Features, classes: int) -> np.ndarray:
        machines = fit(for_liblinear(train.features), train.labels, classes, self.cost or USUAL)
        return apply([machines], test, normalised)[0]

    def choose(self, train: Rows, splits: Sequence[Split], classes: int) -> tuple[Self, np.ndarray]:
        if self.cost is not None:
            return super().choose(train, splits, classes)
        features = for_liblinear(train.features)
        answers = np.concatenate([split.held_out.labels for split in splits])

        def scored(split: Split, cost: float) -> np.ndarray:
            machines = fit(features[split.learn], train.labels[split.learn], classes, cost)
            return apply([machines], split.held_out.features, normalised)[0]

        best, chosen, worse = -1.0, (USUAL, np.zeros(0)), 0
        for cost in COSTS:
            values = np.concatenate([scored(split, cost) for split in splits])
            precision = metrics.mean_average_precision(values, answers)
            worse = 0 if precision > best else worse + 1
            if precision > best:
                best, chosen = precision, (cost, values)
            elif worse == WORSE:
                break
        return dataclasses.replace(self, cost=chosen[0]), chosen[1]


def normalised(features: np.ndarray) -> np.ndarray:
    """Divide each row by its length: float32 [N, D] of features float [N, D]."""
    rows = features.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def for_liblinear(features: Features) -> np.ndarray:
    """Return `normalised` features as float64, which liblinear computes in.

    Raises:
      UserError: more numbers than `LARGEST`.
    """
    if features.size > LARGEST:
        count, numbers = features.shape
        raise UserError(
            f"svm: {count:,} rows of {numbers:,} numbers are given, expected {LARGEST:,} numbers at most, as each takes"
            f" 24 bytes; give --numbers {LARGEST // count} or fewer, or ask for linear"
        )
    return normalised(np.asarray(features)).astype(np.float64)


def fit(features: np.ndarray, labels: np.ndarray, classes: int, cost: float) -> LinearMap:
    """Fit an SVM for each class against the rest.

    Args:
      features: float64 [N, D], of `for_liblinear`.
      labels: int [N], 0 .. classes - 1; or float [N, classes], 1 where a row has a label, of which it may have several.
      cost: C, of the sum over rows of the squared hinge.

    Returns:
      What gives decision values.
    """
    from sklearn.svm import LinearSVC

    own = labels > 0 if labels.ndim > 1 else labels[:, None] == np.arange(classes)
    present = np.flatnonzero(own.any(0))
    kernel, bias = np.zeros((features.shape[1], len(present))), np.zeros(len(present))
    # The primal solver is Newton's, and draws nothing: the same gives the same.
    machine = LinearSVC(C=cost, class_weight={1: 2, -1: 1}, dual=False)
    with warnings.catch_warnings():
        # Where rows can be told apart and C is large, the last digits of the solution are not reached.
        warnings.simplefilter("ignore")
        for place, label in enumerate(present):
            if own[:, label].all():  # nothing to tell it from
                continue
            machine.fit(features, np.where(own[:, label], 1, -1))
            kernel[:, place], bias[place] = machine.coef_[0], machine.intercept_[0]
    return of_all_classes((kernel, bias), present, classes)
