"""Word2vec: its puzzles and its updates against loops in numpy, its tables against gensim's."""

import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.multitask.encoders import WordPlans
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.multitask.puzzle_stream import puzzle_spec, stream
from tfssl.pipelines.sources.any_source import open_source
from tfssl.pipelines.text import windows
from tfssl.pipelines.text.corpus import PASSAGE
from tfssl.pipelines.text.vocabulary import Vocabulary
from tfssl.tasks import parse_task
from tfssl.tasks.word2vec import Reading

TOY = "toy:text(count=700)"
SEED = tf.constant([3, 5])
ROW = windows.ROW
BOTH = ("cbow", "skipgram")


@pytest.fixture(scope="module")
def source():
    return open_source(TOY)


def make(source, settings=""):
    return parse_task(f"word2vec({settings})").prepared(source)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(source, task, batch=16, steps=1, seed=0):
    """Puzzle, answer and weight of some steps, as numpy arrays, one behind the other."""
    parts = [tuple(part["word2vec"] for part in step) for step in stream(source, [task], 0, batch, seed).take(steps)]
    return tf.nest.map_structure(lambda *rows: np.concatenate(rows), *parts)


def flat_text(source, task, passages):
    """Numbers of the known words of the first passages, and the line that each is of."""
    ids = np.fromfile(source.corpus.ids, np.int32)[: passages * PASSAGE]
    numbers = task.vocabulary.numbers(source.corpus.types)
    known = [(numbers[i], line) for i, line in zip(ids, np.cumsum(ids < 0), strict=True) if i >= 0 and numbers[i] >= 0]
    return np.array(known).T


def test_rows_hold_the_text_and_windows_are_of_drawn_reach_within_the_line(source):
    """Against the text itself, without sub-sampling and with words that the vocabulary lacks."""
    task = make(source, "model='cbow', sample=0, min_count=30, window=3")
    puzzle, _, weight = made(source, task)
    words, lines = flat_text(source, task, 16)
    assert 0.3 < len(words) / (16 * PASSAGE) < 0.9
    np.testing.assert_array_equal(puzzle["targets"][:, :ROW].ravel()[: len(words)], words)
    reaches = []
    for place in range(len(words)):
        row, centre = divmod(place, ROW)
        inside = np.flatnonzero(puzzle["window"][row, centre])
        seen = row * ROW + inside - 3  # places in the text
        reach = max(abs(seen - place), default=0)
        expected = [
            other
            for other in range(max(0, place - reach), min(len(words), place + reach + 1))
            if other != place and lines[other] == lines[place]
        ]
        np.testing.assert_array_equal(seen, expected)
        np.testing.assert_array_equal(puzzle["words"][row, inside], words[expected])
        assert (weight[row, centre, centre] == 1) == bool(expected)
        if np.sum(lines == lines[place]) > 6:
            reaches.append(reach)
    assert not weight.reshape(-1, weight.shape[-1])[len(words) :].any()
    counts = np.bincount(reaches, minlength=4)[1:]
    # In the middle of lines each reach is drawn as often; at their ends less is seen of it.
    assert counts.min() > 0.5 * counts.max()


def test_skipgram_and_cbow_ask_for_the_same_words(source):
    cbow, skipgram = (made(source, make(source, f"model='{model}', window=3")) for model in BOTH)
    np.testing.assert_array_equal(cbow[0]["words"], skipgram[0]["words"])
    np.testing.assert_array_equal(skipgram[2][:, :, :ROW], cbow[0]["window"].transpose(0, 2, 1))
    assert skipgram[2].shape[0] == 8 * 16


