"""The memory bank against loops over rows: what it compares, what it writes, on one replica and on two."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_task
from tfssl.tasks.parts import memory_bank
from tfssl.tasks.parts import replicas as rows_of_replicas
from tfssl.tasks.parts.memory_bank import MemoryBank

PICTURES, NUMBERS = 9, 5
# Of six pictures: one is there twice, and of one the number is not known.
NUMBER = np.array([4, 0, 7, 4, -1, 8])
COUNTS = np.array([1, 1, 1, 0, 1, 1])


def answer_of(number=NUMBER, counts=COUNTS, seed=(3, 5)):
    away = np.stack([counts, -counts], 1).ravel()
    return np.column_stack([away, number.repeat(2), np.tile(seed, (2 * len(number), 1))]).astype(np.int32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(12, NUMBERS)) * np.arange(1, 13)[:, None]


@pytest.fixture
def bank():
    return filled(MemoryBank(PICTURES, NUMBERS, 100, 0.2, 0.75, dtype="float64"))


def filled(bank):
    """With known entries."""
    bank.vectors.assign(unit(np.random.default_rng(1).normal(size=(PICTURES, NUMBERS))))
    return bank


def test_both_rows_are_compared_with_their_own_entry_and_all_others(bank, rows):
    """By hand; rows of a picture whose number is not known do not count."""
    vectors, answer = bank.vectors.numpy(), answer_of()
    wanted = np.zeros(12)
    for i, row in enumerate(unit(rows)):
        number = NUMBER[i // 2]
        if number < 0 or not COUNTS[i // 2]:
            continue
        own = vectors[number] @ row / 0.2
        others = [vectors[k] @ row / 0.2 for k in range(PICTURES) if k != number]
        wanted[i] = -np.log(np.exp(own) / np.exp([own, *others]).sum())
    weight = np.abs(answer[:, 0]).astype(np.float32)
    loss = bank.loss(tf.constant(answer), tf.constant(rows), tf.constant(weight))
    assert float(loss) == pytest.approx(wanted.mean(), rel=1e-12)


def test_a_row_sends_its_gradient_to_itself_alone(bank, rows):
    answer, given = tf.constant(answer_of(np.array([7] * 6))), tf.constant(rows)
    weight = tf.one_hot(1, 12)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = bank.loss(answer, given, weight)
    moved = np.abs(tape.gradient(loss, given).numpy()).max(1)
    np.testing.assert_array_equal(np.flatnonzero(moved), [1])


def test_entries_move_by_the_momentum_and_only_those_of_rows_that_count(bank, rows):
    before, answer = bank.vectors.numpy(), answer_of()
    bank.update(tf.constant(answer), tf.constant(rows))
    wanted, plain = before.copy(), unit(rows[::2])
    for number, row in {4: 0, 0: 1, 7: 2, 8: 5}.items():
        wanted[number] = unit(0.75 * before[number] + 0.25 * plain[row])
    np.testing.assert_allclose(bank.vectors.numpy(), wanted, rtol=0, atol=1e-12)


def test_rows_that_are_not_finite_leave_the_bank_alone(bank, rows):
    before = bank.vectors.numpy()
    rows[2] = np.nan  # of picture 0
    bank.update(tf.constant(answer_of()), tf.constant(rows))
    np.testing.assert_array_equal(bank.vectors.numpy()[0], before[0])
    assert np.isfinite(bank.vectors.numpy()).all()


def test_others_are_drawn_evenly_anew_for_each_seed():
    bank = MemoryBank(50, 2, 40, 0.1, 0.5)
    drawn = np.array([bank._draw(tf.constant([1, seed])).numpy() for seed in range(200)])
    assert drawn.shape == (200, 40)
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=50)).pvalue > 1e-3
    assert len({tuple(each) for each in drawn}) == 200
    np.testing.assert_array_equal(MemoryBank(50, 2, 50, 0.1, 0.5)._draw(tf.constant([1, 2])), np.arange(50))


def test_a_new_bank_has_unit_vectors_of_all_directions_and_the_loss_of_guessing():
    bank = MemoryBank(4000, 64, 4000, 0.5, 0.5)
    vectors = bank.vectors.numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.linalg.norm(vectors.mean(0)) < 0.05
    rows = np.random.default_rng(0).normal(size=(12, 64)).astype(np.float32)
    answer = tf.constant(answer_of(np.arange(6), np.ones(6, int)))
    loss = float(bank.loss(answer, tf.constant(rows), tf.ones(12)))
    assert loss == pytest.approx(np.log(4000), rel=0.1)


def test_a_bank_is_float32_under_mixed_precision(rows):
    """Of bfloat16 an entry would be off by a per cent, and stop moving."""
    bank = filled(MemoryBank(PICTURES, NUMBERS, 100, 0.2, 0.75))
    assert bank.vectors.dtype == "float32"
    given, before = tf.cast(rows, tf.bfloat16), bank.vectors.numpy()[7]
    bank.update(tf.constant(answer_of()), given)
    wanted = unit(0.75 * before + 0.25 * unit(tf.cast(given[::2], tf.float64).numpy())[2])
    np.testing.assert_allclose(bank.vectors.numpy()[7], wanted, rtol=1e-6)


def steps_of(strategy, rows, steps=3):
    """Losses of some steps of 6 pictures, and the bank behind them, of all replicas."""
    with strategy.scope():
        bank = filled(MemoryBank(PICTURES, NUMBERS, 7, 0.2, 0.75, dtype="float64"))

    @tf.function
    def step(answer, rows):
        def one():
            context = tf.distribute.get_replica_context()
            count = len(rows) // context.num_replicas_in_sync
            first = context.replica_id_in_sync_group * count
            mine, said = answer[first : first + count], rows[first : first + count]
            loss = bank.loss(mine, said, tf.abs(tf.cast(mine[:, 0], tf.float64)))
            bank.update(mine, said)
            return loss

        return strategy.run(one)

    losses = []
    for number in range(steps):
        answer = answer_of(np.roll(np.arange(6), number), np.array([1, 1, number % 2, 1, 1, 1]), (0, number))
        found = step(tf.constant(answer), tf.constant(np.roll(rows, number, 1)))
        losses.append(sum(float(each) for each in strategy.experimental_local_results(found)))
    copies = strategy.experimental_local_results(bank.vectors.value)
    return losses, [each.numpy() for each in copies]


def test_two_replicas_have_the_losses_and_the_bank_of_one(replicas, rows, monkeypatch):
    losses, (vectors,) = steps_of(tf.distribute.get_strategy(), rows)
    losses_of_two, copies = steps_of(replicas, rows)
    assert losses_of_two == pytest.approx(losses, rel=1e-9)
    assert len(copies) == 2
    for each in copies:
        np.testing.assert_allclose(each, vectors, rtol=0, atol=1e-9)
    (begun,) = steps_of(tf.distribute.get_strategy(), rows, steps=0)[1]
    np.testing.assert_array_equal(np.flatnonzero((vectors != begun).any(1)), range(6))
    monkeypatch.setattr(rows_of_replicas, "gather", lambda rows: (rows, 0))  # each writes what it saw itself
    assert np.abs(steps_of(replicas, rows)[1][0] - vectors).max() > 0.1


def test_answers_have_the_numbers_of_pictures_and_one_seed():
    answer = memory_bank.with_number(
        tf.constant([1, -1, 0, 0, 1, -1]),
        {"image": tf.zeros([3, 2, 2, 3]), "index": tf.constant([7, 7, 2], tf.int64)},
        tf.constant([11, 12]),
    )
    numbers = [[1, 7], [-1, 7], [0, 7], [0, 7], [1, 2], [-1, 2]]
    np.testing.assert_array_equal(answer, np.hstack([numbers, [[11, 12]] * 6]))
    alone = memory_bank.with_number(tf.constant([1, -1]), {"image": tf.zeros([1, 2, 2, 3])}, tf.constant([1, 2]))
    np.testing.assert_array_equal(alone[:, 1], [-1, -1])


def test_a_task_makes_its_bank_of_the_source_and_says_what_it_takes():
    source = open_source("toy:images(count=72, size=32)")
    task = parse_task("pirl(projection=16, bank=20, momentum=0.9)")
    assert (str(task.prepared(source)), task.learned()) == (str(task), {"pictures": ()})
    bank = task.with_learned(task.prepared(source).learned()).make_bank()
    assert (tuple(bank.vectors.shape), bank.negatives, bank.momentum, bank.temperature) == ((72, 16), 20, 0.9, 0.07)
    (said,) = task.advice(32, source)
    assert said == (
        "the memory bank holds 16 numbers of each of 72 pictures, 0.0 MiB in memory and in each checkpoint; a step"
        " compares with 20 of them, drawn anew"
    )
    (said,) = parse_task("pirl(bank=32000)").advice(32, source)
    assert "a step compares with all of them" in said
    with pytest.raises(UserError, match="does not know of how many pictures"):
        task.make_bank()
    assert memory_bank.make_banks([parse_task("pirl"), parse_task("contrastive")]) == {}
    for text, says in {"pirl(bank=-1)": "expected a count of entries", "pirl(momentum=1.0)": "0 to below 1"}.items():
        with pytest.raises(UserError, match=says):
            parse_task(text)


def test_views_of_a_task_with_a_bank_are_those_without():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    batch, seed = {"image": tf.constant(images), "index": tf.constant([3, 1, 3, 0], tf.int64)}, tf.constant([1, 2])
    puzzle, answer, weight = parse_task("pirl(bank=8)").puzzles(batch, seed)
    wanted_puzzle, wanted, wanted_weight = parse_task("pirl").puzzles(batch, seed)
    np.testing.assert_array_equal(puzzle, wanted_puzzle)
    np.testing.assert_array_equal(answer[:, 0], wanted)
    np.testing.assert_array_equal(weight, wanted_weight)
    np.testing.assert_array_equal(answer[::2, 1], [3, 1, 3, 0])
    metrics = [parse_task(text).metrics()[0] for text in ("pirl(bank=8)", "pirl")]
    rows = tf.random.stateless_normal([8, 5], [1, 2])
    for metric, given in zip(metrics, (answer, wanted), strict=True):
        metric.update_state(given, rows, weight)
    assert float(metrics[0].result()) == float(metrics[1].result())
