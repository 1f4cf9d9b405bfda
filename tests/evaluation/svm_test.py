"""One-against-all SVMs, against scikit-learn's by itself."""

import re

import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.evaluation.data import Division
from tfssl.evaluation.protocols import parse, svm
from tfssl.evaluation.protocols.base import Rows, splits_of
from tfssl.evaluation.protocols.linear_map import LEAST
from tfssl.evaluation.protocols.svm import SupportVectors
from tfssl.frozen import metrics


def rows_of(count, seed, classes=4):
    centres = 0.7 * np.random.default_rng(0).normal(size=(classes, 12))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return Rows((centres[labels] + rng.normal(size=(count, 12)) + 1).astype(np.float16), labels)


def by_scikit_learn(train, test, cost):
    """One machine for all classes at once: liblinear's own one against the rest, a class's own rows weighing twice."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=cost, class_weight=dict.fromkeys(np.unique(train.labels), 2), dual=False, tol=1e-6)
    return make_pipeline(Normalizer(), machine).fit(train.features.astype(float), train.labels).decision_function(test)


@pytest.mark.parametrize("cost", [0.01, 1, 100])
def test_decision_values_are_those_of_scikit_learn(cost):
    train, test = rows_of(150, 1), rows_of(80, 2)
    expected = by_scikit_learn(train, test.features.astype(float), cost)
    found = SupportVectors(cost=cost).scores(train, test.features, 5)
    np.testing.assert_allclose(found[:, :4], expected, atol=2e-3)
    assert (found[:, 4] == np.float32(LEAST)).all()


def test_its_cost_is_that_of_the_best_average_precision_of_held_out_rows():
    train, test = rows_of(100, 1), rows_of(50, 2)
    division = Division.of(train.labels, np.arange(100), seed=0)
    splits, answers = splits_of(train, division, None), train.labels[division.held_out]
    assert len(splits) == 5
    shares = {}
    for cost in svm.COSTS:
        values = [
            by_scikit_learn(train.take(fold.learn), train.features[fold.held_out], cost) for fold in division.folds
        ]
        shares[cost] = metrics.mean_average_precision(np.concatenate(values), answers)
    best = max(shares, key=shares.get)
    chosen, scores = SupportVectors().choose(train, splits, 4)
    assert chosen.cost == best
    found = SupportVectors().score(train, division, test, 4)
    expected = by_scikit_learn(train, test.features, best)
    assert found.map == pytest.approx(metrics.mean_average_precision(expected, test.labels), abs=2e-3)
    assert found.top1 == metrics.top1(expected, test.labels)
    assert found.held_out == metrics.top1(scores, answers)
    assert SupportVectors(cost=2).choose(train, splits, 4)[0].cost == 2


def test_two_classes_and_one():
    train, test = rows_of(60, 3, 2), rows_of(40, 4, 2)
    values = SupportVectors(cost=1.0).scores(train, test.features, 2)
    assert np.corrcoef(values.T)[0, 1] < -0.9  # either class against the other
    assert metrics.top1(values, test.labels) > 0.7
    one = train.take(np.flatnonzero(train.labels == 1))
    assert set(SupportVectors().scores(one, test.features, 2).argmax(1)) == {1}


def test_what_it_refuses(monkeypatch):
    with pytest.raises(UserError, match=re.escape("svm: cost=0 is given, expected a number above 0")):
        parse("svm(cost=0)")
    monkeypatch.setattr(svm, "LARGEST", 1000)
    with pytest.raises(UserError, match=r"100 rows of 12 numbers .* give --numbers 10 or fewer, or ask for linear"):
        SupportVectors().scores(rows_of(100, 1), rows_of(2, 1).features, 4)
