"""`predict`: a file of what pictures show, in order, resumed, with the least certain first."""

import csv
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.apply.predict import prediction_of, sorted_by_doubt
from tfssl.base.errors import UserError
from tfssl.embedding import embed as collection
from tfssl.embedding.files import Parts
from tfssl.pipelines.decoding import picture_crops


@pytest.fixture(scope="module")
def pictures(labelled_folder, tmp_path_factory):
    """Twelve pictures, one of which is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, path in enumerate(sorted(labelled_folder.rglob("*.png"))[:12]):
        shutil.copy(path, folder / f"{number:02}.png")
    (folder / "05.png").write_bytes(b"none")
    return folder


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_file_is_what_the_network_says(toy_classifier, pictures, tmp_path):
    found = tfssl.predict(toy_classifier, pictures, tmp_path / "a.csv", batch_size=4, verbose=0)
    rows = read(tmp_path / "a.csv")
    paths = [path for path in sorted(pictures.iterdir()) if path.name != "05.png"]
    assert [row["path"] for row in rows] == list(map(str, paths))
    images, _ = picture_crops.pictures(tf.constant([path.read_bytes() for path in paths]), 32)
    network = keras.models.load_model(toy_classifier / "classifier.keras", compile=False)
    shares, classes = network(images).numpy(), np.array(["10", "2", "Été"])
    order = shares.argsort(1)[:, ::-1]
    assert [row["label"] for row in rows] == list(classes[order[:, 0]])
    assert [row["second"] for row in rows] == list(classes[order[:, 1]])
    given = [[float(row["probability"]), float(row["second_probability"])] for row in rows]
    np.testing.assert_allclose(given, np.take_along_axis(shares, order[:, :2], 1), atol=1e-5)
    assert found.count == 11
    assert list(found.broken) == [str(pictures / "05.png")]
    assert sum(found.labels.values()) == 11
    assert not (tmp_path / "a.csv.parts").exists()


def test_unsure_and_parquet(toy_classifier, pictures, tmp_path):
    from pyarrow import parquet

    tfssl.predict(toy_classifier, pictures, tmp_path / "a.csv", verbose=0)
    tfssl.predict(toy_classifier, pictures, tmp_path / "b.parquet", unsure=True, verbose=0)
    rows, table = read(tmp_path / "a.csv"), parquet.read_table(tmp_path / "b.parquet").to_pylist()
    wanted = sorted(rows, key=lambda row: float(row["probability"]))
    assert [row["path"] for row in table] == [row["path"] for row in wanted]
    np.testing.assert_allclose([r["probability"] for r in table], [float(r["probability"]) for r in wanted], atol=1e-6)
    with pytest.raises(UserError, match=r"b\.parquet exists; choose another --to"):
        tfssl.predict(toy_classifier, pictures, tmp_path / "b.parquet", verbose=0)


def test_interrupted_it_ends_with_the_same_file(toy_classifier, pictures, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(collection, "PART_BATCHES", 1)
    monkeypatch.setattr("tfssl.apply.predict.PART_BATCHES", 1)
    tfssl.predict(toy_classifier, pictures, tmp_path / "whole.csv", batch_size=4, verbose=0)
    write = Parts.write

    def stopped(parts, start, *rows):
        write(parts, start, *rows)
        if start == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            tfssl.predict(toy_classifier, pictures, tmp_path / "a.csv", batch_size=4, verbose=0)
    assert not (tmp_path / "a.csv").exists()
    tfssl.predict(toy_classifier, pictures, tmp_path / "a.csv", batch_size=4)
    assert "resumed: 8 of 11 pictures" in capfd.readouterr().err
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_several_labels_and_doubt():
    classes = ("a", "b", "c")
    assert prediction_of("x", np.array([0.5, 0.2, 0.9]), classes, True)[1:] == ("a;c", 0.9, "b", 0.2)
    assert prediction_of("x", np.array([0.1, 0.2, 0.3]), classes, True)[1:] == ("", 0.3, "c", 0.3)
    assert prediction_of("x", np.array([0.1, 0.6, 0.3]), classes, False)[1:] == ("b", 0.6, "c", 0.3)
    shares = {"far": [0.01, 0.9, 0.9], "near": [0.45, 0.99, 0.01]}
    rows = [(prediction_of(name, np.array(each), classes, True), np.array(each)) for name, each in shares.items()]
    assert [row.path for row in sorted_by_doubt(rows, True)] == ["near", "far"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "run"}, "is a run, which knows no classes"),
        ({"model": "export"}, "is the export of an encoder, which knows no classes"),
        ({"model": "nowhere"}, "is no export"),
        ({"server": "localhost:1"}, "serves an export, and a classifier is given"),
        ({"to": "a.txt"}, "expected a file that ends in .csv or .parquet"),
    ],
)
def test_what_is_wrong_gives_one_line(toy_classifier, toy_run, toy_export, pictures, tmp_path, changes, said):
    models = {"run": toy_run.folder, "export": toy_export}
    model = changes.pop("model", toy_classifier)
    to = tmp_path / changes.pop("to", "a.csv")
    with pytest.raises(UserError, match=said):
        tfssl.predict(models.get(model, model), pictures, to, verbose=0, **changes)
    assert not list(tmp_path.iterdir())
