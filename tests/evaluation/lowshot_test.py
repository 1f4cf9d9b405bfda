"""Few labels a class: the closed form, the draws, what is chosen."""

import dataclasses
import json
import re

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

from tfssl.base.errors import UserError
from tfssl.evaluation import on_disk
from tfssl.evaluation.data import Division
from tfssl.evaluation.protocols import choose, parse, possible
from tfssl.evaluation.protocols.base import Rows
from tfssl.evaluation.protocols.lowshot import PENALTIES, LowShot, drawn
from tfssl.evaluation.protocols.svm import SupportVectors
from tfssl.frozen import metrics
from tfssl.frozen.ridge import ridge
from tfssl.runs.evaluation import Evaluation, Score

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
@pytest.mark.parametrize("penalty", [1e-3, 0.7])
def test_ridge_is_least_squares_with_rows_for_the_penalty(shape, penalty):
    """Each penalised number is one more equation, penalty^(1/2) k = 0; the intercept a column of ones without."""
    rows, numbers = shape
    x, y, weights = RNG.normal(size=shape), RNG.normal(size=(rows, 3)), RNG.uniform(0.2, 2, rows)
    root = np.sqrt(weights / weights.sum())[:, None]
    left = np.block([[root * x, root], [np.sqrt(penalty) * np.eye(numbers), np.zeros((numbers, 1))]])
    right = np.vstack([root * y, np.zeros((numbers, 3))])
    expected = np.linalg.lstsq(left, right, rcond=None)[0]
    ((kernel, bias),) = ridge(x, y, weights, [penalty])
    np.testing.assert_allclose(kernel, expected[:-1], atol=1e-9)
    np.testing.assert_allclose(bias, expected[-1], atol=1e-9)


