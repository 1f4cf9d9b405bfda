"""Boxes of YOLO, COCO and VOC as they are read, and wrong ones: one clear line each."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("keras_hub", reason="needs pip install '.[detection]'")
from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import detection
from tfssl.downstream.dense.boxes.anchors import Levels
from tfssl.downstream.dense.data import open_dense
from tfssl.downstream.dense.detection import Detection
from tfssl.runs.dense import Dense

rng = np.random.default_rng(0)
SIDE = (20, 40)
"""Height and width."""


def opened(data, **changes):
    settings = FinetuneSettings(run="", out="x", target="detection", verbose=0, **changes)
    return open_dense(Detection, data, settings)


def rows_of(parts):
    """Name of the picture -> its boxes that are any."""
    held = {}
    for part in (parts.train, parts.val, parts.test):
        if part is not None:
            for path, rows in zip(part.source.paths, part.answers, strict=True):
                held[Path(path).stem] = rows[rows[:, 5] > 0].tolist()
    return held


def pictures(folder, names="abcdef"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (*SIDE, 3), np.uint8)).save(folder / f"{name}.png")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def yolo(tmp_path):
    pictures(tmp_path / "images")
    for name in "abcde":
        write(tmp_path / "labels" / f"{name}.txt", "1 0.5 0.5 0.25 0.5\n")
    write(tmp_path / "labels" / "a.txt", "0 0.25 0.5 0.5 1\n\n1 .75 .25 0.1 0.2\n")
    write(tmp_path / "labels" / "b.txt", "")
    write(tmp_path / "data.yaml", "names:\n  0: cat\n  1: dog\n")
    return tmp_path


def test_yolo(yolo):
    parts = opened(yolo)
    assert parts.target.names == ("cat", "dog")
    found = rows_of(parts)
    np.testing.assert_allclose(found["a"], [[0, 0, 20, 20, 0, 1], [28, 3, 32, 7, 1, 1]], atol=1e-5)
    np.testing.assert_allclose(found["c"], [[15, 5, 25, 15, 1, 1]], atol=1e-5)
    assert found["b"] == found["f"] == []  # an empty file, and none: they show neither
    assert "2 pictures have no boxes" in parts.note
    write(yolo / "labels" / "z.txt", "0 0.5 0.5 0.5 0.5")
    assert "2 pictures have no boxes, 1 file of labels has no picture" in opened(yolo).note


def test_outlines_of_yolo(yolo):
    write(yolo / "labels" / "c.txt", "1 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n0 0.1 0.2 0.3 0.2 0.2 0.9\n")
    found = rows_of(opened(yolo))["c"]
    np.testing.assert_allclose(found, [[10, 5, 30, 15, 1, 1], [4, 4, 12, 18, 0, 1]], atol=1e-5)


def test_names_of_yolo(yolo):
    write(yolo / "data.yaml", "nc: 3\n")
    assert opened(yolo).target.names == ("0", "1", "2")
    (yolo / "data.yaml").unlink()
    assert opened(yolo).target.names == ("0", "1")
    write(yolo / "classes.txt", "cat\ndog\nowl\n")
    assert opened(yolo).target.names == ("cat", "dog", "owl")
    write(yolo / "data.yaml", "names: [cat, hound]\n")
    assert opened(yolo).target.names == ("cat", "hound")
    write(yolo / "data.yaml", "names: [cat, 'dog\n")
    with pytest.raises(UserError, match=r"data.yaml cannot be read \(.*expected YOLO's YAML"):
        opened(yolo)
    write(yolo / "data.yaml", "names:\n  cat: 0\n")
    with pytest.raises(UserError, match="has 'cat' where the number of a class is expected"):
        opened(yolo)


def test_parts_of_yolo(tmp_path):
    for part, names in (("train2017", "abcd"), ("val2017", "ef"), ("other", "g")):
        pictures(tmp_path / "images" / part, names)
        for name in names:
            write(tmp_path / "labels" / part / f"{name}.txt", "0 0.5 0.5 0.25 0.5\n")
    config = "path: .\ntrain: images/train2017\nval: {}\ntest: images/nowhere\nnames: [cat]\n"
    write(tmp_path / "config.yaml", config.format("images/val2017"))
    parts = opened(tmp_path)
    assert {Path(path).stem for path in parts.val.source.paths} == {"e", "f"}
    assert parts.train.count + parts.test.count == 4
    assert "has train/, val/; test divided off training" in parts.note
    assert "left out: 1 picture of no part" in parts.note
    write(tmp_path / "config.yaml", config.format("images/train2017"))  # the same pictures are no part of their own
    assert opened(tmp_path).val is None


def test_a_folder_a_part(tmp_path):
    for part, names in (("train", "abc"), ("val", "de"), ("test", "f")):
        pictures(tmp_path / part / "images", names)
        for name in names:
            write(tmp_path / part / "labels" / f"{name}.txt", "0 0.5 0.5 0.25 0.5\n")
    write(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [cat]\n")
    parts = opened(tmp_path)
    assert (parts.train.count, parts.val.count, parts.test.count) == (3, 2, 1)
    assert parts.target.names == ("cat",)
    (tmp_path / "val" / "labels").rename(tmp_path / "val" / "nothing")
    with pytest.raises(UserError, match=r"val has no boxes; expected images/ and labels/ \(YOLO\)"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2, which .*data.yaml does not name: it has 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1, expected a whole number from 0"),
        ("0 0.5 0.5 0 0.1", "the box is 0 pixels wide and 2 high, expected more than 0"),
        ("0 0.5 0.5 0.1 -0.1", "expected more than 0"),
        ("0 0.5 0.5 nan 0.1", "has a number that is nan or infinite"),
        ("0 0.9 0.5 0.4 0.1", "sticks out of its picture, 40 x 20 pixels, by 4.0 pixels"),
        ("0 15 5 4 4", "sticks out of its picture"),
        ("0 0.5 0.5 0.1", "4 numbers, expected 'class centre_x centre_y width height' a line"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 numbers, expected"),
        ("0 0.5 0.5 0.1 0.1 0.9 0.9 0.3", "8 numbers, expected"),
        ("0 0.5 0.5 0.5 0.9 0.5 0.1", "0 pixels wide"),
        ("cat 0.5 0.5 0.1 0.1", "'cat 0.5 0.5 0.1 0.1', expected"),
    ],
)
def test_wrong_lines_of_yolo(yolo, line, message):
    write(yolo / "labels" / "c.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(UserError, match=rf"c.txt, line 2: .*{message}"):
        opened(yolo)


def test_rounding_errors_are_cut_off(yolo):
    write(yolo / "labels" / "c.txt", "0 0.5 0.5 1.05 1.1\n")  # a pixel on each side
    np.testing.assert_allclose(rows_of(opened(yolo))["c"], [[0, 0, 40, 20, 0, 1]])


def test_no_boxes_at_all(yolo):
    for path in (yolo / "labels").iterdir():
        path.write_text("")
    with pytest.raises(UserError, match="has no boxes of its 6 pictures"):
        opened(yolo)
    with pytest.raises(UserError, match="has no boxes; expected images/ and labels/"):
        opened(yolo / "images")
    with pytest.raises(UserError, match="nowhere does not exist; expected a folder"):
        opened(yolo / "nowhere")


def coco(folder, **changes):
    pictures(folder)
    content = {
        "images": [{"id": 10 + number, "file_name": f"{name}.png"} for number, name in enumerate("abcde")],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [1, 2, 10, 4.5], "iscrowd": 0},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [0, 0, 40.6, 20], "iscrowd": 1},
            {"id": 3, "image_id": 12, "category_id": 3, "bbox": [5, 5, 5, 5]},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(content | changes))
    return folder


def test_coco(tmp_path):
    parts = opened(coco(tmp_path))
    assert parts.target.names == ("dog", "cat")
    found = rows_of(parts)
    assert sorted(found) == ["a", "b", "c", "d", "e"]  # f is not listed
    assert found["a"] == [[1, 2, 11, 6.5, 0, 1], [0, 0, 40, 20, 1, 3]]
    assert found["c"] == [[5, 5, 10, 10, 1, 1]]
    assert "3 pictures have no boxes, left out: 1 picture that instances.json does not list" in parts.note
    (tmp_path / "instances.json").rename(tmp_path / "own.json")
    assert rows_of(opened(tmp_path, labels=tmp_path / "own.json")) == found


def test_flat_boxes_of_coco_are_left_out_and_counted(tmp_path):
    """COCO's own file of 2017 has such ones."""
    flat = [
        {"id": n, "image_id": 10, "category_id": 3, "bbox": box} for n, box in enumerate([[9, 9, 1, 0], [9, 9, 0, 1]])
    ]
    annotations = [
        *flat,
        *({"id": 9, "image_id": number, "category_id": 3, "bbox": [5, 5, 5, 5]} for number in (10, 12)),
    ]
    parts = opened(coco(tmp_path, annotations=annotations))
    assert {name: len(rows) for name, rows in rows_of(parts).items()} == {"a": 1, "b": 0, "c": 1, "d": 0, "e": 0}
    assert "left out: 2 annotations without width or height" in parts.note


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"id": 5, "image_id": 10, "category_id": 1, "bbox": [0, 0, 9, 9]}]},
         "annotation 5: category 1, which categories do not name"),
        ({"annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9]}]},
         "annotation 5: image 1, which images do not list"),
        ({"annotations": [{"id": 5, "image_id": 10, "category_id": 3, "bbox": [0, 9, 9]}]},
         r"annotation 5: bbox \[0, 9, 9\], expected"),
        ({"annotations": [{"id": 5, "image_id": 10, "category_id": 3, "bbox": [0, 0, -1, 9]}]},
         "annotation 5: the box is -1 pixels wide"),
        ({"images": [{"id": 1, "file_name": "z.png"}]}, "names z.png, which is not in"),
        ({"categories": 3}, "has no list categories with id each; expected COCO's JSON"),
        ({"annotations": []}, "has no boxes of its 5 pictures"),
    ],
)  # fmt: skip
def test_wrong_coco(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        opened(coco(tmp_path, **changes))


def test_what_is_no_json(tmp_path):
    coco(tmp_path)
    (tmp_path / "instances.json").write_text("{")
    with pytest.raises(UserError, match=r"instances.json cannot be read \(.*expected COCO's JSON"):
        opened(tmp_path)


OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)