def test_noise_counts_as_often_as_negatives_and_never_as_the_word_itself(source):
    for model in BOTH:
        task = make(source, f"model='{model}', negatives=7, pool=5, min_count=1")
        puzzle, answer, weight = made(source, task)
        centres, noise = puzzle["targets"][:, :ROW], puzzle["targets"][:, ROW:]
        if model == "cbow":
            asked = np.diagonal(weight, axis1=1, axis2=2)[:, :, None] > 0
            expected = 7 / 5 * (asked & (centres[:, :, None] != noise[:, None]))
            np.testing.assert_allclose(weight[:, :, ROW:], expected)
            assert weight[:, :, :ROW].sum() == asked.sum()
        else:
            window = weight[:, :, :ROW]
            expected = np.zeros((*window.shape[:2], 5))
            for row, context, centre in np.argwhere(window):
                expected[row, context] += 7 / 5 * (centres[row, centre] != noise[row])
            np.testing.assert_allclose(weight[:, :, ROW:], expected, rtol=1e-5)
        assert answer.shape[1] == 1
        assert answer.sum(2).min() == answer.sum(2).max() == ROW


def test_frequent_words_are_thinned_and_noise_is_drawn_by_its_chances(source):
    task = make(source, "model='cbow', sample=0.005, exponent=0.5, pool=64, min_count=1")
    puzzle, _, _ = made(source, task, batch=32, steps=12)
    counts = task.vocabulary.counts
    frequency = counts / counts.sum()
    chances = np.minimum(1, (np.sqrt(frequency / 0.005) + 1) * 0.005 / frequency)
    np.testing.assert_allclose(windows.keep_shares(counts, 0.005), chances, rtol=1e-5)
    passes = 12 * 32 / source.count
    found = np.bincount(puzzle["targets"][:, :ROW][puzzle["window"].any(2)], minlength=len(counts))
    expected = passes * counts * chances
    assert found[0] == pytest.approx(expected[0], rel=0.1)  # "the", of which a quarter is kept
    assert chances[0] < 0.3
    assert np.abs(found - expected).max() < 6 * np.sqrt(expected.max())
    noise = np.bincount(puzzle["targets"][:, ROW:].ravel(), minlength=len(counts))
    wanted = noise.sum() * np.sqrt(counts) / np.sqrt(counts).sum()
    assert (np.abs(noise - wanted) / np.sqrt(wanted)).max() < 4.5


def test_tables_of_chances_are_gensims(source):
    gensim = pytest.importorskip("gensim.models")
    corpus = source.corpus
    ids = np.fromfile(corpus.ids, np.int32)
    parts = np.split(ids, np.flatnonzero(ids < 0))
    sentences = [[corpus.types[i].decode() for i in part if i >= 0] for part in parts]
    model = gensim.Word2Vec(min_count=20, vector_size=4)
    model.build_vocab(sentences)
    task = make(source, "min_count=20")
    order = [model.wv.key_to_index[word] for word in task.vocabulary.texts]
    assert sorted(order) == list(range(len(model.wv)))
    kept = model.wv.expandos["sample_int"][order] / 2**32
    np.testing.assert_allclose(windows.keep_shares(task.vocabulary.counts, 1e-3), kept, rtol=1e-5)
    chances = np.diff(windows.noise_table(task.vocabulary.counts, 0.75), prepend=0) / windows.LARGEST_DRAW
    theirs = np.diff(model.cum_table.astype(np.int64), prepend=0) / (2**31 - 1)
    np.testing.assert_allclose(chances, theirs[order], atol=1e-8)