def rows_of(count, seed, classes=3, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    noise = rng.normal(size=(count, 6)) + 5 * rng.normal(size=(count, 1))  # most of it along one direction
    return Rows((1.5 * np.eye(classes, 6)[labels] + noise + 4).astype(dtype), labels)


def test_lowshot_is_measured_at_all_counts():
    asked = choose("lowshot, lowshot(by='svm', labels=16), lowshot(labels=4)")
    assert [str(each) for each in asked] == [
        *(f"lowshot(labels={count})" for count in (96, 64, 32, 16, 8, 4, 2, 1)),
        "lowshot(labels=16, by='svm')",
    ]
    assert asked[7].facts.title == "low-shot probe (labels=1)"
    labels = np.repeat([0, 1], [7, 16])
    assert [each.labels for each in possible(asked, labels)] == [16, 8, 4, 2, 1, 16]
    line = "the largest class has 16 training pictures, and lowshot(labels=32) draws 32 of each; ask for fewer labels"
    with pytest.raises(UserError, match=re.escape(line)):
        possible(choose("lowshot(labels=32)"), labels)
    for wrong in ("labels=0", "draws=0.5", "by='knn'", "penalty=-1", "seed=-1"):
        with pytest.raises(UserError, match=f"lowshot: {wrong} is given"):
            parse(f"lowshot({wrong})")


def test_draws_are_of_each_class_and_those_of_more_labels_hold_them():
    labels = RNG.permutation(np.repeat([0, 2, 5], [50, 3, 20]))
    few, more = drawn(labels, 4, (0, 1)), drawn(labels, 8, (0, 1))
    assert np.bincount(labels[few]).tolist() == [4, 0, 3, 0, 0, 4]
    assert np.bincount(labels[more]).tolist() == [8, 0, 3, 0, 0, 8]
    assert set(few) <= set(more)
    assert set(few) != set(drawn(labels, 4, (0, 2))) != set(drawn(labels, 4, (1, 2)))
    counts = np.bincount(np.concatenate([drawn(labels, 4, (0, draw)) for draw in range(400)]), minlength=73)
    np.testing.assert_allclose(counts[labels == 0], 400 * 4 / 50, atol=4 * np.sqrt(32))


@pytest.mark.parametrize("by", ["ridge", "svm"])
def test_its_figures_are_means_over_draws_with_students_interval(by):
    train, test = rows_of(90, 1, dtype=np.float16), rows_of(60, 2)
    tops, precisions, recalls = [], [], []
    for draw in range(3):
        rows = train.take(drawn(train.labels, 5, (7, draw)))
        if by == "ridge":
            scaler = StandardScaler().fit(train.features.astype(float))
            machine = Ridge(alpha=0.3 * len(rows.labels))  # scikit-learn's is of the sum over rows
            machine.fit(scaler.transform(rows.features.astype(float)), np.eye(3)[rows.labels])
            scores = machine.predict(scaler.transform(test.features))
        else:
            scores = SupportVectors(cost=0.3).scores(rows, test.features, 3)
        tops.append(metrics.top1(scores, test.labels))
        recalls.append(recall_score(test.labels, scores.argmax(1), average=None))
        precisions.append(metrics.mean_average_precision(scores, test.labels))
    found = LowShot(labels=5, draws=3, seed=7, by=by, penalty=0.3).score(train, None, test, 3)
    assert found.top1 == pytest.approx(np.mean(tops))
    assert found.map == pytest.approx(np.mean(precisions), abs=1e-3)
    np.testing.assert_allclose(found.by_class, np.mean(recalls, 0))
    assert found.over_draws == pytest.approx(4.3027 * np.std(tops, ddof=1) / np.sqrt(3), rel=1e-4)
    assert found.held_out is None


def share_right(learn, held_out, known, penalty):
    """Mean over six draws of four labels a class, features standardised by rows `known`."""
    scaler = StandardScaler().fit(known)
    tops = []
    for draw in range(6):
        rows = learn.take(drawn(learn.labels, 4, (0, draw)))
        ((kernel, bias),) = ridge(scaler.transform(rows.features), np.eye(3)[rows.labels], np.ones(12), [penalty])
        tops.append(metrics.top1(scaler.transform(held_out.features) @ kernel + bias, held_out.labels))
    return np.mean(tops)


def test_one_penalty_for_all_draws_is_chosen_on_held_out_rows():
    train, test = rows_of(120, 3), rows_of(60, 4)
    division = Division.of(train.labels, np.arange(120), seed=0)
    folds = [(train.take(fold.learn), train.take(fold.held_out)) for fold in division.folds]
    learn, held_out = folds[0]
    sizes = [len(rows.labels) for _, rows in folds]
    assert sum(sizes) == 120
    protocol = LowShot(labels=4, draws=6)
    for known, splits, given in (
        (train, folds, (train, division, test, 3)),
        (learn, folds[:1], (learn, None, test, 3, held_out)),
    ):
        shares = [
            np.average([share_right(*split, known.features, each) for split in splits], weights=sizes[: len(splits)])
            for each in PENALTIES
        ]
        found = protocol.score(*given)
        assert found.held_out == pytest.approx(max(shares))
        best = PENALTIES[int(np.argmax(shares))]
        assert found == dataclasses.replace(protocol, penalty=best).score(*given)
        assert PENALTIES[0] > best > PENALTIES[-1]


@pytest.mark.parametrize("scattered", [1, 1000])
def test_rows_on_disk_are_drawn_as_those_in_memory(tmp_path, monkeypatch, scattered):
    monkeypatch.setattr(on_disk, "SCATTERED", scattered)
    train, test = rows_of(200, 7, dtype=np.float16), rows_of(30, 8, dtype=np.float16)
    np.save(tmp_path / "rows.npy", train.features)
    kept = Rows(on_disk.RowsOnDisk(tmp_path / "rows.npy"), train.labels)
    division = Division.of(train.labels, np.arange(200), seed=0)
    numbers = np.array([150, 3, 77])
    np.testing.assert_array_equal(np.asarray(kept.features[numbers]), train.features[numbers])
    protocol = LowShot(labels=2)
    assert protocol.score(kept, division, test, 3) == protocol.score(train, division, test, 3)


def test_where_all_give_all_there_is_one_draw():
    train, test = rows_of(30, 5), rows_of(20, 6)
    found = LowShot(labels=30, penalty=1.0).score(train, None, test, 3)
    assert found.over_draws is None
    assert found.top1 == metrics.top1(LowShot(penalty=1.0).scores(train, test.features, 3), test.labels)


def test_its_interval_is_the_one_that_is_shown():
    scores = {"stage1": Score(0.5, 0.4, over_draws=0.03), "stage2": Score(0.48, 0.4, over_draws=0.2)}
    protocol = LowShot(labels=2)
    made = Evaluation(
        trained={str(protocol): scores},
        random={str(protocol): {"stage1": Score(0.4, 0.3, over_draws=0.04)}},
        protocols={str(protocol): protocol.facts},
        train_images=10,
        test_images=100,
        classes=("a", "b"),
    )
    assert made.interval("lowshot(labels=2)", "stage1") == pytest.approx((0.47, 0.53))
    assert made.interval("lowshot(labels=2)", "stage1", random=True) == pytest.approx((0.36, 0.44))
    text = str(made)
    assert "50.0 +- 3.0" in text
    assert "of few labels over draws of them." in text
    assert "(95 % interval over draws of the labels 47.0 to 53.0 %)" in text
    assert "It is 10.0 points ahead of the best stage of the same trunk with random weights (stage1, 40.0 %).\n" in text
    assert "stage2, is worse than stage1 by 2.0 points, a difference within the uncertainty.\n" in text
    assert Evaluation.from_json(json.loads(json.dumps(made.as_json()))) == made
