"""Wrong answers at places of the picture: one clear line each. And what is read of right ones."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfssl
from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import TARGETS
from tfssl.downstream.dense.data import open_dense
from tfssl.downstream.dense.normals import SCALE

rng = np.random.default_rng(0)


def opened(target, data, **changes):
    settings = FinetuneSettings(run="", out="x", target=target, verbose=0, **changes)
    return open_dense(TARGETS[target], data, settings)


def write(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)


def pictures(folder, count=5, sides=(20, 30)):
    for number in range(count):
        write(folder / f"{number}.png", rng.integers(0, 256, (*sides, 3), np.uint8))
    return folder


@pytest.fixture
def masked(tmp_path):
    pictures(tmp_path / "images")
    for number in range(5):
        write(tmp_path / "masks" / f"{number}.png", np.full((20, 30), number % 3, np.uint8))
    return tmp_path


def test_masks_are_grey_or_have_a_palette(masked):
    palette = Image.fromarray(np.full((20, 30), 4, np.uint8), "L").convert("P")
    palette.putpalette(rng.integers(0, 256, 768).tolist())
    palette.putdata([4, 255] * 300)
    palette.save(masked / "masks" / "1.png")
    parts = opened("segmentation", masked)
    assert parts.target.names == ("0", "1", "2", "3", "4")
    every = [tf.io.decode_png(each, 1).numpy() for part in (parts.train, parts.test) for each in part.answers]
    assert any(set(np.unique(mask)) == {4, 255} for mask in every)
    (masked / "classes.txt").write_text("sky\nground\ntree\ncar\nsea\nmoon\n")
    assert opened("segmentation", masked).target.names[-1] == "moon"


def test_wrong_masks(masked):
    write(masked / "masks" / "2.png", np.zeros((20, 31), np.uint8))
    with pytest.raises(UserError, match=r"2.png has 31 x 20 pixels, and its picture 2.png 30 x 20"):
        opened("segmentation", masked)
    write(masked / "masks" / "2.png", np.full((20, 30), 7, np.uint8))
    (masked / "classes.txt").write_text("sky\nground\n\ntree\n")
    with pytest.raises(UserError, match=r"2.png has the value 7, which classes.txt does not name: it has 3 classes"):
        opened("segmentation", masked)
    write(masked / "masks" / "2.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(UserError, match=r"2.png has colours \(RGB\), expected a PNG with the number of a class"):
        opened("segmentation", masked)
    (masked / "masks" / "2.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2.png cannot be read"):
        opened("segmentation", masked)
    (masked / "masks" / "2.png").unlink()
    with pytest.raises(UserError, match=r"2.png has no mask; expected .*2.png"):
        opened("segmentation", masked)
    with pytest.raises(UserError, match="has no images/ and masks/"):
        opened("segmentation", masked / "images")


@pytest.mark.parametrize("count", [1, 2])
def test_one_picture_in_all(tmp_path, count):
    pictures(tmp_path / "images", count)
    for number in range(count):
        write(tmp_path / "masks" / f"{number}.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(UserError, match=f"has {count} pictures? with 2 classes of pixels, too few .* give 3 or more"):
        opened("segmentation", tmp_path)


def joints(folder, order=("l_hand", "r_hand"), **changes):
    table = {f"{number}.png": [[3 + number, 4, 1], [9, 8, 1]] for number in range(5)} | changes
    (folder / "joints.json").write_text(json.dumps({"order": list(order), "joints": table}))


def test_joints_of_a_folder(tmp_path):
    joints(pictures(tmp_path), **{"1.png": [[1, 2, 0], None], "2.png": [[None, None, 1], [5, 6]]})
    parts = opened("keypoints", tmp_path, by_time=True)
    rows = np.concatenate([parts.train.answers, parts.test.answers])
    assert rows[:3].tolist() == [[[3, 4, 1], [9, 8, 1]], [[0, 0, 0]] * 2, [[0, 0, 0], [5, 6, 1]]]
    assert parts.target.partners == (1, 0)
    assert parts.test.source.paths == [str(tmp_path / "4.png")]


def test_wrong_joints(tmp_path):
    pictures(tmp_path)
    with pytest.raises(UserError, match=r"has no joints\.json; give the file"):
        opened("keypoints", tmp_path)
    wrong = [
        ({"3.png": [[1, 2, 1]]}, "3.png has 1 joints, expected 2"),
        ({"3.png": [[1, 2, 1], ["a", 2, 1]]}, "r_hand of 3.png is .*expected numbers"),
        ({"3.png": [[1, 2, 1], [1]]}, r"r_hand of 3.png is \[1\], expected \[x, y, visible\]"),
        ({"none.png": [[1, 2, 1]] * 2}, "names none.png, which is not in"),
        ({f"{number}.png": [None, None] for number in range(5)}, "has no joint that is known"),
    ]
    for changes, message in wrong:
        joints(tmp_path, **changes)
        with pytest.raises(UserError, match=message):
            opened("keypoints", tmp_path)
    for text in ("[1, 2]", "{", '{"a": 1}'):
        (tmp_path / "joints.json").write_text(text)
        with pytest.raises(UserError, match=r"joints.json (holds no joints|cannot be read)"):
            opened("keypoints", tmp_path)


def coco(**changes):
    people = [
        {"id": 1, "image_id": 7, "category_id": 1, "keypoints": [10, 8, 2, 20, 9, 1], "bbox": [8, 6, 14, 4]},
        {"id": 2, "image_id": 7, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0], "bbox": [0, 0, 4, 4]},
        {"id": 3, "image_id": 8, "category_id": 1, "keypoints": [0, 0, 0, 0, 0, 0], "bbox": [0, 0, 4, 4]},
        {"id": 4, "image_id": 8, "category_id": 1, "keypoints": [25, 15, 2, 28, 18, 2], "bbox": [24, 14, 5, 5]},
        {"id": 5, "image_id": 9, "category_id": 1, "keypoints": [9, 9, 2, 12, 12, 2], "bbox": [2, 2, 60, 60]},
    ]
    people[0] |= changes
    return {
        "images": [{"id": number, "file_name": f"{number - 7}.png"} for number in (7, 8, 9)],
        "categories": [{"id": 1, "name": "person", "keypoints": ["left_eye", "right_eye"]}],
        "annotations": people,
    }


def test_people_of_coco_are_cut_out(tmp_path):
    pictures(tmp_path / "images")
    table = tmp_path / "person.json"
    table.write_text(json.dumps(coco()))
    parts = opened("keypoints", tmp_path, labels=table)
    every = parts.train.source.regions.tolist() + parts.test.source.regions.tolist()
    # 1.25 times the longer side, around the middle of the box, moved inside: 18, 5, 6 pixels, and all that there is.
    expected = [[0, 6, 18, 18], [0, 0, 5, 5], [14, 24, 6, 6], [0, 10, 20, 20]]
    assert sorted(every) == sorted(expected)
    one, other = (set(part.source.paths) for part in (parts.train, parts.test))
    assert not one & other  # both people of a picture are in one part


def test_wrong_coco(tmp_path):
    pictures(tmp_path / "images")
    table = tmp_path / "person.json"
    for changes, message in (
        ({"category_id": 3}, "annotation 1 has the category 3, which categories do not name"),
        ({"keypoints": [1, 2, 2]}, "annotation 1 has 3 numbers of key points, expected 6"),
        ({"image_id": 1}, "annotation 1 is of image 1, which is not listed"),
    ):
        table.write_text(json.dumps(coco(**changes)))
        with pytest.raises(UserError, match=message):
            opened("keypoints", tmp_path, labels=table)


def depths(folder, sides=(20, 30)):
    for path in pictures(folder).glob("*.png"):
        write(path.with_name(f"{path.stem}_depth.png"), np.full(sides, 1000, np.uint16))
    return folder


def test_depth_beside_pictures_becomes_normals(tmp_path):
    parts = opened("normals", depths(tmp_path), intrinsics=(30, 30, 15, 10))
    assert parts.train.count + parts.test.count == 5
    pixels = tf.io.decode_png(parts.test.answers[0], 3, tf.uint16).numpy()
    facing = [SCALE + 1, SCALE + 1, 2 * SCALE + 1]  # a wall in front of the camera looks at it
    np.testing.assert_allclose(pixels[5:-5, 5:-5].reshape(-1, 3) - np.array(facing, float), 0, atol=2)


def test_wrong_depth_and_normals(tmp_path):
    depths(tmp_path / "depth")
    with pytest.raises(UserError, match=r"--intrinsics are not given; give FX,FY,CX,CY of the camera, for 30 x 20"):
        opened("normals", tmp_path / "depth")
    with pytest.raises(UserError, match=r"centre 30, 20, which is not inside of .* where they are for larger pictures"):
        opened("normals", tmp_path / "depth", intrinsics=(60, 60, 30, 20))
    (tmp_path / "depth" / "1_depth.png").unlink()
    with pytest.raises(UserError, match=r"1.png has no depth; expected"):
        opened("normals", tmp_path / "depth", intrinsics=(30, 30, 15, 10))
    depths(tmp_path / "other", (10, 15))
    with pytest.raises(UserError, match=r"_depth.png has 15 x 10 pixels, and its picture .* 30 x 20"):
        opened("normals", tmp_path / "other", intrinsics=(30, 30, 15, 10))
    pictures(tmp_path / "plain")
    with pytest.raises(UserError, match="has neither normals nor depth"):
        opened("normals", tmp_path / "plain")
    for path in pictures(tmp_path / "made" / "images").glob("*.png"):
        write(tmp_path / "made" / "normals" / path.name, np.full((20, 30, 3), 130, np.uint8))
    with pytest.raises(UserError, match="holds no normals: their length is not 1"):
        opened("normals", tmp_path / "made")


def test_by_time_the_last_ones_are_measured_on(tmp_path):
    parts = opened("normals", depths(pictures(tmp_path)), intrinsics=(30, 30, 15, 10), by_time=True)
    train, val = parts.train.divided(0)
    names = [[path[-5] for path in part.source.paths] for part in (train, val, parts.test)]
    assert names == [["0", "1", "2"], ["3"], ["4"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "boxes"}, "keypoints"),
        ({"target": "keypoints", "mixup": 0.2}, "--mixup is given, and is not for --target keypoints"),
        ({"target": "normals", "labels": "a.csv"}, "--labels is given, and is not for --target normals"),
        ({"target": "segmentation", "intrinsics": "1,2,3,4"}, "--intrinsics is given, and is not for --target seg"),
        ({"target": "normals", "intrinsics": "1,2,3"}, "--intrinsics 1,2,3 is given, expected FX,FY,CX,CY"),
        ({"by_time": True}, "--by-time is given, and --target classes"),
        ({"target": "segmentation", "labels_per_class": (2,)}, "--labels-per-class is given, and is not for"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        tfssl.finetune("nowhere", "toy:images", out=tmp_path / "out", **changes)


def test_data_of_other_kinds(tmp_path):
    expected = "expected a folder of pictures with their answers"
    for data, message in (("tfds:mnist", "tfds:mnist does not exist"), (np.zeros(3), "ndarray is given")):
        with pytest.raises(UserError, match=f"{message}; {expected}"):
            opened("normals", data)
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match=f"is a file; {expected}"):
        opened("normals", tmp_path / "a.txt")


def test_toy_worlds_without_answers():
    with pytest.raises(UserError, match="expected 'toy:images"):
        opened("normals", "toy:clips")
    with pytest.raises(UserError, match="has no person as a main object"):
        opened("keypoints", "toy:images(count=1)")
