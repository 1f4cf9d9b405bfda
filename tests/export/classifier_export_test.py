"""A classifier exported: signatures, files for other runtimes, server and client say what its network says."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.export.limits_test import picture
from tests.support.tiny_models import unmeasured
from tfssl import serving
from tfssl.apply.predict import predict
from tfssl.base.errors import UserError
from tfssl.benchmarks.devices import bench_devices
from tfssl.export.checking.check import check
from tfssl.export.formats import tflite
from tfssl.export.saved_model import export
from tfssl.export.signatures.classifier import classifier_signatures
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import picture_crops
from tfssl.pipelines.sources.any_source import open_splits
from tfssl.runs.classifiers import load_classifier

pytestmark = pytest.mark.usefixtures("loaded_once")

CLASSES = ["10", "2", "Été"]
PICTURES = [picture(), b"none", picture("JPEG", 50)]


@pytest.fixture(scope="module")
def exported(toy_classifier, tmp_path_factory):
    folder = unmeasured(tmp_path_factory.mktemp("classifier") / "models")
    return export(toy_classifier, folder, tflite="float32")


@pytest.fixture(scope="module")
def shares(toy_classifier):
    """What the network says of the two pictures."""
    images, _ = picture_crops.pictures(tf.constant([PICTURES[0], PICTURES[2]]), 32)
    return load_classifier(toy_classifier).network(images).numpy()


def test_classify_names_the_class(exported, shares):
    loaded = tf.saved_model.load(str(exported.saved_model))
    found = loaded.signatures["classify"](image_bytes=tf.constant(PICTURES))
    np.testing.assert_allclose(found["probabilities"], [shares[0], [0, 0, 0], shares[1]], atol=1e-6)
    best = shares.argmax(1)
    names = [CLASSES[best[0]].encode(), b"", CLASSES[best[1]].encode()]
    assert found["label"].numpy().tolist() == names
    np.testing.assert_allclose(found["probability"], [shares[0].max(), 0, shares[1].max()], atol=1e-6)
    assert found["valid"].numpy().tolist() == [True, False, True]
    empty = loaded.signatures["classify"](image_bytes=tf.constant([], tf.string))
    assert empty["label"].shape == [0]
    assert empty["probabilities"].shape == [0, 3]


def test_what_lies_in_a_version(exported, toy_classifier):
    version = exported.saved_model
    assert exported.signatures == ("serving_default", "pixels", "classify", "classify_pixels")
    assert (version / "assets.extra" / "classes.txt").read_text(encoding="utf-8").splitlines() == CLASSES
    network = keras.models.load_model(version / "classifier.keras", compile=False)
    encoder = keras.models.load_model(version / "encoder.keras", compile=False)
    assert (network.output_shape, encoder.output_shape) == ((None, 3), (None, exported.embedding_size))
    assert json.loads((version / "assets.extra" / "encoder.json").read_text())["classes"] == CLASSES
    with pytest.raises(UserError, match=r"--pool is given, but .* is a classifier, whose network is fixed"):
        export(toy_classifier, version.parent, pool=2)


def test_several_labels_stand_in_one_text():
    shares = [[0.6, 0.1, 0.5], [0.1, 0.7, 0.2], [0.1, 0.2, 0.3]]
    _, pixels = classifier_signatures(Fixed(shares), ("a", "b b", "c"), True)
    found = pixels.function(tf.zeros([3, 2, 2, 3], tf.uint8))
    assert found["label"].numpy().tolist() == [b"a;c", b"b b", b""]
    np.testing.assert_allclose(found["probability"], [0.6, 0.7, 0.3])


class Fixed:
    """A network whose answer is fixed."""

    input_shape = (None, 2, 2, 3)

    def __init__(self, shares):
        self._shares = tf.constant(shares)

    def __call__(self, images, training):
        del training
        return self._shares[: len(images)]


def test_check_replays_signatures_and_files(exported):
    found = check(exported.saved_model.parent)
    assert found.ok
    assert {"classify", "classify_pixels", "classify_pixels_float32.tflite"} <= {each.name for each in found.replays}


def test_a_file_for_devices_has_its_labels(exported, shares):
    path = exported.saved_model / "tflite" / "classify_pixels_float32.tflite"
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as attached:
        assert attached.read("labels.txt").decode().splitlines() == CLASSES
    images, _ = picture_crops.pictures(tf.constant([PICTURES[0], PICTURES[2]]), 32)
    np.testing.assert_allclose(tflite.TFLiteEncoder(path)(images.numpy()), shares, atol=1e-4)
    facts = tflite.tflite_files(exported.saved_model)[path.name]
    assert (facts["input"]["name"], facts["output"], facts["classes"]) == ("pixels", "probabilities", CLASSES)


def test_bench_devices_says_how_many_a_file_names_right(exported, toy_classifier, labelled_folder):
    table = bench_devices(exported.saved_model.parent, labelled_folder, passes=1)
    files = {each.name: each for each in table.files}
    _, test, _ = open_splits(labelled_folder)
    (batch,) = batches.plain(test, 32, 100)
    right = load_classifier(toy_classifier).network(batch["image"]).numpy().argmax(1) == test.labels
    named = files["classify_pixels_float32.tflite"]
    assert (named.named, named.knn) == (right.mean(), None)
    assert named.cosine > 0.9999
    assert files["pixels_float32.tflite"].named is None
    (line,) = (line for line in str(table).splitlines() if line.startswith("classify_pixels"))
    assert line.endswith(f" {100 * right.mean():.1f}")


def test_a_server_answers_the_client_and_predict(exported, shares, tmp_path):
    from tfssl.export.config import ServeSettings
    from tfssl.export.server.serve import running

    folder = exported.saved_model.parent
    best = [CLASSES[row] for row in shares.argmax(1)]
    with running(ServeSettings(folder=folder, rest_port=0, grpc_port=0)) as (addresses, _):
        for address in (addresses.grpc, f"http://{addresses.rest}"):
            with serving.Client(address, model="models") as client:
                found = client.classify(PICTURES, invalid="nan")
                assert found.label.tolist() == [best[0], "", best[1]]
                np.testing.assert_allclose(found.probabilities[[0, 2]], shares, atol=1e-5)
                assert np.isnan(found.probability[1])
                with pytest.raises(serving.InvalidRowsError, match="1 of 3 rows have no class: row 1 is") as problem:
                    client.classify(PICTURES)
                assert problem.value.classes.label.tolist() == found.label.tolist()
                with pytest.raises(UserError, match="waveforms are given"):
                    client.classify(np.zeros((1, 8), np.float32))
        data = "toy:images(count=5, size=32)"
        here = predict(folder, data, tmp_path / "here.csv", verbose=0)
        there = predict(folder, data, tmp_path / "there.csv", server=addresses.grpc, verbose=0)
    assert here.labels == there.labels
    assert sum(here.labels.values()) == 5
