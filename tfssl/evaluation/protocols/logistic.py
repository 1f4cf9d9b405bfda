"""Logistic regression of standardised features to its end, by L-BFGS, with a penalty that held-out rows choose.

What is minimised is the mean cross-entropy in nats plus penalty / 2 times the sum of squares of the kernel. With N rows
this is scikit-learn's LogisticRegression(C=1 / (N * penalty)) on standardised features.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from tfssl.base import blas
from tfssl.evaluation.on_disk import Features
from tfssl.evaluation.protocols.base import Split

PENALTIES = tuple(10.0**power for power in range(2, -7, -1))
"""What held-out rows choose among, the strongest first: each fit begins at the end of the one before."""
USUAL = 0.01
"""The penalty where nothing can be held out."""
WORSE = 2
"""After so many penalties in a row that are worse than the best one no weaker ones are tried."""
MUCH_WORSE = 1.02
"""Nor after one that is worse by this factor: weaker penalties take most steps."""
AXES = 64
"""How many principal axes have a scale of their own in the search."""
SAMPLE = 4096
"""Rows at most that the axes are those of."""
CHUNK = 256
"""Rows that are multiplied at once: they stay in the processor's cache while logits and gradients read them."""
STRIPES = 8
"""Parts of the rows at most that threads go through side by side; each has `CHUNK` rows at least, where there are two.
"""
SMALL = 1 << 22
"""Multiplications of a pass over the rows up to which one thread is faster: handing over takes as long."""
TURNED = 1024
"""Where there are fewer columns than rows, and not more rows than this, columns are replaced by as many as rows."""
KEPT = 1 << 31
"""Bytes up to which standardised rows are kept; else each pass standardises them again."""
ITERATIONS = 100
TOLERANCE = 1e-4
"""Of the largest entry of the gradient, where the search ends."""
GAIN = 1e-7
"""Share of the loss that a step must gain at least."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Logits are features times kernel plus bias.

    Attributes:
      kernel, bias: float32 [D, P] and [P].
      present: int [P], which classes these are; the others had no rows, and get probability 0.
      classes: how many there are.
    """

    kernel: np.ndarray
    bias: np.ndarray
    present: np.ndarray
    classes: int

    def scores(self, features: Features) -> np.ndarray:
        """Return probabilities float32 [M, classes] of features float [M, D]."""
        found = np.zeros((len(features), self.classes), np.float32)
        for rows, place in _chunks(features):
            found[place, self.present] = _softmax(rows @ self.kernel + self.bias)[0]
        return found


class Chosen(NamedTuple):
    """What held-out rows chose."""

    penalty: float
    scores: np.ndarray  # probabilities of the held-out rows, float32 [H, classes]
    fitted: Fitted  # to all rows, with this penalty


def fit(features: Features, labels: np.ndarray, classes: int, penalty: float) -> Fitted:
    """Fit to rows of features.

    Args:
      features: float16 or float32 [N, D].
      labels: int [N], 0 .. classes - 1; a class may have no row.
      classes: how many there are.
      penalty: see above.
    """
    problem = _Problem(features, labels, classes)
    return problem.fitted(problem.solve(penalty, problem.zeros(), np.ones(len(labels), bool)))


def fit_with_chosen_penalty(features: Features, labels: np.ndarray, classes: int, splits: Sequence[Split]) -> Chosen:
    """Choose one of `PENALTIES`, that of the least cross-entropy of held-out rows, and fit to all rows with it.

    Cross-entropy and not the share right, which moves in steps where few rows are held out. Columns are standardised by
    all rows, which takes no label.

    Args:
      features, labels, classes: as of `fit`.
      splits: one at least; with several the cross-entropy is that of all rows that are held out.
    """
    problem = _Problem(features, labels, classes)
    learned = [np.isin(np.arange(len(labels)), split.learn) for split in splits]
    answers = np.concatenate([split.held_out.labels for split in splits])
    # A class that a split does not learn has next to no probability with any penalty, and decides nothing.
    decide = np.concatenate(
        [np.isin(split.held_out.labels, labels[mask]) for split, mask in zip(splits, learned, strict=True)]
    )
    weights, worse = [problem.zeros()] * len(splits), 0
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    for penalty in PENALTIES:
        weights = [problem.solve(penalty, each, mask) for each, mask in zip(weights, learned, strict=True)]
        shares = np.concatenate(
            [problem.fitted(each).scores(split.held_out.features) for each, split in zip(weights, splits, strict=True)]
        )
        right = shares[np.arange(len(answers)), answers][decide]
        loss = -float(np.log(np.maximum(right, 1e-12)).mean()) if len(right) else 0.0
        worse = 0 if best is None or loss < best[0] else worse + 1
        if best is None or not worse:
            best = loss, penalty, shares, weights[-1]
        elif worse == WORSE or loss > MUCH_WORSE * best[0]:
            break
    assert best is not None
    _, penalty, shares, begin = best
    return Chosen(penalty, shares, problem.fitted(problem.solve(penalty, begin, np.ones(len(labels), bool))))


