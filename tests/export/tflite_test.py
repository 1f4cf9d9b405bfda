"""TFLite files: the same embeddings as TensorFlow, for picture and sound, and what they cost."""

import json
import os
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.tiny_models import unmeasured
from tfssl.base.errors import UserError
from tfssl.export.checking.check import check
from tfssl.export.checking.golden import read_golden
from tfssl.export.checking.replay import cosines
from tfssl.export.formats import tflite
from tfssl.export.quietly import quietly
from tfssl.export.saved_model import export

pytest.importorskip("ai_edge_litert")
pytest.importorskip("ai_edge_quantizer")

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def exported(audio_visual_run, tmp_path_factory):
    """An encoder of picture and of sound, with all kinds of files."""
    folder = tmp_path_factory.mktemp("devices")
    done = export(audio_visual_run, unmeasured(folder / "model"), tflite="float32, float16,int8")
    return folder, done


def test_there_is_a_file_for_each_modality_and_precision(exported):
    folder, done = exported
    expected = {f"{kind}_{precision}.tflite" for kind in ("pixels", "waveform") for precision in tflite.PRECISIONS}
    assert set(done.tflite) == expected
    assert {path.name for path in (folder / "model" / "1" / "tflite").iterdir()} == expected | {"files.json"}
    facts = tflite.tflite_files(folder / "model" / "1")["pixels_int8.tflite"]
    assert facts["input"] == {"name": "pixels", "shape": [None, 32, 32, 3], "dtype": "uint8", "range": [0, 255]}
    assert (facts["layer"], facts["size"]) == ("stage4", 32)
    assert facts["bytes"] == (folder / "model" / "1" / "tflite" / "pixels_int8.tflite").stat().st_size


@pytest.mark.parametrize("kind", ["pixels", "waveform"])
def test_float32_is_the_saved_model(exported, kind):
    folder, _ = exported
    version = folder / "model" / "1"
    rng = np.random.default_rng(0)
    rows = {
        "pixels": rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8),
        "waveform": rng.normal(0, 0.1, (5, 8000)).astype("f4"),
    }[kind]
    expected = tf.saved_model.load(str(version)).signatures[kind](**{kind: tf.constant(rows)})["embedding"].numpy()
    encoder = tflite.TFLiteEncoder(version / "tflite" / f"{kind}_float32.tflite")
    np.testing.assert_allclose(encoder(rows), expected, atol=1e-3)
    np.testing.assert_allclose(encoder(rows[:1]), expected[:1], atol=1e-3)  # another count of rows
    half = tflite.TFLiteEncoder(version / "tflite" / f"{kind}_float16.tflite", threads=2)(rows)
    assert 0 < np.abs(half - expected).max() < 0.05 * np.abs(expected).max()


def test_check_replays_every_file_and_finds_a_wrong_one(exported):
    folder, _ = exported
    found = check(folder / "model")
    assert found.ok
    replays = {one.name: one for one in found.replays}
    signatures = {"serving_default", "pixels", "waveform"}
    assert set(replays) == signatures | set(tflite.tflite_files(folder / "model" / "1"))
    assert replays["pixels_int8.tflite"].tolerance is None
    assert (replays["pixels_float32.tflite"].rows, replays["pixels_int8.tflite"].rows) == (12, 11)  # one is no picture
    json.dumps(found.as_json())
    path = folder / "model" / "1" / "assets.extra" / "golden.npz"
    kept, golden = path.read_bytes(), read_golden(path)
    try:
        embedding = golden.answers["waveform"]["embedding"]
        embedding[...] = embedding[::-1].copy()
        golden.write(path)
        wrong = check(folder / "model")
        assert not wrong.ok
        assert {one.name for one in wrong.replays if not one.ok} >= {"waveform", "waveform_float32.tflite"}
        assert "DOES NOT PASS" in str(wrong)
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize("kind", ["pixels", "waveform"])
def test_int8_points_where_float_does(exported, kind):
    """Sound too: with int8 in its front end the cosine of some windows was 0.3."""
    folder, _ = exported
    golden = read_golden(folder / "model" / "1" / "assets.extra" / "golden.npz")
    found = tflite.TFLiteEncoder(folder / "model" / "1" / "tflite" / f"{kind}_int8.tflite")(golden.inputs[kind])
    assert cosines(found, golden.answers[kind]["embedding"]).min() > 0.99


