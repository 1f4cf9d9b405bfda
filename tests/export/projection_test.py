"""Smaller embeddings and embeddings of length 1: alike in every file of an export, and as computed independently."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.tiny_models import unmeasured
from tfssl.base.errors import UserError
from tfssl.embedding.encoders import load_encoder
from tfssl.export.checking.check import check
from tfssl.export.formats import projection
from tfssl.export.formats.onnx import OnnxEncoder
from tfssl.export.formats.tflite import TFLiteEncoder
from tfssl.export.saved_model import export
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source

pytest.importorskip("ai_edge_litert")
pytest.importorskip("ai_edge_quantizer")
pytest.importorskip("tf2onnx")

pytestmark = pytest.mark.usefixtures("loaded_once")

DIMENSIONS = 5


@pytest.fixture(scope="module")
def exported(toy_run, tmp_path_factory):
    folder = unmeasured(tmp_path_factory.mktemp("projected") / "models")
    settings = {"tflite": "float32,int8", "onnx": True, "dimensions": DIMENSIONS, "l2_normalise": True, "pool": 3}
    done = export(toy_run, folder, **settings)
    assert (done.embedding_size, done.onnx) == (DIMENSIONS, ("pixels.onnx",))
    return folder


@pytest.fixture(scope="module")
def pictures(toy_run):
    """uint8 [72, 32, 32, 3]: all that the run learned from."""
    batch = next(iter(batches.plain(open_source(toy_run.data["name"]), 32, 72)))
    return batch["image"].numpy()


def three_by_three(encoder):
    """What `pool=3` gives of an encoder that is not pooled, whose map has 4 x 4 places, by NumPy."""
    windows = [slice(0, 2), slice(1, 3), slice(2, 4)]

    def embed(rows):
        maps = encoder(rows).numpy()
        return np.concatenate([maps[:, row, column].mean((1, 2)) for row in windows for column in windows], 1)

    return embed


def by_hand(encoder, pictures, rows):
    """Principal components by NumPy's singular values: of `rows`, fitted on `pictures`."""
    embedding = np.asarray(encoder(pictures), np.float64)
    mean = embedding.mean(0)
    return (np.asarray(encoder(rows)) - mean) @ np.linalg.svd(embedding - mean)[2][:DIMENSIONS].T


def same_signs(found, expected):
    """A component may point either way."""
    return found * np.sign((found * expected).sum(0))


def test_every_file_has_the_components_that_numpy_finds(toy_run, exported, pictures):
    rows = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    expected = by_hand(three_by_three(toy_run.encoder(pooled=False)), pictures, rows)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    version = exported / "1"
    signature = tf.saved_model.load(str(version)).signatures["pixels"]
    found = {
        "SavedModel": signature(pixels=tf.constant(rows))["embedding"].numpy(),
        "encoder.keras": keras.models.load_model(version / "encoder.keras")(rows).numpy(),
        "TFLite": TFLiteEncoder(version / "tflite" / "pixels_float32.tflite")(rows),
        "ONNX": OnnxEncoder(version / "onnx" / "pixels.onnx")(rows),
    }
    for name, embedding in found.items():
        np.testing.assert_allclose(same_signs(embedding, expected), expected, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(np.linalg.norm(found["ONNX"], axis=1), 1, atol=1e-5)


def test_components_alone_keep_their_lengths(toy_run, pictures):
    encoder = toy_run.encoder()
    smaller = projection.project(encoder, DIMENSIONS, False, [pictures[:40], pictures[40:]])
    expected = by_hand(encoder, pictures, pictures)
    found = same_signs(smaller(pictures).numpy(), expected)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    variances = found.var(0)
    assert (np.diff(variances) < 0).all()  # the largest first, and not whitened


def test_check_replays_all_of_it_and_the_description_says_so(exported):
    found = check(exported)
    assert found.ok, str(found)
    names = ["serving_default", "pixels", "predict_rotation", "pixels_float32.tflite", "pixels_int8.tflite"]
    assert [one.name for one in found.replays] == [*names, "pixels.onnx"]
    about = json.loads((exported / "1" / "assets.extra" / "encoder.json").read_text())
    assert (about["dimensions"], about["pool"]) == (DIMENSIONS, 3)
    assert about["l2_normalise"] is True
    assert about["principal_components"] == {"of": "toy:images(count=72, size=32)", "sample": 2048}


def test_another_projection_is_another_encoder(toy_run, exported, tmp_path):
    """Embeddings of a run, of its smaller ones and of those of length 1 are not to be mixed in an index."""
    normal = unmeasured(tmp_path / "normal")
    export(toy_run, normal, l2_normalise=True)
    encoders = [load_encoder(model) for model in (toy_run, exported, normal)]
    assert [encoder.dimensions for encoder in encoders] == [32, DIMENSIONS, 32]
    assert len({encoder.fingerprint for encoder in encoders}) == 3
    row = np.full((1, 32, 32, 3), 90, np.uint8)
    whole, _, unit = (encoder.function(row).numpy() for encoder in encoders)
    np.testing.assert_allclose(unit, whole / np.linalg.norm(whole), atol=1e-5)
    with pytest.raises(UserError, match="its weights differ"):
        encoders[2].check_made(encoders[0].about(), "the index")


@pytest.mark.parametrize("dimensions", [0, -3, 33, True])
def test_dimensions_that_cannot_be(toy_run, tmp_path, dimensions):
    with pytest.raises(UserError, match=f"--dimensions {dimensions} is given, expected 1 to 32"):
        export(toy_run, tmp_path / "models", dimensions=dimensions)
    assert not (tmp_path / "models").exists()


def test_what_components_are_fitted_on_must_be_there(toy_run, pictures):
    with pytest.raises(UserError, match="--dimensions 5 is given, but the data that the run learned from is gone"):
        projection.check_dimensions(5, [32], None)
    with pytest.raises(UserError, match="--dimensions 5 is given, 4 are there to fit on"):
        projection.project(toy_run.encoder(), 5, False, [pictures[:4]])
