"""Word vectors asked: against gensim, and against loops; files of other people's formats; the whole command."""

import json

import numpy as np
import pytest

import tfssl
from tests.conftest import TOY_TEXT
from tfssl.base.errors import UserError
from tfssl.evaluation import word_vectors
from tfssl.evaluation.word_vectors import WordVectors, read_analogies, read_pairs
from tfssl.evaluation.words import losses_on, unigram_scores
from tfssl.pipelines.sources.any_source import open_source
from tfssl.pipelines.text.vocabulary import Vocabulary
from tfssl.pipelines.toy_world.sentences import WORD_CLASSES
from tfssl.tasks import parse_task

WORDS = [f"w{number}" for number in range(60)]
ANALOGIES = ": one\nw1 w2 w3 w4\nW5 w6 w7 w8\nw5 absent w7 w8\n\n: two\n" + "".join(
    f"w{i} w{i + 1} w{i + 2} w{i + 3}\n" for i in range(50)
)
HELD_OUT = "toy:text(count=300, start=100000)"


@pytest.fixture(scope="module")
def vectors():
    """Vectors whose steps along the numbers are nearly the same, so that some analogies come out right."""
    draw = np.random.default_rng(0)
    table = np.cumsum(draw.normal(size=(60, 6), scale=0.2) + draw.normal(size=6), 0).astype(np.float32)
    vocabulary = Vocabulary([word.encode() for word in WORDS], np.arange(60, 0, -1), True, "words")
    return WordVectors.of(vocabulary, table), table


@pytest.fixture(scope="module")
def theirs(vectors):
    """The same in gensim."""
    keyed = pytest.importorskip("gensim.models").KeyedVectors(6)
    keyed.add_vectors(WORDS, vectors[1])
    return keyed


def test_analogies_are_answered_as_gensim_answers_them(vectors, theirs, tmp_path):
    (tmp_path / "questions.txt").write_text(ANALOGIES)
    questions = read_analogies(tmp_path / "questions.txt", vectors[0].vocabulary)
    found = word_vectors.answer_analogies(vectors[0], questions)
    _, sections = theirs.evaluate_word_analogies(tmp_path / "questions.txt")
    assert [(each.name, each.right) for each in found] == [
        (each["section"], len(each["correct"])) for each in sections[:2]
    ]
    assert [(each.asked, each.listed) for each in found] == [(2, 3), (50, 50)]
    assert 0 < found[1].right < 50


def test_pairs_are_ranked_as_gensim_ranks_them(vectors, theirs, tmp_path):
    draw = np.random.default_rng(1)
    one, other, scores = draw.permutation(WORDS), draw.permutation(WORDS), draw.random(60)
    rows = [f"{a}\t{b}\t{score:.2f}" for a, b, score in zip(one, other, scores, strict=True)]
    (tmp_path / "pairs.tsv").write_text("\n".join(["# people", "Word 1\tWord 2\tmean", *rows, "w1\tabsent\t1.0"]))
    found = word_vectors.compare_pairs(vectors[0], "pairs", *read_pairs(tmp_path / "pairs.tsv", vectors[0].vocabulary))
    _, (spearman, _), unknown = theirs.evaluate_word_pairs(tmp_path / "pairs.tsv", dummy4unknown=False)
    assert found.spearman == pytest.approx(spearman, abs=1e-6)
    assert (found.asked, found.listed) == (60, 61)
    assert abs(spearman) < 0.9
    assert unknown > 0


def test_neighbours_are_gensims(vectors, theirs):
    found, cosines = vectors[0].nearest(vectors[0].unit[[7, 30]], 4, np.array([[7], [30]]))
    for word, numbers, values in zip(("w7", "w30"), found, cosines, strict=True):
        expected = theirs.most_similar(word, topn=4)
        assert [WORDS[number] for number in numbers] == [name for name, _ in expected]
        np.testing.assert_allclose(values, [value for _, value in expected], atol=1e-6)


def test_share_alike_counts_the_class_of_each_neighbour():
    table = np.repeat(np.eye(3), 4, 0)[:, :3] + np.random.default_rng(0).normal(size=(12, 3), scale=0.01)
    words = [b"%d" % number for number in range(12)]
    vectors = WordVectors.of(Vocabulary(words, np.ones(12, np.int64), True, "words"), table)
    groups = [[str(n) for n in range(start, start + 4)] for start in (0, 4)]  # the last four are of no class
    assert word_vectors.share_alike(vectors, groups, 3) == (1.0, pytest.approx(3 / 11))
    mixed = [["0", "1", "4", "5"], ["2", "3", "6", "7"]]
    assert word_vectors.share_alike(vectors, mixed, 3)[0] == pytest.approx(1 / 3)