def test_the_table_has_size_speed_and_accuracy(exported):
    folder, _ = exported
    table = tfssl.bench_devices(folder / "model", "toy:images(count=80, size=32)", passes=2)
    rows = {file.name: file for file in table.files}
    assert rows["SavedModel"].cosine == pytest.approx(1, abs=1e-5)
    assert rows["pixels_float32.tflite"].cosine == pytest.approx(1, abs=1e-4)
    assert rows["pixels_float32.tflite"].knn == pytest.approx(rows["SavedModel"].knn, abs=0.06)
    assert rows["waveform_int8.tflite"].linear is None
    assert rows["pixels_int8.tflite"].milliseconds.keys() == {1, 2}
    assert rows["pixels_int8.tflite"].bytes < rows["pixels_float32.tflite"].bytes
    assert "pixels_int8.tflite" in str(table)


def test_files_of_sound_are_probed_on_sounds(exported, audio_visual_run, tmp_path):
    from tests.pipelines.recordings_test import tone, write

    for number in range(10):
        place = tmp_path / "sounds" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        write(place / f"{number}.wav", sounds=[tone(1.1, 200 + 150 * number)])
    folder, _ = exported
    table = tfssl.bench_devices(folder / "model", tmp_path / "sounds", passes=1)
    run = shutil.copytree(audio_visual_run.folder, tmp_path / "run")
    measured = tfssl.evaluate_sound(run, tmp_path / "sounds", verbose=0).trained
    served, *files = table.files
    knn, linear = ([*measured[protocol].values()][-1].mean for protocol in ("knn(neighbours=10)", "linear"))
    assert (served.knn, served.linear) == (knn, linear)
    assert (table.train, table.folds) == (10, 5)
    assert "10 sounds over 5 folds" in str(table)
    for file in files:
        heard = file.name.startswith("waveform")
        assert (file.linear is not None) == (file.knn is not None) == heard
        assert file.cosine > 0.9
    with pytest.raises(UserError, match="is no folder of sounds"):
        tfssl.bench_devices(folder / "model", "toy:images(count=20)", folds="^(.)")
    with pytest.raises(UserError, match=r"--groups '\^\(\.\)' is given, but toy:images"):
        tfssl.bench_devices(folder / "model", "toy:images(count=20)", groups="^(.)")


class Exponential(keras.layers.Layer):
    """An op that TFLite has not built in."""

    def call(self, rows):
        return tf.linalg.expm(tf.cast(rows[:, :, :, 0], tf.float32))


def test_ops_that_are_not_built_in_are_refused(tmp_path):
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="pixels")
    model = keras.Model(inputs, Exponential()(inputs))
    with pytest.raises(UserError, match="cannot be converted to TFLite of float32 with built-in ops only"):
        tflite.write_tflite(tmp_path, {"pixels": model}, ["float32"], None, {})


def test_a_trunk_of_select_ops_is_told_and_nothing_is_written(toy_run, tmp_path, monkeypatch):
    """A whole export, with an encoder of an op that TFLite has not: the SavedModel can be written, its file not."""
    inputs = keras.Input((32, 32, 3), dtype="uint8", name="pixels")
    pooled = keras.layers.GlobalAveragePooling1D()(Exponential()(inputs))
    encoder = keras.Model(inputs, pooled)
    monkeypatch.setattr(type(toy_run), "encoder", lambda self, stage=None, pool=1: encoder)
    with pytest.raises(UserError, match=r"pixels cannot be converted to TFLite of float32 .*; choose another trunk"):
        export(toy_run, tmp_path / "model", tflite="float32")
    assert not list(tmp_path.iterdir())


def test_int8_without_its_extra_is_told_before_the_work(toy_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(UserError, match=r"int8 needs ai-edge-quantizer, .*; pip install 'tfssl\[devices\]'"):
        export(toy_run, tmp_path / "model", tflite="int8")
    assert not (tmp_path / "model").exists()


def test_wrong_input_is_told_and_nothing_is_written(audio_visual_run, toy_export, tmp_path):
    with pytest.raises(UserError, match="--tflite int4 is given"):
        export(audio_visual_run, tmp_path / "model", tflite="int8,int4")
    assert not (tmp_path / "model").exists()
    assert [one.name for one in check(toy_export).replays] == ["serving_default", "pixels", "predict_rotation"]
    with pytest.raises(UserError, match="has no TFLite files"):
        tfssl.bench_devices(toy_export, "toy:images(count=20)")


def test_converters_are_heard_neither_from_native_code_nor_from_python(capfd):
    with quietly():
        os.write(2, b"native code\n")
        print("a progress bar", file=sys.stderr)
        print("a line")
    print("afterwards", file=sys.stderr)
    assert capfd.readouterr() == ("", "afterwards\n")
