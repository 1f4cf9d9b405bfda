"""NT-Xent and the accuracy of partners against loops over rows, on one replica and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.cut_gather import without_gradient
from tfssl.tasks.parts import replicas as rows_of_replicas
from tfssl.tasks.parts.agreement import NTXent, PartnerAccuracy, first_of_each, partners


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(12, 5)) * np.arange(1, 13)[:, None]


def cosine(one, other):
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def by_hand(rows, answer, temperature, across=False):
    """Each row's loss, and whether its partner is the nearest, by loops; `across`: among odd ones of even, or so."""
    losses, nearest = np.zeros(len(rows)), np.zeros(len(rows), bool)
    for i, away in enumerate(answer):
        if not away:
            continue
        others = {j: cosine(rows[i], rows[j]) for j in range(len(rows)) if j != i and answer[j]}
        others = {j: value for j, value in others.items() if not across or (i + j) % 2}
        total = sum(np.exp(value / temperature) for value in others.values())
        losses[i] = -np.log(np.exp(others[i + away] / temperature) / total)
        nearest[i] = max(others, key=others.get) == i + away
    return losses, nearest


ANSWERS = {"all": [1, -1] * 6, "without two pictures": [1, -1, 0, 0, 1, -1, 1, -1, 1, -1, 0, 0]}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_loss_and_accuracy_are_those_of_loops(rows, answer, temperature, across):
    losses, nearest = by_hand(rows, answer, temperature, across)
    weight = np.abs(answer).astype(float)
    loss = NTXent(temperature, across, dtype="float64")
    np.testing.assert_allclose(loss(answer, rows, weight), losses.mean(), rtol=1e-12)
    np.testing.assert_allclose(NTXent(temperature, across)(answer, rows, weight), losses.mean(), rtol=1e-5)
    metric = PartnerAccuracy(across)
    metric.update_state(tf.constant(answer), tf.constant(rows, tf.float32), tf.constant(weight))
    assert float(metric.result()) == pytest.approx(nearest[np.abs(answer) > 0].mean())
    assert 0 < nearest.mean() < 1


def test_rows_that_do_not_count_change_nothing_and_learn_nothing(rows):
    answer, loss = tf.constant(ANSWERS["without two pictures"]), NTXent(0.1, dtype="float64")
    given = tf.constant(rows)
    left_out = tf.cast(answer == 0, tf.float64)[:, None]
    assert float(loss(answer, given)) == float(loss(answer, given + 7 * left_out))
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = loss(answer, given)
    size = np.linalg.norm(tape.gradient(found, given), axis=1)
    np.testing.assert_array_equal(size > 1e-9, answer.numpy() != 0)
    nothing = tf.zeros_like(answer)
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = loss(nothing, given)
    assert float(found) == 0
    assert not tape.gradient(found, given).numpy().any()


def test_alike_embeddings_have_the_loss_of_guessing_and_no_accuracy():
    answer, alike = tf.constant([1, -1] * 8), tf.ones([16, 4])
    assert float(NTXent(0.1)(answer, alike)) == pytest.approx(np.log(15))
    metric = PartnerAccuracy()
    metric.update_state(answer, alike)
    assert float(metric.result()) == 0
    assert float(NTXent(0.1, across=True)(answer, alike)) == pytest.approx(np.log(8))
    random = tf.random.stateless_normal([2000, 8], [1, 2])
    metric.reset_state()
    for part in tf.split(random, 125):
        metric.update_state(answer, part)
    assert float(metric.result()) == pytest.approx(1 / 15, abs=0.02)


def test_similarities_are_float32_under_mixed_precision(rows):
    """Of bfloat16 the loss would be wrong by a per cent."""
    answer = [1, -1] * 6
    given = tf.cast(rows, tf.bfloat16)
    wanted = by_hand(tf.cast(given, tf.float64).numpy(), answer, 0.07)[0].mean()
    assert float(NTXent(0.07)(answer, given)) == pytest.approx(wanted, rel=1e-5)


def test_the_first_of_pictures_that_are_there_twice_counts():
    counts = first_of_each(tf.constant([7, 3, 7, 5, 3, 7], tf.int64))
    np.testing.assert_array_equal(counts, [True, True, False, True, False, False])
    np.testing.assert_array_equal(partners(counts), [1, -1, 1, -1, 0, 0, 1, -1, 0, 0, 0, 0])


def of_replicas(strategy, rows, answer, loss):
    """The loss as the sum over replicas, and the gradient for every row."""

    @tf.function
    def step():
        def one():
            context = tf.distribute.get_replica_context()
            count = len(rows) // context.num_replicas_in_sync
            first = context.replica_id_in_sync_group * count
            mine = tf.constant(rows)[first : first + count]
            with tf.GradientTape() as tape:
                tape.watch(mine)
                found = loss(tf.constant(answer)[first : first + count], mine)
            return found, tape.gradient(found, mine)

        return strategy.run(one)

    losses, gradients = (strategy.experimental_local_results(each) for each in step())
    return sum(float(each) for each in losses), np.concatenate([each.numpy() for each in gradients])


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_two_replicas_have_the_loss_and_the_gradients_of_one(replicas, rows, answer, across, monkeypatch):
    loss = NTXent(0.2, across, dtype="float64")
    one = of_replicas(tf.distribute.get_strategy(), rows, answer, loss)
    two = of_replicas(replicas, rows, answer, loss)
    assert two[0] == pytest.approx(one[0], rel=1e-9)
    np.testing.assert_allclose(two[1], one[1], rtol=0, atol=1e-9 * np.abs(one[1]).max())
    monkeypatch.setattr(rows_of_replicas, "gather", without_gradient)
    cut = of_replicas(replicas, rows, answer, loss)
    assert cut[0] == pytest.approx(one[0], rel=1e-9)
    assert np.abs(cut[1] - one[1]).max() > 0.1 * np.abs(one[1]).max()


def test_two_replicas_look_for_partners_among_all_rows(replicas, rows):
    with replicas.scope():
        metric = PartnerAccuracy()
    answer = np.array([1, -1] * 6)

    @tf.function
    def step():
        def one():
            first = tf.distribute.get_replica_context().replica_id_in_sync_group * 6
            metric.update_state(
                tf.constant(answer)[first : first + 6], tf.constant(rows, tf.float32)[first : first + 6]
            )

        replicas.run(one)

    step()
    assert float(metric.result()) == pytest.approx(by_hand(rows, answer, 1.0)[1].mean())
    halves = [by_hand(half, answer[:6], 1.0)[1].mean() for half in (rows[:6], rows[6:])]
    assert np.mean(halves) != pytest.approx(float(metric.result()))


def test_the_loss_is_as_wide_as_the_network():
    assert NTXent(0.1).dtype == "float32"
    before = keras.config.dtype_policy()
    try:
        for policy, dtype in {"mixed_bfloat16": "float32", "float64": "float64"}.items():
            keras.config.set_dtype_policy(policy)
            assert NTXent(0.1).dtype == dtype
    finally:
        keras.config.set_dtype_policy(before)
