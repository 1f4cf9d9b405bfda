"""What every evaluation protocol must hold, whoever wrote it: `CHECKS`."""

import json
from typing import Any

import numpy as np

from tfssl.evaluation.data import Division
from tfssl.evaluation.protocols.base import Protocol, Rows
from tfssl.frozen import metrics
from tfssl.runs.evaluation import Evaluation, Score

CLASSES = 4


def rows_of(count: int, seed: int, apart: float, dtype: Any = np.float32) -> Rows:
    """Features [count, 12] and labels int32 [count]: classes lie `apart` standard deviations from each other."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    rows = generator.normal(size=(count, 12)) + apart * np.eye(12)[labels]
    return Rows(rows.astype(dtype), labels)


def separable_features_are_named_right(protocol: Protocol) -> None:
    for dtype in (np.float32, np.float16):
        test, answers = rows_of(21, 1, 20.0, dtype)
        scores = protocol.scores(rows_of(80, 0, 20.0, dtype), test, CLASSES)
        assert scores.shape == (21, CLASSES)
        assert np.isfinite(scores).all()
        assert metrics.top1(scores, answers) == 1.0


def random_features_are_named_by_chance(protocol: Protocol) -> None:
    test, answers = rows_of(400, 3, 0.0)
    found = metrics.top1(protocol.scores(rows_of(200, 2, 0.0), test, CLASSES), answers)
    assert abs(found - 1 / CLASSES) < 4 * np.sqrt(0.25 * 0.75 / 400)  # four standard errors


def the_same_gives_the_same(protocol: Protocol) -> None:
    train, (test, _) = rows_of(40, 4, 1.0), rows_of(10, 5, 1.0)
    before = train.features.copy(), train.labels.copy(), test.copy()
    first, again = (protocol.scores(train, test, CLASSES) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for given, then in zip((*train, test), before, strict=True):
        np.testing.assert_array_equal(given, then)


def a_row_is_scored_as_if_it_were_alone(protocol: Protocol) -> None:
    """What else is tested tells nothing: a protocol that learns from test rows would be ahead of the others."""
    train, (test, _) = rows_of(40, 6, 1.0), rows_of(9, 7, 1.0)
    together = protocol.scores(train, test, CLASSES)
    alone = np.concatenate([protocol.scores(train, test[[row]], CLASSES) for row in (0, 4)])
    np.testing.assert_allclose(together[[0, 4]], alone, rtol=1e-4, atol=1e-5)


def a_class_without_training_rows_is_never_the_answer(protocol: Protocol) -> None:
    rows = rows_of(40, 8, 5.0)
    scores = protocol.scores(rows.take(np.flatnonzero(rows.labels < 3)), rows.features, CLASSES)
    assert scores.shape == (40, CLASSES)
    assert set(scores.argmax(1)) <= {0, 1, 2}


def few_rows_are_enough(protocol: Protocol) -> None:
    rows = rows_of(CLASSES, 9, 20.0)
    assert metrics.top1(protocol.scores(rows, rows.features, CLASSES), rows.labels) == 1.0


def odd_data_gives_figures(protocol: Protocol) -> None:
    """A class without training rows, one without test rows, one row of a class, constant features, few rows."""
    rows, test = rows_of(40, 10, 2.0), rows_of(12, 11, 2.0)
    for wrong in (
        lambda rows: rows.labels != 3,  # training lacks a class
        lambda rows: (rows.labels != 3) | (np.arange(len(rows.labels)) == 3),  # it has one row of it
        lambda rows: np.arange(len(rows.labels)) < CLASSES,  # one row a class: nothing can be held out
        lambda rows: rows.labels >= 2,  # two classes are left
    ):
        _has_figures(protocol, rows.take(np.flatnonzero(wrong(rows))), test)
    _has_figures(protocol, rows, test.take(np.flatnonzero(test.labels != 0)))  # the test lacks a class
    _has_figures(protocol, rows, test.take(np.array([5])))
    _has_figures(protocol, *(Rows(np.ones_like(each.features), each.labels) for each in (rows, test)))
    _has_figures(protocol, *(Rows(np.zeros_like(each.features), each.labels) for each in (rows, test)))


def _has_figures(protocol: Protocol, train: Rows, test: Rows) -> None:
    division = Division.of(train.labels, np.arange(len(train.labels)), seed=0)
    score = protocol.score(train, division, test, CLASSES)
    assert all(0 <= share <= 1 for share in (score.top1, score.map, score.balanced, score.choice))


def what_a_run_keeps_of_it_is_read_again(protocol: Protocol) -> None:
    scores = {protocol.name: {"stage1": Score(0.5, 0.25)}}
    facts = {protocol.name: protocol.facts}
    made = Evaluation(trained=scores, random=scores, protocols=facts, train_images=9, test_images=9, classes=("a", "b"))
    read = Evaluation.from_json(json.loads(json.dumps(made.as_json())))
    assert read == made
    assert read.protocols == facts
    assert f"{protocol.title} on its features names 50.0 %" in str(read)
    pool = protocol.pool
    assert read.measured_as_exported("stage1", pool or 1) == ((protocol.name,) if pool else ())


CHECKS = (
    separable_features_are_named_right,
    random_features_are_named_by_chance,
    the_same_gives_the_same,
    a_row_is_scored_as_if_it_were_alone,
    a_class_without_training_rows_is_never_the_answer,
    few_rows_are_enough,
    odd_data_gives_figures,
    what_a_run_keeps_of_it_is_read_again,
)
