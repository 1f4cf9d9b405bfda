"""ONNX files: the same embeddings by onnxruntime, for picture and sound and any count of rows."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.tiny_models import unmeasured
from tfssl.base.errors import UserError
from tfssl.export.checking.check import check
from tfssl.export.formats import onnx
from tfssl.export.saved_model import export

pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def exported(audio_visual_run, tmp_path_factory):
    folder = unmeasured(tmp_path_factory.mktemp("onnx") / "model")
    assert export(audio_visual_run, folder, onnx=True).onnx == ("pixels.onnx", "waveform.onnx")
    return folder


@pytest.mark.parametrize("count", [1, 5])
def test_they_give_what_the_run_gives(audio_visual_run, exported, count):
    rng = np.random.default_rng(0)
    for kind, encoder, rows in (
        ("pixels", audio_visual_run.encoder(), rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)),
        ("waveform", audio_visual_run.sound_encoder(), rng.normal(0, 0.1, (count, 8000)).astype("f4")),
    ):
        found = onnx.OnnxEncoder(exported / "1" / "onnx" / f"{kind}.onnx")(rows)
        expected = encoder(rows).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))


def test_check_replays_them_and_finds_a_wrong_one(exported):
    found = check(exported)
    assert found.ok
    assert [one.name for one in found.replays][-2:] == ["pixels.onnx", "waveform.onnx"]
    assert all(one.tolerance >= 1e-4 for one in found.replays[-2:])
    path = exported / "1" / "onnx" / "pixels.onnx"
    kept = path.read_bytes()
    try:
        pixels = keras.Input((32, 32, 3), dtype="uint8", name="pixels")
        pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
        other = keras.Model(pixels, keras.layers.Dense(32)(pooled))
        path.unlink()
        path.parent.rename(path.parent.with_name("kept"))
        onnx.write_onnx(exported / "1", {"pixels": other})
        wrong = check(exported)
        assert [one.name for one in wrong.replays if not one.ok] == ["pixels.onnx"]
        path.write_bytes(b"none")
        with pytest.raises(UserError, match="cannot be replayed"):
            check(exported)
    finally:
        path.unlink()
        path.parent.rmdir()
        path.parent.with_name("kept").rename(path.parent)
        path.write_bytes(kept)


class Exponential(keras.layers.Layer):
    """Ops that ONNX has not."""

    def call(self, rows):
        return tf.linalg.expm(tf.cast(rows[:, :, :, 0], tf.float32))


def test_ops_that_onnx_has_not_are_refused(tmp_path, capfd):
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="pixels")
    with pytest.raises(UserError, match=r"pixels cannot be converted to ONNX \(.*; choose another trunk"):
        onnx.write_onnx(tmp_path, {"pixels": keras.Model(inputs, Exponential()(inputs))})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["tf2onnx", "onnxruntime"])
def test_a_missing_extra_is_told_before_the_work(audio_visual_run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs {package}, which is not installed; pip install 'tfssl\[onnx\]'"):
        export(audio_visual_run, tmp_path / "model", onnx=True)
    assert not (tmp_path / "model").exists()