def statistics(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, float32 [D], without a float32 copy of everything.

    Columns that hardly vary get a deviation that they are not blown up by.
    """
    total = np.zeros(features.shape[1], np.float64)
    squares = np.zeros(features.shape[1], np.float64)
    shift = features[:CHUNK].astype(np.float32).mean(0)
    for rows, _ in _chunks(features):
        rows = rows - shift
        total += rows.sum(0)
        squares += np.einsum("nd,nd->d", rows, rows)
    mean = total / len(features)
    variance = np.maximum(squares / len(features) - mean**2, 0.0)
    return (mean + shift).astype(np.float32), np.sqrt(variance + 1e-5).astype(np.float32)


class _Problem:
    """One set of rows: what depends neither on the penalty nor on which rows are learned from is computed once.

    Standardised features vary most along few axes; along these the loss is curved most, and L-BFGS would take most of
    its steps to learn that. So it searches among weights that are scaled along these axes, each by its curvature.
    """

    def __init__(self, features: Features, labels: np.ndarray, classes: int):
        self._classes = classes
        self._present, self._targets = np.unique(labels, return_inverse=True)
        self._mean, self._deviation = statistics(features)
        self._rows: Features = features
        self._basis: np.ndarray | None = None  # float32 [D, R]
        if self._is_kept:
            self._rows = np.empty(features.shape, np.float32)
            for rows, place in _chunks(features):
                self._rows[place] = self._standardised(rows)
            if len(features) < features.shape[1] and len(features) <= TURNED:
                self._basis, self._rows = _turned(self._rows)
        self._axes, self._variances = self._principal()

    @property
    def _is_kept(self) -> bool:
        return self._rows.size * 4 <= KEPT

    def _standardised(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self._mean) / self._deviation

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, slice]]:
        """Yield standardised rows, float32 [n, R] in what basis they are kept, and where they stand."""
        for rows, place in _chunks(self._rows, start, stop):
            yield rows if self._is_kept else self._standardised(rows), place

    def _principal(self) -> tuple[np.ndarray, np.ndarray]:
        """Return principal axes as columns, float32 [R, A], and the variances along them, float64 [A], falling.

        Nearly: two steps of subspace iteration on some of the rows (Halko et al. 2011, arXiv 0909.4061). That makes the
        search as short, and whatever they are, its end is the same.
        """
        rows = np.asarray(self._rows[:: -(-len(self._rows) // SAMPLE)], np.float32)
        rows = rows if self._is_kept else self._standardised(rows)
        count = min(AXES, *rows.shape)
        axes = np.random.default_rng(0).standard_normal((rows.shape[1], count), np.float32)
        for _ in range(2):
            axes = np.linalg.qr(rows.T @ (rows @ axes) / len(rows))[0]
        along = rows @ axes
        variances, turn = np.linalg.eigh((along.T @ along).astype(np.float64) / len(rows))
        return (axes @ turn[:, ::-1].astype(np.float32)), np.maximum(variances[::-1], 0.0)

    def zeros(self) -> np.ndarray:
        """Return weights to begin with: float32 [R + 1, P], the last row is the bias."""
        return np.zeros((self._rows.shape[1] + 1, len(self._present)), np.float32)

    def solve(self, penalty: float, begin: np.ndarray, learned: np.ndarray) -> np.ndarray:
        """Return the weights with the least loss of the rows where `learned`, bool [N], of the shape of `zeros`."""
        from scipy.optimize import minimize

        # The curvature along an axis is at most a quarter of its variance (Boehning 1992), and the penalty.
        scales = np.sqrt(0.25 * self._variances + penalty).astype(np.float32)
        others = scales[-1]

        def scaled(weights: np.ndarray, along: np.ndarray, elsewhere: np.float32, bias: float) -> np.ndarray:
            kernel = weights[:-1]
            turned = self._axes @ ((along - elsewhere)[:, None] * (self._axes.T @ kernel))
            return np.concatenate([elsewhere * kernel + turned, np.float32(bias) * weights[-1:]])

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            searched = flat.astype(np.float32).reshape(begin.shape)
            weights = scaled(searched, 1 / scales, 1 / others, 2.0)
            value, gradient = self._loss(weights, learned, threads)
            gradient[:-1] += np.float32(penalty) * weights[:-1]
            value += 0.5 * penalty * float(np.sum(weights[:-1] ** 2, dtype=np.float64))
            return value, scaled(gradient, 1 / scales, 1 / others, 2.0).astype(np.float64).ravel()

        start = scaled(begin, scales, others, 0.5).astype(np.float64).ravel()
        options = {"maxiter": ITERATIONS, "gtol": TOLERANCE, "ftol": GAIN}
        with ThreadPoolExecutor(os.cpu_count()) as threads, blas.one_thread():
            found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        return scaled(found.x.astype(np.float32).reshape(begin.shape), 1 / scales, 1 / others, 2.0)

    def _loss(self, weights: np.ndarray, learned: np.ndarray, threads: Executor) -> tuple[float, np.ndarray]:
        """Return the mean cross-entropy and its gradient, float32 [R + 1, P].

        Stripes of rows side by side, each on one thread: matrices with as few columns as classes gain little from
        threads of BLAS, and these wait for one another where the machine has other work. As many stripes whatever the
        machine has, and in their order, so that the sums are the same everywhere.
        """
        stripes = min(STRIPES, -(-len(self._rows) // CHUNK))
        edges = np.linspace(0, len(self._rows), stripes + 1).astype(int)
        side_by_side = map if self._rows.size * weights.shape[1] <= SMALL else threads.map
        parts = list(side_by_side(lambda k: self._part(weights, learned, *edges[k : k + 2]), range(stripes)))
        count = int(learned.sum())
        return sum(total for total, _ in parts) / count, np.sum([part for _, part in parts], 0) / np.float32(count)

    def _part(self, weights: np.ndarray, learned: np.ndarray, start: int, stop: int) -> tuple[float, np.ndarray]:
        gradient = np.zeros_like(weights)
        total = 0.0
        for rows, place in self._pieces(start, stop):
            targets, counted = self._targets[place], learned[place]
            shares, logarithms = _softmax(rows @ weights[:-1] + weights[-1])
            numbers = np.arange(len(targets))
            total -= float(logarithms[numbers, targets][counted].sum(dtype=np.float64))
            shares[numbers, targets] -= 1.0
            # Rows that are held out are multiplied too: to leave them out would copy gigabytes of the others.
            shares *= counted[:, None]
            gradient[:-1] += rows.T @ shares
            gradient[-1] += shares.sum(0)
        return total, gradient

    def fitted(self, weights: np.ndarray) -> Fitted:
        """Return weights as a map from features as they came: ((x - m) / s) W = x (W / s) - (m / s) W."""
        kernel = weights[:-1] if self._basis is None else self._basis @ weights[:-1]
        kernel = kernel / self._deviation[:, None]
        return Fitted(kernel, weights[-1] - self._mean @ kernel, self._present, self._classes)


def _turned(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis, float32 [D, R], of what rows float32 [N, D] span, and the rows in it.

    The weights that are best lie in there too, and R is N at most: with 80 rows of 9,216 columns each step is a
    hundredth of the work.
    """
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    kept = values > 1e-6 * max(values[-1], 1e-12)
    lengths, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return (rows.T @ (vectors / lengths).astype(np.float32)), (vectors * lengths).astype(np.float32)


def _chunks(rows: Features, start: int = 0, stop: int | None = None) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield `CHUNK` rows at once as float32, and where they stand."""
    stop = len(rows) if stop is None else stop
    for begin in range(start, stop, CHUNK):
        place = slice(begin, min(begin + CHUNK, stop))
        yield rows[place].astype(np.float32, copy=False), place


def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and their logarithms."""
    shifted = logits - logits.max(1, keepdims=True)
    shares = np.exp(shifted)
    whole = shares.sum(1, keepdims=True)
    return shares / whole, shifted - np.log(whole)