def voc(folder, **changes):
    pictures(folder / "JPEGImages")
    objects = {name: [("dog", 0, 3, 5, 12, 20)] for name in "abcdef"}
    objects |= {"a": [("dog", 1, 1, 1, 40, 20), ("cat", 0, 0, 1, 8, 8)], "b": []} | changes
    for name, rows in objects.items():
        text = "".join(OBJECT.format(*row) for row in rows)
        write(folder / "Annotations" / f"{name}.xml", f"<annotation>{text}</annotation>")
    return folder


def test_voc(tmp_path):
    parts = opened(voc(tmp_path))
    assert parts.target.names == ("cat", "dog")
    found = rows_of(parts)
    # Pixels from 1 on, the last one included; 0 is the rounding error of a pixel. What is difficult is left out.
    assert found["a"] == [[0, 0, 40, 20, 1, 2], [0, 0, 8, 8, 0, 1]]
    assert found["b"] == []
    assert found["c"] == [[2, 4, 12, 20, 1, 1]]


def test_parts_of_voc(tmp_path):
    voc(tmp_path)
    write(tmp_path / "ImageSets" / "Main" / "trainval.txt", "a\nb\nc\n")
    write(tmp_path / "ImageSets" / "Main" / "test.txt", "d\ne\n")
    parts = opened(tmp_path)
    assert (parts.train.count, parts.val, parts.test.count) == (3, None, 2)
    assert "left out: 1 picture without annotation or in no list" in parts.note
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "a\nb\n")
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "c\n")
    parts = opened(tmp_path)
    assert [each.count for each in (parts.train, parts.val, parts.test)] == [2, 1, 2]
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "z\n")
    with pytest.raises(UserError, match="ImageSets/Main names z, but JPEGImages/ has no such picture"):
        opened(tmp_path)


