"""Key points from end to end: learned, chosen, resumed, measured, predicted, drawn, exported, refused."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfssl
from tfssl.apply.predict_dense import open_network
from tfssl.base.errors import UserError
from tfssl.cli.main import cli
from tfssl.downstream import candidates
from tfssl.downstream.choosing import choose
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import TARGETS
from tfssl.downstream.dense.data import open_dense
from tfssl.downstream.dense.keypoints import reference_lengths
from tfssl.downstream.starts import open_start
from tfssl.downstream.target import Job
from tfssl.export.checking.replay import compare
from tfssl.runs.dense import load_dense
from tfssl.training import callbacks

TOY = "toy:images(count=200, size=32, start=5000)"
HOW = {"target": "keypoints", "steps": 4, "batch_size": 8, "learning_rates": (0.003,), "verbose": 0}


@pytest.fixture(scope="module")
def found(toy_run, made_once):
    """The folder of a network for key points. Trains the head, and then all, four steps each: some 20 s."""
    return made_once("dense", lambda folder: tfssl.finetune(toy_run, TOY, out=folder, refit=False, **HOW))


@pytest.fixture(scope="module")
def parts():
    return open_dense(TARGETS["keypoints"], TOY, FinetuneSettings(run="", out="x", **HOW))


@pytest.fixture(scope="module")
def predicted(found, parts, tmp_path_factory):
    """A folder with the test pictures, and in `to` what `predict` makes of them, whole."""
    folder = tmp_path_factory.mktemp("dense")
    (folder / "pictures").mkdir()
    for number, data in enumerate(parts.test.source.encoded):
        (folder / "pictures" / f"{number}.png").write_bytes(data)
    tfssl.predict(found, folder / "pictures", folder / "to", verbose=0)
    return folder


@pytest.fixture(scope="module")
def joints(predicted, parts):
    """What the network finds in the test pictures, in pixels, by `predict` on whole pictures."""
    files = [f"{number}.png" for number in range(parts.test.count)]
    with open(predicted / "to" / "keypoints.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    places = {(row["path"], row["joint"]): (float(row["x"]), float(row["y"])) for row in rows}
    names = parts.target.names
    return np.array([[places[str(predicted / "pictures" / name), joint] for joint in names] for name in files])


@pytest.mark.slow
def test_the_figure_is_that_of_what_is_predicted(found, parts, joints):
    result = json.loads((found / "result.json").read_text())
    truth = parts.test.answers
    known = truth[..., 2] > 0
    away = np.linalg.norm(joints - truth[..., :2], axis=-1) / reference_lengths(truth, parts.target.names)[:, None]
    right = (away <= 0.2)[known]
    assert result["chosen"]["score"] == pytest.approx(right.mean(), abs=1.01 / known.sum())  # at the threshold itself
    assert result["chosen"]["curve"][4] == [0.2, result["chosen"]["score"]]
    assert result["target"] == "keypoints"
    assert result["rows"][0]["score"]["low"] <= result["chosen"]["score"] <= result["rows"][0]["score"]["high"]


@pytest.mark.slow
def test_validation_chose_and_the_frozen_head_is_a_candidate(found):
    chosen = json.loads((found / "chosen.json").read_text())
    assert list(chosen["candidates"]) == ["frozen head", "learning rate 0.003, weight decay 0.01"]
    assert chosen["validation"] == max(chosen["candidates"].values())
    lines = (found / "candidates" / "frozen-head" / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert chosen["candidates"]["frozen head"] == max(json.loads(line)["score"] for line in lines)


@pytest.mark.slow
def test_the_network_is_of_stock_layers_and_its_heat_maps_are_shares(found):
    model = keras.models.load_model(found / "network.keras", compile=False)
    assert {type(layer).__module__.partition(".")[0] for layer in model._flatten_layers()} <= {"keras", "tfssl"}
    heat = model(np.zeros((2, 32, 32, 3), np.uint8)).numpy()
    assert heat.shape == (2, 32, 32, 6)
    np.testing.assert_allclose(heat.sum((1, 2)), 1, rtol=1e-4)


@pytest.mark.slow
def test_what_is_drawn_is_the_picture_with_joints(predicted, joints):
    drawn = np.asarray(Image.open(predicted / "to" / "drawn" / "0.png")).astype(int)
    plain = Image.open(predicted / "pictures" / "0.png").resize((256, 256), Image.Resampling.BILINEAR)
    differ = np.abs(drawn - np.asarray(plain).astype(int)).sum(-1) > 60
    assert 0.001 < differ.mean() < 0.4
    for x, y in joints[0] * 8:
        assert differ[max(0, int(y) - 5) : int(y) + 5, max(0, int(x) - 5) : int(x) + 5].any()


@pytest.mark.slow
def test_the_page_shows_them(found):
    page = (found / "report.html").read_text(encoding="utf-8")
    for text in ("6 joints", "PCK@0.2 of left hand", "frozen head", "found within a distance"):
        assert text in page


@pytest.mark.slow
def test_a_head_that_was_interrupted_ends_with_the_same_bits(toy_run, parts, found, tmp_path, monkeypatch):
    """Trains the head of the network above once more, killed after three of four steps: some 12 s."""
    settings = FinetuneSettings(run="", out=tmp_path, checkpoint_every=2, **HOW)
    train, val = parts.train.divided(0)
    job = Job(folder=tmp_path, start=open_start(toy_run, None, None, None), random=False, only_probe=True, train=train,
              val=val, test=parts.test, whole=None, target=parts.target)  # fmt: skip
    plain = callbacks.StopWhenNotFinite.on_train_batch_end

    def fail(self, batch, logs=None):
        plain(self, batch, logs)
        if self._steps.done == 3:
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopWhenNotFinite, "on_train_batch_end", fail)
        with pytest.raises(RuntimeError, match="plug"):
            choose(job, settings)
    chosen = choose(job, settings)
    name = "candidates/frozen-head/validation.jsonl"
    assert (tmp_path / name).read_text() == (found / name).read_text()
    assert (
        chosen.candidates["frozen head"] == json.loads((found / "chosen.json").read_text())["candidates"]["frozen head"]
    )


@pytest.mark.slow
def test_called_again_it_reads_what_is_done_and_refuses_others(toy_run, found, tmp_path, monkeypatch):
    out = shutil.copytree(found, tmp_path / "copy")
    monkeypatch.setattr(candidates, "_fit", lambda *_: pytest.fail("it learns again"))
    result = tfssl.finetune(toy_run, TOY, out=out, refit=False, report=False, **HOW)
    assert result.as_json() | {"folder": ""} == json.loads((found / "result.json").read_text()) | {"folder": ""}
    assert "Fine-tuning has a PCK@0.2 of" in str(result)
    with pytest.raises(UserError, match="other pictures or labels"):
        tfssl.finetune(toy_run, TOY.replace("200", "150"), out=out, refit=False, **HOW)
    with pytest.raises(UserError, match="target 'keypoints', now 'normals' is given"):
        tfssl.finetune(toy_run, TOY, out=out, refit=False, **HOW | {"target": "normals"})


@pytest.mark.slow
def test_the_export_answers_in_pixels_of_the_picture(found, parts, joints, tmp_path):
    """Writes and loads an export: some 10 s."""
    exported = tfssl.export(found, tmp_path / "models")
    assert exported.signatures == ("serving_default", "pixels", "keypoints", "keypoints_pixels")
    loaded = tf.saved_model.load(str(exported.saved_model))
    rows = [parts.test.source.encoded[0], b"no picture", _wide(parts.test.source.encoded[0])]
    answers = loaded.signatures["keypoints"](image_bytes=tf.constant(rows))
    assert answers["valid"].numpy().tolist() == [True, False, True]
    np.testing.assert_allclose(answers["joints"][0], joints[0], atol=0.01)
    assert (answers["joints"][1].numpy() == 0).all()
    np.testing.assert_allclose(answers["joints"][2], joints[0] + [10, 0], atol=0.01)
    assert (exported.saved_model / "assets.extra" / "classes.txt").read_text().splitlines() == list(parts.target.names)
    again = open_network(tmp_path / "models")
    assert (again.target, again.names, again.size) == ("keypoints", parts.target.names, 32)
    pixels = np.stack([tf.io.decode_png(each) for each in parts.test.source.encoded])
    np.testing.assert_allclose(again.network(pixels), load_dense(found).network(pixels), atol=1e-5)


def test_of_a_map_of_classes_a_thousandth_may_differ():
    """Where two classes of a pixel are level, rounding decides."""
    maps = np.zeros((2, 40, 50), np.int32)
    other = maps.copy()
    other[0, 0, :2] = other[1, 0, :3] = 1
    assert compare("segment", {"class_map": maps}, {"class_map": maps}).ok
    assert compare("segment", {"class_map": maps}, {"class_map": other}).wrong == 1
    assert compare("label", {"label": maps[:, 0, 0]}, {"label": other[:, 0, 0]}).wrong == 2


def _wide(encoded):
    """The picture with ten columns of black on either side."""
    pixels = tf.io.decode_png(encoded)
    return tf.io.encode_png(tf.pad(pixels, [[0, 0], [10, 10], [0, 0]])).numpy()


def test_the_commands_of_the_page_are_those_that_ran_here():
    """Their options are read as the command line reads them; what they do is tested above."""
    page = Path(__file__).parents[2] / "docs/dense.md"
    if not page.is_file():
        pytest.skip("needs a checkout")
    block, *_ = re.findall(r"```\n(.*?)```", page.read_text(), re.DOTALL)
    given = {}
    for line in block.splitlines():
        _, name, *words = shlex.split(line)
        values = cli.commands[name].make_context(name, words).params
        values.pop("as_json")
        off = [key for key in values if key not in cli.commands[name].settings.model_fields]
        given[name] = cli.commands[name].settings(**{key: values[key] for key in values if key not in off})
    assert (given["finetune"].target, given["finetune"].beside) == ("keypoints", ("frozen", "random"))
    assert str(given["finetune"].out) == given["predict"].model == given["export"].run
    assert given["predict"].to.suffix == ""


@pytest.mark.slow
def test_what_does_not_fit_is_one_line(found, predicted, tmp_path):
    folder = predicted / "pictures"
    for to, message in (
        ("a.parquet", "is written into a folder, or FILE.csv"),
        (folder, "exists; choose"),
    ):
        with pytest.raises(UserError, match=message):
            tfssl.predict(found, folder, tmp_path / to, verbose=0)
    with pytest.raises(UserError, match="--unsure is given, and is for classifiers"):
        tfssl.predict(found, folder, tmp_path / "to", unsure=True)
    with pytest.raises(UserError, match=r"--tflite is given, but .* is a network for keypoints"):
        tfssl.export(found, tmp_path / "models", tflite="float32")
    with pytest.raises(UserError, match="expected pictures"):
        tfssl.predict(found, "toy:clips(count=2, size=16)", tmp_path / "to", verbose=0)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(found / "finetune.json", unfinished)
    with pytest.raises(UserError, match="has not ended; resume it"):
        load_dense(unfinished)
