"""Boxes from end to end: learned, chosen, measured, predicted, exported, drawn, refused."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.apply.dense_drawing import DRAW
from tfssl.apply.predict_dense import open_network
from tfssl.base.errors import UserError
from tfssl.cli.main import cli
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import TARGETS
from tfssl.downstream.dense.data import open_dense
from tfssl.export.checking.boxes import in_golden_order
from tfssl.export.checking.golden import Golden, as_objects, read_golden
from tfssl.export.checking.replay import compare
from tfssl.export.client.answers import Spec
from tfssl.export.client.rest import _from_json

TOY = "toy:images(count=60, size=32, start=5000)"
HOW = {"target": "detection", "steps": 2, "batch_size": 8, "learning_rates": (0.003,), "verbose": 0}


@pytest.fixture(scope="module")
def found(toy_run, made_once):
    """The folder of a network for boxes. Trains the head, and then all, two steps each: some 30 s."""
    return made_once("detection", lambda folder: tfssl.finetune(toy_run, TOY, out=folder, refit=False, **HOW))


@pytest.fixture(scope="module")
def parts():
    return open_dense(TARGETS["detection"], TOY, FinetuneSettings(run="", out="x", **HOW))


@pytest.fixture(scope="module")
def rows(found, parts, tmp_path_factory):
    """What the network finds in the test pictures, in pixels, by `predict`: picture -> rows of the table."""
    folder = tmp_path_factory.mktemp("boxes")
    (folder / "pictures").mkdir()
    for number, data in enumerate(parts.test.source.encoded):
        (folder / "pictures" / f"{number}.png").write_bytes(data)
    tfssl.predict(found, folder / "pictures", folder / "to", verbose=0)
    with open(folder / "to" / "boxes.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(list((folder / "to" / "drawn").iterdir())) == parts.test.count
    return {
        number: [row for row in table if row["path"].endswith(f"/{number}.png")] for number in range(parts.test.count)
    }


def corners(row):
    return [float(row[name]) for name in ("left", "top", "right", "bottom")]


@pytest.mark.slow
def test_the_figure_is_that_of_what_is_predicted(found, parts, rows):
    """AP50 of the first class that occurs, by a loop; things that are nearly hidden do not count."""
    result = json.loads((found / "result.json").read_text())
    figures = result["chosen"]["figures"]
    assert list(figures)[:3] == ["AP50", "AP", "AP75"]
    assert figures["AP50"] == result["chosen"]["score"]
    assert figures["AP50"] == pytest.approx(
        np.mean([value for name, value in figures.items() if name.startswith("AP50 of")])
    )
    name = next(each for each in figures if each.startswith("AP50 of")).removeprefix("AP50 of ")
    label, found_boxes = parts.target.names.index(name), []
    truth = {number: answer[answer[:, 4] == label] for number, answer in enumerate(parts.test.answers)}
    for number, own in rows.items():
        found_boxes += [(float(row["score"]), number, corners(row)) for row in own if row["label"] == name]
    right, used = [], set()
    for _, number, box in sorted(found_boxes, key=lambda each: -each[0]):
        best = None
        for place, other in enumerate(truth[number]):
            shared = np.prod(np.maximum(np.minimum(box[2:], other[2:4]) - np.maximum(box[:2], other[:2]), 0))
            sides = [np.prod(np.subtract(each[2:4], each[:2])) for each in (box, other)]
            overlap = shared / (sum(sides) - shared)
            rank = (other[5] == 1, overlap)
            if overlap >= 0.5 and (number, place) not in used and other[5] > 0 and (best is None or rank > best[0]):
                best = rank, place
        if best is None or best[0][0]:
            right.append(best is not None)
        if best is not None:
            used.add((number, best[1]))
    things = sum((answer[:, 5] == 1).sum() for answer in truth.values())
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    area = np.mean([precision[hits / things >= at].max(initial=0) for at in np.linspace(0, 1, 101)])
    assert figures[f"AP50 of {name}"] == pytest.approx(area, abs=2e-3)  # the table has four digits


@pytest.mark.slow
def test_validation_chose_and_the_frozen_head_is_a_candidate(found):
    chosen = json.loads((found / "chosen.json").read_text())
    assert list(chosen["candidates"]) == ["frozen head", "learning rate 0.003, weight decay 0.01"]
    assert chosen["validation"] == max(chosen["candidates"].values())
    record = json.loads((found / "finetune.json").read_text())
    assert record["target"] == "detection"


@pytest.mark.slow
def test_the_network_opens_without_this_package(found):
    """In a process of its own, which has KerasHub but not tfssl: some 6 s."""
    code = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1], compile=False);"
        "x = m(np.zeros((2, 32, 32, 3), np.uint8)).numpy(); assert x.shape == (2, 2016, 1, 14), x.shape;"
        "assert (x[..., 4:] > 0).all() and (x[..., 2:4] > 0).all(); assert 'tfssl' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(found / "network.keras")], cwd=found, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_page_shows_them(found):
    page = (found / "report.html").read_text(encoding="utf-8")
    for text in ("10 classes of boxes", "AP75", "frozen head", "as the network says"):
        assert text in page


@pytest.mark.slow
def test_the_export_suppresses_and_answers_in_pixels_of_the_picture(found, parts, rows, tmp_path):
    """Writes and loads an export, and a process without Keras and tfssl calls it: some 20 s."""
    exported = tfssl.export(found, tmp_path / "models")
    assert exported.signatures == ("serving_default", "pixels", "detect", "detect_pixels")
    loaded = tf.saved_model.load(str(exported.saved_model))
    image = parts.test.source.encoded[0]
    wide = tf.io.encode_png(tf.pad(tf.io.decode_png(image), [[0, 0], [10, 10], [0, 0]])).numpy()
    answers = loaded.signatures["detect"](image_bytes=tf.constant([image, b"", wide]))
    answers = {name: each.numpy() for name, each in answers.items()}
    assert {name: each.shape[1:] for name, each in answers.items()} == {
        "boxes": (100, 4), "labels": (100,), "scores": (100,), "count": (), "valid": ()
    }  # fmt: skip
    assert answers["valid"].tolist() == [True, False, True]
    count = len(rows[0])
    assert answers["count"].tolist() == [count, 0, count]
    np.testing.assert_allclose(answers["boxes"][0, :count], [corners(row) for row in rows[0]], atol=0.006)
    assert [each.decode() for each in answers["labels"][0, :count]] == [row["label"] for row in rows[0]]
    np.testing.assert_allclose(answers["boxes"][2, :count], answers["boxes"][0, :count] + [10, 0, 10, 0], atol=1e-3)
    assert not answers["boxes"][1].any()
    assert not answers["boxes"][:, count:].any()
    assert set(answers["labels"][:, count:].ravel()) <= {b""}
    pixels = loaded.signatures["detect_pixels"](pixels=tf.io.decode_png(image)[None])
    np.testing.assert_allclose(pixels["boxes"][0], answers["boxes"][0], atol=1e-3)
    assert all(each.ok for each in tfssl.check(tmp_path / "models").replays)
    again = open_network(tmp_path / "models")
    assert (again.target, again.names) == ("detection", parts.target.names)
    assert again.network(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 2016, 1, 14)
    code = (
        "import sys, tensorflow as tf; m = tf.saved_model.load(sys.argv[1]);"
        "x = m.signatures['detect'](image_bytes=tf.constant([open(sys.argv[2], 'rb').read()]));"
        f"assert int(x['count'][0]) == {count}; assert 'tfssl' not in sys.modules and 'keras_hub' not in sys.modules"
    )
    (tmp_path / "a.png").write_bytes(image)
    arguments = [sys.executable, "-c", code, str(exported.saved_model), str(tmp_path / "a.png")]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def boxes_of(*rows):
    """Answers of one picture: rows of (left, top, right, bottom, score, label)."""
    made = {"boxes": np.zeros((1, 5, 4), np.float32), "scores": np.zeros((1, 5), np.float32)}
    made |= {"labels": np.full((1, 5), b"", object), "count": np.array([len(rows)]), "valid": np.array([True])}
    for place, row in enumerate(rows):
        made["boxes"][0, place], made["scores"][0, place], made["labels"][0, place] = row[:4], row[4], row[5]
    return made


def test_labels_come_back_from_files_and_servers(tmp_path):
    labels = np.array([[b"cat", b"", b"a\0"], [b"", b"", b"dog"]], object)
    golden = Golden({"image_bytes": as_objects([b"x", b"yz"])}, {"detect": {"labels": labels}})
    golden.write(tmp_path / "golden.npz")
    again = read_golden(tmp_path / "golden.npz")
    assert again.answers["detect"]["labels"].tolist() == labels.tolist()
    assert again.inputs["image_bytes"].tolist() == [b"x", b"yz"]
    rows = [["cat", {"b64": "AA=="}], ["", "\u00e4"]]
    assert _from_json(rows, Spec("bytes", (None, 2))).tolist() == [[b"cat", b"\0"], [b"", "\u00e4".encode()]]
    assert _from_json(["a", "b"], Spec("bytes", (None,))).tolist() == [b"a", b"b"]
    assert _from_json([], Spec("bytes", (None, 3))).shape == (0, 3)


def test_rounding_may_change_the_order_of_boxes():
    one, other = (0, 0, 9, 9, 0.5, b"cat"), (5, 5, 20, 30, 0.5, b"dog")
    assert compare("detect", boxes_of(one, other), boxes_of(other, one)).ok
    assert not compare("detect", boxes_of(one, other), boxes_of(one)).ok
    assert not compare("detect", boxes_of(one, other), boxes_of(one, (*other[:5], b"cat"))).ok
    far = compare("detect", boxes_of(one, other), boxes_of(one, (5, 5, 20.1, 30, 0.5, b"dog")))
    assert far.difference == pytest.approx(0.1, rel=1e-4)
    assert not far.ok
    *_, wrong = in_golden_order(boxes_of(one, other), boxes_of(one, other))
    assert not wrong.any()


def test_the_commands_of_the_page_are_those_that_ran_here():
    """Their options are read as the command line reads them; what they do is tested above."""
    page = Path(__file__).parents[2] / "docs/dense.md"
    if not page.is_file():
        pytest.skip("needs a checkout")
    (block,) = re.findall(r"## Boxes\n+```\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.splitlines():
        _, name, *words = shlex.split(line)
        values = cli.commands[name].make_context(name, words).params
        assert (values.get("target") == "detection") == (name == "finetune")


@pytest.mark.slow
def test_called_again_it_reads_what_is_done_and_refuses_others(toy_run, found, tmp_path):
    with pytest.raises(UserError, match="other pictures or labels"):
        tfssl.finetune(toy_run, TOY.replace("60", "50"), out=found, refit=False, **HOW)
    with pytest.raises(UserError, match="--stage stage1 has 32 x 32 places, too fine for boxes"):
        tfssl.finetune(toy_run, TOY, out=tmp_path / "fine", stage="stage1", **HOW)
    assert not list(tmp_path.iterdir())


def test_a_picture_without_boxes_is_drawn_as_it_is():
    answers = boxes_of()
    black = np.zeros((40, 40, 3), np.uint8)
    np.testing.assert_array_equal(DRAW["detection"](black, {k: v[0] for k, v in answers.items()}, ()), black)