def test_simlex_of_its_authors_and_commas(vectors, tmp_path):
    (tmp_path / "simlex.txt").write_text("word1\tword2\tPOS\tSimLex999\tconc\nw1\tw2\tA\t1.5\t3\nw3\tW4\tN\t9\t1\n")
    pairs, scores = read_pairs(tmp_path / "simlex.txt", vectors[0].vocabulary)
    assert (pairs.tolist(), scores.tolist()) == ([[1, 2], [3, 4]], [1.5, 9.0])
    (tmp_path / "wordsim.csv").write_text("Word 1,Word 2,Human (mean)\nw1,gone,6.77\n")
    pairs, scores = read_pairs(tmp_path / "wordsim.csv", vectors[0].vocabulary)
    assert (pairs.tolist(), scores.tolist()) == ([[1, -1]], [6.77])


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (read_analogies, "w1 w2 w3 w4\n", "line 1: expected ': SECTION', or four words; got 'w1 w2 w3 w4'"),
        (read_analogies, ": a\nw1 w2\n", "line 2: expected"),
        (read_pairs, "a\tb\tc\nw1\tw2\tmany\n", "line 2: expected two words and a score"),
        (read_pairs, "# nothing\n", "has no pairs of words"),
    ],
)
def test_files_of_something_else_are_one_line(vectors, tmp_path, read, content, said):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / "a.txt", vectors[0].vocabulary)


@pytest.mark.parametrize("model", ["cbow", "skipgram"])
def test_the_unigram_model_is_the_best_that_knows_no_context(model):
    """Scores that are lowered or raised for a word lose; and with tables of zeros the loss is that of guessing."""
    source = open_source("toy:text(count=1500)")
    task = parse_task(f"word2vec(model='{model}', size=4)").prepared(source)
    best = unigram_scores(task)
    count = len(best)
    # Scores that depend on the target alone: the first table all ones, the second the score / 4.
    tables = {
        f"{change}": (
            np.ones((count, 4), np.float32),
            np.repeat((best + change * np.eye(count)[0])[:, None] / 4, 4, 1).astype(np.float32),
        )
        for change in (0.0, 0.3, -0.3)
    }
    losses, pairs = losses_on(task, source, tables, seed=1)
    assert losses["0.0"] == pytest.approx(losses["unigram"], rel=1e-5)
    assert losses["0.0"] < min(losses["0.3"], losses["-0.3"])
    assert losses["unigram"] < 0.95 * losses["random"] < losses["random"] < 6 * np.log(2)
    assert pairs > 1000


def test_a_run_beside_random_vectors_and_the_unigram_model(word_run, tmp_path):
    (tmp_path / "questions.txt").write_text(": animals\ncat dog dog cat\nhen nowhere cat dog\n")
    pairs = [
        f"{a},{b},{score}"
        for a, b, score in (("cat", "dog", 9), ("Cat", "runs", 1), ("red", "blue", 8), ("bread", "hides", 2))
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(pairs))
    found = tfssl.evaluate_words(
        word_run,
        HELD_OUT,
        analogies=tmp_path / "questions.txt",
        similarity=tmp_path / "pairs.csv",
        neighbours="cat, nowhere",
        verbose=0,
    )
    assert found.alike["trained"] > 0.6 > 0.2 > found.alike["random"]
    assert found.alike["chance"] == pytest.approx(9 / 92, abs=1e-3)
    assert found.held_out.loss < 0.98 * found.held_out.unigram < found.held_out.unigram < found.held_out.random
    assert found.held_out.known == 1
    (trained,), (random,) = found.similarity["trained"], found.similarity["random"]
    assert trained.spearman > 0.75
    assert (trained.asked, random.asked) == (4, 4)
    assert [(each.asked, each.listed) for each in found.analogies["trained"]] == [(1, 2)]
    near = [each.word for each in found.neighbours["trained"]["cat"]]
    assert len(set(near) & set(WORD_CLASSES["animal"])) >= 3
    assert found.unknown == ("nowhere",)
    kept = json.loads((word_run.folder / "words_evaluation.json").read_text())
    assert kept == json.loads(json.dumps(found.as_json()))
    text = str(found)
    for part in (
        "93 words",
        "animals",
        "1 of 2",
        "frequencies alone",
        "of the 5 nearest",
        "not in the vocabulary: nowhere",
    ):
        assert part in text


def test_what_cannot_be_measured_is_one_line(word_run, toy_run, tmp_path):
    (tmp_path / "strange.txt").write_text("nobody wrote this cat\n")
    with pytest.raises(UserError, match="nothing is asked for; give a text, --analogies"):
        tfssl.evaluate_words(word_run)
    with pytest.raises(UserError, match="is none on text; expected one of word2vec"):
        tfssl.evaluate_words(toy_run, TOY_TEXT)
    with pytest.raises(UserError, match="word2vec reads words, toy:images"):
        tfssl.evaluate_words(word_run, "toy:images(count=8, size=32)")
    with pytest.raises(UserError, match="has no two words side by side that the vocabulary has"):
        tfssl.evaluate_words(word_run, f"text:{tmp_path / 'strange.txt'}", verbose=0)