@pytest.mark.parametrize("model", BOTH)
def test_eager_is_the_graph_and_the_seed_decides(source, model):
    task = make(source, f"model='{model}'").on(source)
    batch = {"words": tf.constant(np.fromfile(source.corpus.ids, np.int32)[: 3 * PASSAGE].reshape(3, PASSAGE))}
    eager = task.puzzles(batch, SEED)
    data = tf.data.Dataset.from_tensors(batch).map(lambda batch: task.puzzles(batch, SEED))
    assert tf.nest.map_structure(lambda s: (s.shape, s.dtype), data.element_spec) == tf.nest.map_structure(
        lambda s: (s.shape, s.dtype), puzzle_spec(task, 0, 3)
    )
    others = task.puzzles(batch, tf.constant([3, 6]))
    for one, other, changed in zip(*map(tf.nest.flatten, (eager, next(iter(data)), others)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape[1:2] == (1,) or (one.numpy() != changed.numpy()).any()


def test_what_it_learned_comes_back(source):
    task = make(source, "lower=False, min_count=30")
    again = parse_task(str(task)).with_learned(task.learned())
    assert again.vocabulary.words == task.vocabulary.words
    assert str(task) == "word2vec(min_count=30, lower=False)"


def models(task, source, strategy=None, batch=16):
    keras.utils.set_random_seed(0)
    with (strategy or tf.distribute.get_strategy()).scope():
        dataset = stream(source, [task], 0, batch, seed=0)
        encoders = WordPlans(*task.table_shape).make()
        model = make_model([task], encoders, dataset.element_spec)
        compile_model(model, [task], encoders, make_optimizer(0.0, 0.0))
        model.optimizer.learning_rate = 0.02
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(variable.shape[0]).normal(size=variable.shape, scale=0.3))
    return model, dataset


def scales(model, table, second, puzzle, steep):
    """How much of its sum of gradients each row goes at a rate of 0.02: to where its loss is least, at most."""
    words, targets = puzzle["words"].numpy(), puzzle["targets"].numpy()
    asking = table[words]
    if model == "cbow":
        window = puzzle["window"].numpy()
        asking = window @ asking / np.maximum(window.sum(2, keepdims=True), 1)
    by_targets = np.einsum("rcn,rc->rn", steep, (asking**2).sum(2))
    by_words = np.einsum("rcn,rn->rc", steep, (second[targets] ** 2).sum(2))
    if model == "cbow":
        by_words = np.einsum("rlc,rl->rc", window, by_words)
    found = []
    for numbers, curvatures in ((words, by_words), (targets, by_targets)):
        curvature = np.zeros((len(table), 1))
        np.add.at(curvature, numbers.ravel(), curvatures.reshape(-1, 1))
        found.append(np.minimum(1, 1 / np.maximum(0.02 * curvature, 1e-9)))
    return found


@pytest.mark.parametrize("model", BOTH)
def test_an_update_is_the_gradient_of_the_sum_of_losses(source, model):
    """By Keras's own gradient of the head and the loss; of the first table of skip-gram, by the mean of the second.

    Rows of words that come often go less far: see `scales`.
    """
    task = make(source, f"model='{model}', size=8, update=4096, weight=0.5")
    network, dataset = models(task, source)
    (puzzle, answer, weight), *_ = [tuple(part["word2vec"] for part in step) for step in dataset.take(1)]
    table, second = (variable.numpy() for variable in network.trainable_variables)
    with tf.GradientTape() as tape:
        scores = network({"word2vec": puzzle})["word2vec"]
        mean = task.make_loss()(answer, scores, weight)
        total = len(answer) * mean
    by_table, by_second, by_score = tape.gradient(total, [*network.trainable_variables, scores])
    by_table, by_second = (tf.convert_to_tensor(each).numpy() for each in (by_table, by_second))
    x = scores.numpy()
    entropy = -(answer * np.log(sigmoid(x)) + (1 - answer) * np.log(1 - sigmoid(x)))
    assert float(mean) == pytest.approx((weight * entropy).numpy().sum() / len(answer), rel=1e-4)
    if model == "skipgram":
        change = scales(model, table, second, puzzle, 0.5 * weight * sigmoid(x) * (1 - sigmoid(x)))[1] * by_second
        by_words = by_score.numpy() @ (second - 0.02 * 0.5 * change / 2)[puzzle["targets"]]
        by_table = np.zeros_like(table)
        np.add.at(by_table, puzzle["words"].numpy(), by_words)
    logs = network.fit(dataset, steps_per_epoch=1, verbose=0, shuffle=False).history
    after, second_after = (variable.numpy() for variable in network.trainable_variables)
    scale_table, scale_second = scales(model, table, second, puzzle, 0.5 * weight * sigmoid(x) * (1 - sigmoid(x)))
    np.testing.assert_allclose(second_after - second, -0.01 * scale_second * by_second, atol=1e-5)
    np.testing.assert_allclose(after - table, -0.01 * scale_table * by_table, atol=1e-5)
    assert np.abs(after - table).max() > 0.01
    assert np.median(scale_second) == 1
    assert model == "cbow" or scale_second.min() < 0.9  # "the", whose means are shorter
    assert logs["loss"][0] == pytest.approx(float(total / tf.reduce_sum(weight * answer)), rel=1e-5)


def test_the_gradient_of_cbow_is_undivided(source):
    """As gensim's with `cbow_mean`: each word of a window gets all of the mean's gradient."""
    task = make(source, "size=8")
    network, dataset = models(task, source)
    (puzzle, answer, weight), *_ = [tuple(part["word2vec"] for part in step) for step in dataset.take(1)]
    table, second = (variable.numpy().astype(float) for variable in network.trainable_variables)
    with tf.GradientTape() as tape:
        total = len(answer) * task.make_loss()(answer, network({"word2vec": puzzle})["word2vec"], weight)
    found = tf.convert_to_tensor(tape.gradient(total, network.trainable_variables[0])).numpy()
    expected = np.zeros_like(table)
    parts = (puzzle["words"], puzzle["targets"], puzzle["window"], weight)
    for words, targets, window, counts in zip(*map(np.asarray, parts), strict=True):
        for centre in np.flatnonzero(counts.diagonal()):
            seen = words[window[centre] > 0]
            mean = table[seen].mean(0)
            by_mean = (sigmoid(mean @ second[targets[centre]]) - 1) * second[targets[centre]]
            for noise, count in zip(targets[ROW:], counts[centre, ROW:], strict=True):
                by_mean = by_mean + count * sigmoid(mean @ second[noise]) * second[noise]
            np.add.at(expected, seen, by_mean)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_word_that_comes_often_stays_stable(tmp_path):
    """Two words that are all of the text, and a few others: sums of hundreds of gradients would throw them about."""
    rare = " ".join(f"rare{number} common" for number in range(8))
    (tmp_path / "a.txt").write_text(f"{'often common ' * 300}\n{rare} {rare}\n" * 30)
    source = open_source(f"text:{tmp_path / 'a.txt'}")
    for model in BOTH:
        keras.utils.set_random_seed(0)
        task = make(source, f"model='{model}', size=8, sample=0, update=1024")
        network, dataset = models(task, source)
        network.optimizer.learning_rate = 0.5
        losses = network.fit(dataset, steps_per_epoch=8, epochs=3, verbose=0, shuffle=False).history["loss"]
        assert losses[2] < losses[0] < 6 * np.log(2)
        assert max(np.abs(variable.numpy()).max() for variable in network.trainable_variables) < 10


def test_two_replicas_are_one_with_the_joint_batch(source, replicas):
    """Where a step is one update; of several, each replica's are of its own rows."""
    task = make(source, "model='skipgram', size=8, update=4096")
    changes, losses = [], []
    for strategy in (None, replicas):
        network, dataset = models(task, source, strategy)
        before = network.get_weights()
        losses.append(network.fit(dataset, steps_per_epoch=1, verbose=0, shuffle=False).history["loss"][0])
        changes.append([new - old for new, old in zip(network.get_weights(), before, strict=True)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, two in zip(*changes, strict=True):
        assert np.linalg.norm(one - two) < 1e-4 * np.linalg.norm(one)


@pytest.mark.slow
def test_a_step_on_two_replicas_has_several_updates(source, replicas):
    network, dataset = models(make(source, "size=8, update=128"), source, replicas, batch=2)
    network.fit(dataset, steps_per_epoch=1, verbose=0, shuffle=False)
    assert int(network.optimizer.iterations.numpy()) == 2 * 2  # two updates of both tables


def test_only_rows_that_are_touched_are_read_and_written(source):
    """A step takes as long with a hundred times the words: dense updates would take a hundred times as long.

    Seconds go into making tables of 500,000 words.
    """
    seconds = {}
    base = make(source, "size=64, model='skipgram'")
    puzzle, answer, weight = made(source, base.on(source), batch=16)
    for count in (5_000, 500_000):
        words = Vocabulary([b"%d" % number for number in range(count)], np.ones(count, np.int64), True, "words")
        task = dataclasses.replace(base, vocabulary=words, reading=Reading(np.zeros(1, np.int32)))
        spread = tf.nest.map_structure(lambda ids, count=count: ids * (count // 100), puzzle)
        keras.utils.set_random_seed(0)
        encoders = WordPlans(*task.table_shape).make()
        network = make_model([task], encoders, tuple({"word2vec": spec} for spec in puzzle_spec(task, 0, 16)))
        compile_model(network, [task], encoders, make_optimizer(0.0, 0.0))
        step = tf.function(lambda data, network=network: network.train_step(data))
        data = tf.nest.map_structure(tf.constant, tuple({"word2vec": part} for part in (spread, answer, weight)))
        step(data)
        times = []
        for _ in range(7):
            began = time.perf_counter()
            step(data)
            times.append(time.perf_counter() - began)
        seconds[count] = min(times)
    assert seconds[500_000] < 4 * seconds[5_000], seconds  # rows of a large table come from farther memory


def test_in_a_plain_fit(source):
    """The head and the loss in somebody's own model: what they give is a sum over rows of 16 words."""
    keras.utils.set_random_seed(0)
    task = make(source, "size=8, model='skipgram'")
    dataset = tfssl.puzzles(source, task, size=0, batch_size=8)
    puzzle = dataset.element_spec[0]["word2vec"]
    inputs = {name: keras.Input(spec.shape[1:], dtype=spec.dtype, name=name) for name, spec in puzzle.items()}
    scores = task.head(WordPlans(*task.table_shape).make(), inputs)
    network = keras.Model({"word2vec": inputs}, {"word2vec": scores})
    network.compile(keras.optimizers.SGD(1.0), {"word2vec": task.make_loss()})
    losses = network.fit(dataset, steps_per_epoch=10, epochs=6, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("model='skip'", "model='skip' is given, expected one of: cbow, skipgram"),
        ("window=0", "window=0 is given, expected at least 1"),
        ("update=100", "update=100 is given, expected a multiple of 16"),
        ("sample=1.5", "sample=1.5 is given, expected 0"),
        ("min_alpha=0.5", "expected 0 < min_alpha <= alpha"),
        ("vector_size=3", "word2vec has no setting 'vector_size'"),
    ],
)
def test_settings_that_are_wrong(settings, said):
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        parse_task(f"word2vec({settings})")


def test_too_few_words_are_one_line(tmp_path):
    (tmp_path / "one.txt").write_text("alone " * 100)
    with pytest.raises(UserError, match=r"1 words of text:.*one.txt come 5 times or more, and negatives=5 need more"):
        make(open_source(f"text:{tmp_path / 'one.txt'}"))
    with pytest.raises(UserError, match="split at spaces, and the text of the run was split at words; give text"):
        make(open_source(TOY)).on(open_source(f"text(split='spaces'):{tmp_path / 'one.txt'}"))


def test_words_and_pictures_do_not_mix():
    with pytest.raises(UserError, match=r"word2vec reads words, toy:images.* has only image; give text:FILES"):
        tfssl.puzzles("toy:images(count=8, size=32)", "word2vec", size=32, batch_size=2)
    with pytest.raises(UserError, match=r"rotation reads image, toy:text.* has only words; give a folder of pictures"):
        tfssl.puzzles("toy:text(count=30)", "rotation, word2vec", size=32, batch_size=1)


def test_a_puzzle_is_drawn(source):
    for model in BOTH:
        task = make(source, f"model='{model}'").on(source)
        puzzle, answer, _ = made(source, task, batch=2)
        texts = [text.get_text() for text in task.picture(puzzle, answer, count=3).texts]
        assert len(texts) == 3
        assert all("____" in text and ", not " not in text.split("____")[0] for text in texts)
