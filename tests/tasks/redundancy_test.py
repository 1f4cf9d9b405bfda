"""Barlow Twins and VICReg against sums over pictures and dimensions; rows left out, replicas, and that it learns."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.cut_gather import without_gradient
from tests.tasks.agreement_test import ANSWERS, of_replicas
from tests.tasks.contrastive_test import learned
from tfssl.base.errors import UserError
from tfssl.tasks import parse_task
from tfssl.tasks.parts import replicas as rows_of_replicas
from tfssl.tasks.parts.redundancy_losses import BarlowTwins, VICReg


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(6, 1, 5)) + 0.7 * rng.normal(size=(6, 2, 5))).reshape(12, 5) * [1, 0.3, 2, 1, 0.5] + 3


def barlow_by_hand(first, second, off_diagonal):
    """Pearson correlations, one by one; the authors' batch norm adds 1e-5 to variances."""
    width, total = first.shape[1], 0.0
    for i in range(width):
        for j in range(width):
            spread = np.sqrt((first[:, i].var() + 1e-5) * (second[:, j].var() + 1e-5))
            correlation = np.cov(first[:, i], second[:, j], bias=True)[0, 1] / spread
            total += (1 - correlation) ** 2 if i == j else off_diagonal * correlation**2
    return total / width


def vicreg_by_hand(first, second, weights):
    """The paper's three terms, with numpy's own variance and covariance."""
    width = first.shape[1]
    terms = [np.mean([np.sum((a - b) ** 2) / width for a, b in zip(first, second, strict=True)]), 0.0, 0.0]
    for side in (first, second):
        deviation = np.sqrt(side.var(0, ddof=1) + 1e-4)
        terms[1] += sum(max(0.0, 1 - each) for each in deviation) / width / 2
        covariance = np.cov(side.T)
        terms[2] += sum(covariance[i, j] ** 2 for i in range(width) for j in range(width) if i != j) / width
    return np.dot(weights, terms) / sum(weights)


LOSSES = {
    "barlow": (BarlowTwins(0.0051, dtype="float64"), lambda *sides: barlow_by_hand(*sides, 0.0051)),
    "mostly off the diagonal": (BarlowTwins(3.0, dtype="float64"), lambda *sides: barlow_by_hand(*sides, 3.0)),
    "vicreg": (VICReg(25, 25, 1, dtype="float64"), lambda *sides: vicreg_by_hand(*sides, (25, 25, 1))),
    "other weights": (VICReg(1, 2, 7, dtype="float64"), lambda *sides: vicreg_by_hand(*sides, (1, 2, 7))),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(("loss", "by_hand"), LOSSES.values(), ids=LOSSES)
def test_losses_are_those_of_the_papers(rows, answer, loss, by_hand):
    counted = rows[np.array(answer) != 0]
    wanted = by_hand(counted[::2], counted[1::2])
    assert float(loss(answer, rows)) == pytest.approx(wanted * len(counted) / 12, rel=1e-10)


@pytest.mark.parametrize(("loss", "by_hand"), LOSSES.values(), ids=LOSSES)
def test_rows_that_do_not_count_change_nothing_and_learn_nothing(rows, loss, by_hand):
    answer = tf.constant(ANSWERS["without two pictures"])
    given, left_out = tf.constant(rows), tf.cast(answer == 0, tf.float64)[:, None]
    assert float(loss(answer, given)) == pytest.approx(float(loss(answer, given + 7 * left_out)), rel=1e-12)
    for asked, learning in ((answer, answer.numpy() != 0), (tf.zeros_like(answer), np.zeros(12, bool))):
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = loss(asked, given)
        np.testing.assert_array_equal(np.linalg.norm(tape.gradient(found, given), axis=1) > 1e-12, learning)


@pytest.mark.parametrize("name", ["barlow", "vicreg"])
def test_two_replicas_have_the_loss_and_the_gradients_of_one(replicas, rows, name, monkeypatch):
    loss = LOSSES[name][0]
    for answer in ANSWERS.values():
        one = of_replicas(tf.distribute.get_strategy(), rows, answer, loss)
        two = of_replicas(replicas, rows, answer, loss)
        assert two[0] == pytest.approx(one[0], rel=1e-9)
        np.testing.assert_allclose(two[1], one[1], rtol=0, atol=1e-9 * np.abs(one[1]).max())
    monkeypatch.setattr(rows_of_replicas, "gather", without_gradient)
    cut = of_replicas(replicas, rows, answer, loss)
    assert np.abs(cut[1] - one[1]).max() > 0.1 * np.abs(one[1]).max()


def test_float32_under_mixed_precision(rows):
    given = tf.cast(rows, tf.bfloat16)
    exact = tf.cast(given, tf.float64)
    for loss in (BarlowTwins(0.0051), VICReg(25, 25, 1)):
        assert loss.dtype == "float32"
        wide = type(loss).from_config(loss.get_config() | {"dtype": "float64"})
        assert float(loss([1, -1] * 6, given)) == pytest.approx(float(wide([1, -1] * 6, exact)), rel=1e-5)


def test_alike_embeddings_are_no_way_out():
    alike = tf.ones([16, 4])
    assert float(BarlowTwins(0.0051)([1, -1] * 8, alike)) == pytest.approx(1)
    assert float(VICReg(25, 25, 1)([1, -1] * 8, alike)) == pytest.approx(25 * 0.99 / 51)


def test_settings_reach_the_loss():
    loss = parse_task("redundancy(off_diagonal=0.1)").make_loss()
    assert (type(loss), loss.off_diagonal) == (BarlowTwins, 0.1)
    loss = parse_task("redundancy(loss='vicreg', invariance=1, variance=2.0, covariance=3)").make_loss()
    assert (type(loss), loss.invariance, loss.variance, loss.covariance) == (VICReg, 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("redundancy(loss='simclr')", "expected one of barlow, vicreg"),
        ("redundancy(off_diagonal=-1.0)", "expected 0 or more"),
        ("redundancy(loss='vicreg', invariance=0, variance=0, covariance=0)", "expected one above"),
        ("redundancy(layers=0)", "expected 1 to 3"),
    ],
)
def test_wrong_settings(text, says):
    with pytest.raises(UserError, match=says):
        parse_task(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["barlow", "vicreg"])
def test_it_learns(name):
    """More slowly than by negatives: so many steps, on embeddings of 512 numbers from batches of 64."""
    (loss, accuracy), (later_loss, later_accuracy) = learned(f"redundancy(loss='{name}')", steps=150, rate=0.1)
    assert later_loss < 0.85 * loss
    assert later_accuracy > accuracy
    assert later_accuracy > 6 * parse_task("redundancy").chance_accuracy(64)
