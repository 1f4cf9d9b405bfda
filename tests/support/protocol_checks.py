"""What every evaluation protocol must hold, whoever wrote it: `CHECKS`."""

import json
from typing import Any

import numpy as np

from tfssl.evaluation import metrics
from tfssl.evaluation.protocols.base import Protocol
from tfssl.runs.evaluation import Evaluation, Score

CLASSES = 4


def rows_of(count: int, seed: int, apart: float, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Features [count, 12] and labels int32 [count]: classes lie `apart` standard deviations from each other."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    rows = generator.normal(size=(count, 12)) + apart * np.eye(12)[labels]
    return rows.astype(dtype), labels


def separable_features_are_named_right(protocol: Protocol) -> None:
    for dtype in (np.float32, np.float16):
        train, labels = rows_of(80, 0, 20.0, dtype)
        test, answers = rows_of(21, 1, 20.0, dtype)
        scores = protocol.scores(train, labels, test, CLASSES)
        assert scores.shape == (21, CLASSES)
        assert np.isfinite(scores).all()
        assert metrics.top1(scores, answers) == 1.0


def random_features_are_named_by_chance(protocol: Protocol) -> None:
    train, labels = rows_of(200, 2, 0.0)
    test, answers = rows_of(400, 3, 0.0)
    found = metrics.top1(protocol.scores(train, labels, test, CLASSES), answers)
    assert abs(found - 1 / CLASSES) < 4 * np.sqrt(0.25 * 0.75 / 400)  # four standard errors


def the_same_gives_the_same(protocol: Protocol) -> None:
    train, labels = rows_of(40, 4, 1.0)
    test, _ = rows_of(10, 5, 1.0)
    before = train.copy(), labels.copy(), test.copy()
    first, again = (protocol.scores(train, labels, test, CLASSES) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for given, then in zip((train, labels, test), before, strict=True):
        np.testing.assert_array_equal(given, then)


def a_row_is_scored_as_if_it_were_alone(protocol: Protocol) -> None:
    """What else is tested tells nothing: a protocol that learns from test rows would be ahead of the others."""
    train, labels = rows_of(40, 6, 1.0)
    test, _ = rows_of(9, 7, 1.0)
    together = protocol.scores(train, labels, test, CLASSES)
    alone = np.concatenate([protocol.scores(train, labels, test[[row]], CLASSES) for row in (0, 4)])
    np.testing.assert_allclose(together[[0, 4]], alone, rtol=1e-4, atol=1e-5)


def a_class_without_training_rows_is_never_the_answer(protocol: Protocol) -> None:
    train, labels = rows_of(40, 8, 5.0)
    scores = protocol.scores(train[labels < 3], labels[labels < 3], train, CLASSES)
    assert scores.shape == (40, CLASSES)
    assert set(scores.argmax(1)) <= {0, 1, 2}


def few_rows_are_enough(protocol: Protocol) -> None:
    train, labels = rows_of(CLASSES, 9, 20.0)
    assert metrics.top1(protocol.scores(train, labels, train, CLASSES), labels) == 1.0


def what_a_run_keeps_of_it_is_read_again(protocol: Protocol) -> None:
    scores = {protocol.name: {"stage1": Score(0.5, 0.25)}}
    facts = {protocol.name: protocol.facts()}
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
    what_a_run_keeps_of_it_is_read_again,
)
