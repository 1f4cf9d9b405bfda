"""A run on text as others take it: SavedModel, TFLite, word2vec's formats, an index; each beside the run's table."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.export import words
from tfssl.export.versions import description


@pytest.fixture(scope="module")
def exported(word_run, made_once):
    options = {"tflite": "float32,float16", "word2vec": "text,binary"}
    return made_once("word_models", lambda folder: tfssl.export(word_run, folder, **options)) / "1"


@pytest.fixture(scope="module")
def own(word_run):
    vocabulary = word_run.tasks()[0].vocabulary
    return vocabulary.texts, word_run.word_table().layer.get_weights()[0]


ALONE = """
import sys
import numpy as np
import tensorflow as tf

sys.modules["tfssl"] = None  # cannot be imported
loaded = tf.saved_model.load(sys.argv[1])
words = loaded.signatures["words"](words=tf.constant(["cat", "Dog", "nobody", b"\\xff", ""]))
sentences = loaded.signatures["sentences"](sentences=tf.constant(["The cat, nobody: and the dog!", "", "?"]))
empty = loaded.signatures["words"](words=tf.constant([], tf.string))
np.savez(sys.argv[2], **{f"{kind}_{name}": rows for kind, made in
         (("words", words), ("sentences", sentences), ("empty", empty)) for name, rows in made.items()})
"""


@pytest.mark.slow
def test_a_process_without_this_package_asks_it(exported, own, tmp_path):
    """Of several seconds most are TensorFlow's start in a process of its own."""
    subprocess.run([sys.executable, "-c", ALONE, exported, tmp_path / "a.npz"], check=True, cwd=tmp_path)
    made = np.load(tmp_path / "a.npz")
    texts, table = own
    cat, dog, the = (table[texts.index(word)] for word in ("cat", "dog", "the"))
    np.testing.assert_array_equal(made["words_embedding"], [cat, dog, 0 * cat, 0 * cat, 0 * cat])
    assert made["words_known"].tolist() == [True, True, False, False, False]
    mean = np.mean([the, cat, table[texts.index("and")], the, dog], 0)
    np.testing.assert_allclose(made["sentences_embedding"], [mean, 0 * cat, 0 * cat], rtol=1e-5, atol=1e-7)
    assert made["sentences_known"].tolist() == [True, False, False]
    assert made["empty_embedding"].shape == (0, 16)


def test_it_is_checked_and_said(exported, word_run):
    checked = tfssl.check(exported)
    assert checked.ok
    assert [replay.name for replay in checked.replays] == [
        "serving_default",
        "words",
        "sentences",
        "numbers",
        "numbers_float32.tflite",
        "numbers_float16.tflite",
    ]
    about = description(exported)
    assert about["words"] == {"count": 93, "lower": True, "split": "words"}
    assert about["dimensions"] == 16
    assert (exported / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 100
    assert "signature" not in (exported.parent / "models.config").read_text()


def test_tflite_takes_numbers_and_has_the_vocabulary(exported, own):
    from ai_edge_litert.interpreter import Interpreter

    texts, table = own
    path = exported / "tflite" / "numbers_float32.tflite"
    with zipfile.ZipFile(path) as archive:
        assert archive.read("vocabulary.txt").decode().splitlines() == texts
    interpreter = Interpreter(model_path=str(path))
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == np.int32
    interpreter.resize_tensor_input(given["index"], [3])
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], np.array([5, 0, 92], np.int32))
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_tensor(answer["index"]), table[[5, 0, 92]])
    facts = json.loads((exported / "tflite" / "files.json").read_text())["numbers_float16.tflite"]
    assert facts["input"] == {"name": "numbers", "shape": [None], "dtype": "int32", "range": [0, 92]}


@pytest.mark.parametrize(("name", "binary"), [("words.txt", False), ("words.bin", True)])
def test_gensim_reads_its_files(exported, own, name, binary):
    vectors = pytest.importorskip("gensim.models").KeyedVectors.load_word2vec_format(exported / name, binary=binary)
    texts, table = own
    assert vectors.index_to_key == texts
    np.testing.assert_array_equal(vectors.vectors, table)


def test_keras_opens_its_file(exported, own):
    network = keras.models.load_model(exported / "words.keras")
    assert type(network.layers[-1]) is keras.layers.Embedding
    np.testing.assert_array_equal(network(np.array([3, 1])), own[1][[3, 1]])


def test_length_one(word_run, own):
    np.testing.assert_array_equal(words.table_of(word_run, False), own[1])
    rows = own[1] / np.linalg.norm(own[1], axis=1, keepdims=True)
    np.testing.assert_allclose(words.table_of(word_run, True), rows, rtol=1e-5)
    assert words.describe(word_run, word_run.tasks()[0].vocabulary, True)["l2_normalise"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stage": "stage1"}, "--stage is given, and .* is a run on text"),
        ({"tflite": "int8"}, "--tflite int8 is given"),
        ({"word2vec": "csv"}, "--word2vec csv is given, expected some of text,binary"),
    ],
)
def test_options_that_mean_nothing_are_one_line(word_run, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        tfssl.export(word_run, tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


def test_a_run_on_pictures_has_no_such_files(toy_run, tmp_path):
    with pytest.raises(UserError, match=r"--word2vec text is given, and .* is no run on text"):
        tfssl.export(toy_run, tmp_path / "models", word2vec="text")


def test_words_are_indexed_and_searched(word_run, exported, own, tmp_path):
    """By the run and by its export alike; neighbours are those of the table."""
    made = tfssl.index(word_run.folder, tmp_path / "index")
    assert (made.count, made.kind) == (93, "exact")
    found = tfssl.search(tmp_path / "index", ["cat", "the red Dog"], count=4)
    texts, table = own
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    mean = table[[texts.index(word) for word in ("the", "red", "dog")]].mean(0)
    for query, asked in (("cat", table[texts.index("cat")]), ("the red Dog", mean)):
        order = np.argsort(-(unit @ asked))[:4]
        assert [answer.path for answer in found.answers[query]] == [texts[number] for number in order]
    by_export = tfssl.search(tmp_path / "index", "cat", count=4, encoder=exported)
    assert [answer.path for answer in by_export.answers["cat"]] == [answer.path for answer in found.answers["cat"]]
    assert tfssl.index(exported, tmp_path / "other").count == 93
    with pytest.raises(UserError, match="--query 'nobody' has no word that the vocabulary has"):
        tfssl.search(tmp_path / "index", "nobody")
    with pytest.raises(UserError, match="is of words, which cannot be drawn"):
        tfssl.search(tmp_path / "index", "cat", to=tmp_path / "a.png")


def test_what_is_no_table_is_not_indexed(toy_run, tmp_path):
    with pytest.raises(UserError, match="is neither a file that `tfssl embed` wrote, nor a run on text"):
        tfssl.index(toy_run.folder, tmp_path / "index")