def test_wrong_voc(tmp_path):
    voc(tmp_path, c=[("cow", 0, 1, 1, 5, 5), ("dog", 0, 30, 1, 50, 9)])
    with pytest.raises(UserError, match=r"c.xml, object 2: the box sticks out .* by 10.0 pixels"):
        opened(tmp_path)
    voc(tmp_path, c=[("cow", 0, 1, 1, 5, 5)])
    write(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(UserError, match=r"object 1: class cow, which classes.txt does not name: it has cat, dog"):
        opened(tmp_path)
    voc(tmp_path, c=[("cat", 0, 1, "one", 5, 5)])
    with pytest.raises(UserError, match="object 1: the corners 1, one, 5, 5, expected numbers"):
        opened(tmp_path)
    write(tmp_path / "Annotations" / "c.xml", "<annotation><object><name>cat</name></object></annotation>")
    with pytest.raises(UserError, match="object 1: no name, or a corner is missing"):
        opened(tmp_path)
    write(tmp_path / "Annotations" / "c.xml", "<annotation>")
    with pytest.raises(UserError, match=r"c.xml cannot be read \(.*expected VOC's XML"):
        opened(tmp_path)
    (tmp_path / "Annotations" / "c.xml").rename(tmp_path / "Annotations" / "z.xml")
    with pytest.raises(UserError, match="Annotations/ has a file for z, but JPEGImages/ has no such picture"):
        opened(tmp_path)


def test_toy_scenes_have_boxes():
    parts = opened("toy:images(count=30, size=32)")
    every = np.concatenate([parts.train.answers, parts.test.answers]).reshape(-1, 6)
    real = every[every[:, 5] == 1]
    assert len(real) > 30
    assert (real[:, 2:4] > real[:, :2]).all()
    assert real[:, :4].min() >= 0
    assert real[:, :4].max() <= 32
    assert len(parts.target.names) == 10


def test_levels_of_trunks():
    resnet = Levels.of([("stage1", 32), ("stage2", 16), ("stage3", 8), ("stage4", 4)])
    assert resnet == Levels(("stage2", "stage3", "stage4"), (16, 8, 4))
    assert Levels.of([("a", 56), ("b", 28), ("c", 14), ("d", 7)]) == Levels(("b", "c", "d"), (28, 14, 7, 4))
    assert Levels.of([("a", 23), ("b", 11), ("c", 5), ("d", 5)]) == Levels(("a", "b", "d"), (20, 10, 5, 3))
    with pytest.raises(UserError, match="--stage b has 32 x 32 places, too fine for boxes"):
        Levels.of([("a", 64), ("b", 32)])
    with pytest.raises(UserError, match="have 2 x 2 places at most, too few to find boxes; give larger pictures"):
        Levels.of([("a", 2), ("b", 1)])


def test_what_is_not_installed(yolo, monkeypatch):
    monkeypatch.setitem(detection.NEEDED, "no_such_package", "pycocotools")
    with pytest.raises(UserError, match=r"--target detection needs pycocotools; pip install 'tfssl\[detection\]'"):
        opened(yolo)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"network.keras has a layer of KerasHub, which is not installed; pip install"):
        _ = Dense(yolo, {"target": "detection", "names": []}).network
