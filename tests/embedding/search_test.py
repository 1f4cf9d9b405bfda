"""`index` and `search`: the same answers as comparing all by hand, by the encoder that made the embeddings."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import open_source

DATA = "toy:images(count=60, size=32)"


@pytest.fixture(scope="module")
def embeddings(toy_run, tmp_path_factory):
    """Of sixty pictures."""
    return tfssl.embed(toy_run, DATA, tmp_path_factory.mktemp("embeddings") / "a.parquet", batch_size=8, verbose=0)


@pytest.fixture(scope="module")
def indexed(embeddings, tmp_path_factory):
    """An exact index of them."""
    folder = tmp_path_factory.mktemp("index") / "index"
    assert tfssl.index(embeddings.file, folder).as_json() == {"folder": str(folder), "count": 60, "kind": "exact"}
    return folder


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    """Pictures 7 and 31 as files."""
    source = open_source(DATA)
    files = []
    for number in (7, 31):
        files.append(tmp_path_factory.mktemp("queries") / f"{number}.png")
        files[-1].write_bytes(source.encoded[number])
    return files


def test_answers_are_those_of_comparing_all(embeddings, indexed, queries):
    known = embeddings.read()
    unit = known.embedding / np.linalg.norm(known.embedding, axis=1, keepdims=True)
    found = tfssl.search(indexed, queries, count=5)
    assert list(found.answers) == [str(query) for query in queries]
    for number, answers in zip((7, 31), found.answers.values(), strict=True):
        cosine = unit @ unit[number]
        np.testing.assert_allclose([each.similarity for each in answers], np.sort(cosine)[::-1][:5], atol=1e-5)
        assert answers[0].path == f"{DATA}#{number}"
        assert answers[0].similarity == pytest.approx(1, abs=1e-5)
        by_path = dict(zip(known.path, known.label, strict=True))
        assert all(by_path[each.path] == each.label for each in answers)
    printed = found.as_json()
    assert set(printed["queries"][str(queries[0])][0]) == {"path", "similarity", "label"}
    json.dumps(printed)


def test_cells_find_nearly_the_same(embeddings, indexed, queries, tmp_path):
    assert tfssl.index(embeddings.file, tmp_path / "index", exact_up_to=30).kind == "cells"
    exact, near = (tfssl.search(folder, queries[0], count=5) for folder in (indexed, tmp_path / "index"))
    first, other = exact.answers[str(queries[0])], near.answers[str(queries[0])]
    assert first[0].path == other[0].path
    assert {each.path for each in other} <= {
        each.path for each in tfssl.search(indexed, queries[0], count=60).answers[str(queries[0])]
    }


def test_more_answers_than_there_are(indexed, queries):
    assert len(tfssl.search(indexed, queries[0], count=1000).answers[str(queries[0])]) == 60


def test_a_gallery(indexed, queries, tmp_path):
    found = tfssl.search(indexed, queries, count=3, to=tmp_path / "gallery.png")
    assert found.file == tmp_path / "gallery.png"
    height, width, _ = tf.io.decode_png((tmp_path / "gallery.png").read_bytes()).shape
    assert width == pytest.approx(4 * 1.1 * 120, abs=2)
    assert height == pytest.approx(2 * 1.35 * 120, abs=2)
    tfssl.search(indexed, queries, count=3, to=tmp_path / "gallery.html")
    page = (tmp_path / "gallery.html").read_text()
    assert page.count("<img") == 2 * 4
    assert f'alt="query: {queries[0]}"' in page


def test_the_encoder_must_be_the_one(toy_run, toy_export, embeddings, indexed, queries, tmp_path):
    expected = tfssl.search(indexed, queries[0]).answers[str(queries[0])]
    served = tfssl.search(indexed, queries[0], encoder=toy_export).answers[str(queries[0])]
    np.testing.assert_allclose([a.similarity for a in served], [a.similarity for a in expected], atol=1e-5)
    gone = shutil.copytree(indexed, tmp_path / "index")
    record = json.loads((gone / "index.json").read_text())
    record["encoder"]["model"] = str(tmp_path / "gone")
    (gone / "index.json").write_text(json.dumps(record))
    with pytest.raises(
        UserError, match=r"the encoder that made .*gone, is not there; say where it is now by --encoder"
    ):
        tfssl.search(gone, queries[0])
    assert tfssl.search(gone, queries[0], encoder=toy_run).answers[str(queries[0])] == expected
    for key, told in (("fingerprint", "its weights differ"), ("size", "size 32, not 96")):
        changed = record | {"encoder": record["encoder"] | {key: 96 if key == "size" else "another"}}
        (gone / "index.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=f"is not the encoder that made .*{told}"):
            tfssl.search(gone, queries[0], encoder=toy_run)


def test_wrong_input_is_told(embeddings, indexed, queries, tmp_path):
    text = tmp_path / "letter.txt"
    text.write_text("dear")
    with pytest.raises(UserError, match=r"letter\.txt is no picture"):
        tfssl.search(indexed, text)
    with pytest.raises(UserError, match="nowhere does not exist"):
        tfssl.search(indexed, tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no index"):
        tfssl.search(tmp_path, queries[0])
    with pytest.raises(UserError, match=r"a\.txt is given, expected a file that ends in"):
        tfssl.search(indexed, queries[0], to=tmp_path / "a.txt")
    with pytest.raises(UserError, match="count=0"):
        tfssl.search(indexed, queries[0], count=0)
    with pytest.raises(UserError, match="exists; choose a new folder"):
        tfssl.index(embeddings.file, tmp_path)
    with pytest.raises(UserError, match="cannot be read as embeddings"):
        tfssl.index(text, tmp_path / "index")
    with pytest.raises(UserError, match=r"nowhere\.npz does not exist"):
        tfssl.index(tmp_path / "nowhere.npz", tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
