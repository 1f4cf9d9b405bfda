"""The frozen probe and calibration, against computations of another kind."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tfssl.downstream import calibration, measures, mistakes, probe
from tfssl.frozen import metrics
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source

RNG = np.random.default_rng(0)


def clusters(count, classes=3, noise=1.0):
    labels = np.arange(count) % classes
    features = np.eye(classes, 8)[labels] * 3 + RNG.normal(0, noise, (count, 8))
    return features.astype(np.float16), np.eye(classes, dtype=np.float32)[labels]


def test_validation_chooses_penalty_and_scale():
    train, validation = clusters(60), clusters(30)
    fitted = probe.fit(*train, np.ones(60), *validation, False)
    scores = []
    for penalty in probe.PENALTIES:
        again = probe.fit_again(*train, np.ones(60), probe.Fitted(fitted.probe, penalty, 1.0, fitted.score))
        scores.append(np.mean(again.logits(validation[0]).argmax(1) == validation[1].argmax(1)))
    assert fitted.score.score == max(scores) > 0.9
    same = probe.fit_again(*train, np.ones(60), fitted)
    np.testing.assert_allclose(same.logits(validation[0]), fitted.probe.logits(validation[0]), rtol=1e-6)


def test_features_that_are_constant_give_the_shares_of_the_classes():
    targets = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
    fitted = probe.fit(np.ones((4, 5)), targets, np.ones(4), np.ones((4, 5)), targets, False)
    assert fitted.score.score == 0.75
    logits = fitted.probe.logits(np.ones((1, 5)))[0]
    assert logits[0] - logits[1] == pytest.approx(fitted.scale * 0.5, rel=1e-4)


@pytest.mark.parametrize("several", [False, True])
def test_the_temperature_is_that_of_a_grid(several):
    logits = RNG.normal(0, 4, (200, 5))
    shares = calibration.probabilities(logits, several, 2.5)
    drawn = RNG.uniform(size=shares.shape)
    targets = (drawn < shares).astype(float) if several else np.eye(5)[(shares.cumsum(1) < drawn[:, :1]).sum(1)]
    grid = np.exp(np.linspace(np.log(0.6), np.log(10), 2001))
    if several:
        losses = [-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)) for p in sigmoids(logits, grid)]
    else:
        losses = [-np.mean(np.log(p[targets > 0])) for p in softmaxes(logits, grid)]
    assert calibration.temperature(logits, targets, several) == pytest.approx(grid[np.argmin(losses)], rel=3e-3)
    assert calibration.loss(logits, targets, several, grid[700]) == pytest.approx(losses[700])


def sigmoids(logits, temperatures):
    return (1 / (1 + np.exp(-logits / t)) for t in temperatures)


def softmaxes(logits, temperatures):
    return (np.exp(logits / t) / np.exp(logits / t).sum(1, keepdims=True) for t in temperatures)


def test_calibration_error_by_hand():
    """Two of confidence 0.9, one right; one of 0.6, right: (2 |0.9 - 0.5| + |0.6 - 1|) / 3."""
    shares = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    targets = np.array([[1, 0], [1, 0], [1, 0]])
    assert calibration.calibration_error(shares, targets, False) == pytest.approx(0.4)
    assert calibration.calibration_error(np.array([[1.0, 0.0]]), np.array([[1, 1]]), True) == pytest.approx(0.5)


def test_balanced_accuracy_and_intervals_of_mean_average_precision():
    targets = np.eye(3)[[0] * 6 + [1] * 2]
    shares = np.eye(3)[[0] * 5 + [1] * 2 + [0]]
    assert measures.balanced_accuracy(shares, targets) == pytest.approx((5 / 6 + 1 / 2) / 2)
    labels = RNG.uniform(size=(300, 4)) < 0.4
    good, bad = labels + RNG.normal(0, 0.7, labels.shape), labels + RNG.normal(0, 1.5, labels.shape)
    low, high = metrics.mean_average_precision_interval(good, bad, labels.astype(float), draws=50)
    assert 0.05 < low < high < 0.45
    same = metrics.mean_average_precision_interval(good, good, labels.astype(float), draws=5)
    assert same == (0.0, 0.0)


def test_the_interval_of_mean_average_precision_is_that_of_scikit_learn_draw_by_draw():
    """With scores that are level, and a label so rare that some draws lack it."""
    labels = np.column_stack([RNG.uniform(size=40) < 0.4, np.arange(40) == 7, RNG.uniform(size=40) < 0.7])
    scores = np.round(labels + RNG.normal(size=labels.shape), 1)
    rng, values = np.random.default_rng(0), []
    for rows in rng.integers(0, 40, (60, 40)):
        present = np.flatnonzero(labels[rows].any(0))
        each = [average_precision_score(labels[rows, label], scores[rows, label]) for label in present]
        values.append(np.mean(each))
    found = metrics.mean_average_precision_interval(scores, None, labels.astype(float), draws=60)
    assert found == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12)


def test_the_surest_mistakes_are_drawn_with_their_pictures():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.05, 0.95]])
    targets = np.eye(2)[[0, 0, 0, 1, 1]]
    assert mistakes.surest(shares, targets).tolist() == [1, 3, 2]
    assert mistakes.surest(shares, targets, 1).tolist() == [1]
    source = open_source("toy:images(count=5, size=32)")
    figure = mistakes.draw(source, shares, targets, ("$a", "b$"), 32)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["b$ 80 %\nis $a", "$a 70 %\nis b$", "b$ 60 %\nis $a", ""]
    (batch,) = batches.plain(source, 32, 5)
    for axes, row in zip(figure.axes, (1, 3, 2), strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), batch["image"][row])
    assert mistakes.draw(source, shares, np.eye(2)[[0, 1, 1, 0, 1]], ("a", "b"), 32) is None


def test_pairs_that_are_confused_are_drawn_with_their_pictures():
    named, own = np.array([1, 1, 2, 1, 0, 2]), np.array([0, 0, 0, 1, 1, 1])
    shares = np.full((6, 3), 0.1)
    shares[np.arange(6), named] = [0.6, 0.8, 0.7, 0.8, 0.8, 0.8]
    targets = np.eye(3)[own]
    pairs = [(one, other, rows.tolist()) for one, other, rows in mistakes.confused(shares, targets)]
    assert pairs == [(0, 1, [1, 0]), (1, 0, [4]), (1, 2, [5]), (0, 2, [2])]
    assert [each[:2] for each in mistakes.confused(shares, targets, 1)] == [(0, 1)]
    source = open_source("toy:images(count=6, size=32)")
    figure = mistakes.draw_confused(source, shares, targets, ("$a", "b$", "c"), 32)
    assert [axes.get_title("left") for axes in figure.axes][::4] == ["$a\ntaken for b$: 2"]
    (batch,) = batches.plain(source, 32, 6)
    shown = [axes.images[0].get_array() if axes.images else None for axes in figure.axes]
    for place, row in enumerate((1, 0)):  # what is taken for something once is among the surest mistakes
        np.testing.assert_array_equal(shown[place], batch["image"][row])
    assert shown[2:] == [None, None]
    once = targets.copy()
    once[0] = shares[0] == shares[0].max()
    assert mistakes.draw_confused(source, shares, once, ("a", "b", "c"), 32) is None
    assert mistakes.draw_confused(source, np.eye(3)[own], targets, ("a", "b", "c"), 32) is None
