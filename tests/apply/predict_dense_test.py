"""What `predict` writes of maps, by networks that need no training: each pixel tells its answer."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from tfssl.apply import predict_dense as predict_dense_module
from tfssl.apply.dense_drawing import bones_of, colours
from tfssl.apply.predict_dense import names_of, predict_dense
from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.dense import Dense

KERNEL = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
"""Red over green, green over blue, blue over red: of the largest of these the number is the answer."""


@pytest.fixture
def pictures(tmp_path):
    """Two photos, one wide and one high, of squares in one colour each, so that resizing is exact; and a broken one."""
    folder = tmp_path / "pictures"
    (folder / "a").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, sides in (("a/wide.png", (4, 6)), ("high.png", (8, 4))):
        blocks = rng.choice([40, 120, 200], (*sides, 3)).astype(np.uint8)
        Image.fromarray(blocks.repeat(16, 0).repeat(16, 1)).save(folder / name)
    data = (folder / "high.png").read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])
    return folder


def network_of(target, names=()):
    """Map of a 1 x 1 convolution with `KERNEL`."""
    pixels = keras.Input((64, 64, 3), dtype="uint8")
    convolution = keras.layers.Conv2D(3, 1, use_bias=False)
    made = convolution(keras.layers.Rescaling(1 / 255)(pixels))
    axis = (1, 2) if target == "keypoints" else -1
    last = keras.layers.UnitNormalization(axis=-1) if target == "normals" else keras.layers.Softmax(axis=axis)
    model = keras.Model(pixels, last(made))
    convolution.set_weights([KERNEL[None, None]])
    dense = Dense(None, {"target": target, "names": list(names), "size": 64})
    dense.__dict__["network"] = model
    return dense


def test_masks_have_the_size_of_their_pictures(pictures, tmp_path):
    to = tmp_path / "deep" / "to"
    found = predict_dense(network_of("segmentation", "abc"), pictures, to, 4, 1.0, 0)
    assert (found.count, list(found.broken)) == (2, [str(pictures / "broken.png")])
    assert {path.name for path in to.iterdir()} == {"drawn", "masks", "classes.csv"}
    for name, square in (("a/wide", np.s_[:, 16:80]), ("high", np.s_[32:96])):
        image = np.asarray(Image.open(pictures / f"{name}.png")).astype(float)
        mask = np.asarray(Image.open(to / "masks" / f"{name}.png"))
        assert mask.shape == image.shape[:2]
        expected = np.full(mask.shape, 255)
        expected[square] = (image[square] @ KERNEL).argmax(-1)
        top = np.sort(image @ KERNEL, -1)
        assert (mask == expected)[(top[..., 2] > top[..., 1]) | (expected == 255)].all()
        drawn = np.asarray(Image.open(to / "drawn" / f"{name}.png")).astype(float)
        assert drawn.shape == (256, 256, 3)
        number = mask[square][8, 8]
        np.testing.assert_allclose(drawn[30, 30], 0.45 * image[square][8, 8] + 0.55 * colours(3)[number], atol=1.5)
    with open(to / "classes.csv", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b", "c"]
    with pytest.raises(UserError, match="exists; choose another --to"):
        predict_dense(network_of("segmentation", "abc"), pictures, to, 4, 1.0, 0)
    with pytest.raises(UserError, match="written into a folder"):
        predict_dense(network_of("segmentation", "abc"), pictures, tmp_path / "a.csv", 4, 1.0, 0)


def test_normals_are_colours_and_black_outside(pictures, tmp_path):
    to = tmp_path / "to"
    (tmp_path / "to.parts" / "masks").mkdir(parents=True)  # of a call that was killed
    predict_dense(network_of("normals"), pictures, to, 1, 1.0, 0)
    assert {path.name for path in to.iterdir()} == {"drawn", "normals"}
    image = np.asarray(Image.open(pictures / "high.png")).astype(float)
    vectors = image @ KERNEL
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    expected = (vectors / np.maximum(length, 1e-9) + 1) * 127.5
    given = np.asarray(Image.open(to / "normals" / "high.png"))
    assert not given[:32].any()
    assert not given[96:].any()
    clear = length[32:96, :, 0] > 0
    np.testing.assert_allclose(given[32:96][clear], expected[32:96][clear], atol=1.5)


def test_interrupted_it_ends_with_the_same_files(tmp_path, monkeypatch, capsys):
    """Killed in the middle of the second part of three: what the first one has is not made again.

    Three calls, as many graphs.
    """
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        image = Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
        image.save(data / f"{number}.png")
    whole = (data / "1.png").read_bytes()
    (data / "1.png").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(predict_dense_module, "PART_BATCHES", 1)
    dense = network_of("keypoints", "abc")
    expected = predict_dense(dense, data, tmp_path / "whole", 2, 1.0, 0)
    kept = predict_dense_module._Writer.write
    written = []

    def stopped(writer, number, *what):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        kept(writer, number, *what)

    to = tmp_path / "to"
    with monkeypatch.context() as patch:
        patch.setattr(predict_dense_module._Writer, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            predict_dense(dense, data, to, 2, 1.0, 0)
    assert written == [0, 2]
    assert not to.exists()
    with pytest.raises(UserError, match="interrupted call with --batch-size 2, now 1 is given"):
        predict_dense(dense, data, to, 1, 1.0, 0)
    with pytest.raises(UserError, match="interrupted call with the encoder"):
        predict_dense(network_of("normals"), data, to, 2, 1.0, 0)
    written = [-1] * 3  # stops no more
    monkeypatch.setattr(predict_dense_module._Writer, "write", stopped)
    found = predict_dense(dense, data, to, 2, 1.0, 1)
    assert "resumed: 2 of 5 pictures are done already" in capsys.readouterr().err
    assert written[3:] == [2, 3, 4]
    assert (found.count, found.broken) == (expected.count, expected.broken) == (4, found.broken)
    assert list(found.broken) == [str(data / "1.png")]
    made = {path.relative_to(to) for path in to.rglob("*") if path.is_file()}
    assert made == {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert len(made) == 4 + 1
    for name in made:
        assert (to / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob("*.parts"))


def test_boxes_are_in_pixels_of_the_picture(pictures, tmp_path):
    """The network says the same of every picture: two boxes of a class that overlap, one of another, one unlikely."""
    said = np.array([
        [0.25, 0.5, 0.5, 0.25, 0.1, 0.9], [0.26, 0.5, 0.5, 0.25, 0.0, 0.8],
        [0.75, 0.75, 0.25, 0.5, 0.6, 0.0], [0.5, 0.5, 0.9, 0.9, 0.004, 0.002],
    ])  # fmt: skip
    pixels = keras.Input((64, 64, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(0.0)(pixels))
    made = keras.layers.Dense(24, bias_initializer=keras.initializers.Constant(said.ravel()))(pooled)
    dense = Dense(None, {"target": "detection", "names": ["cat", "dog"], "size": 64})
    dense.__dict__["network"] = keras.Model(pixels, keras.layers.Reshape((4, 1, 6))(made))
    predict_dense(dense, pictures, tmp_path / "to", 4, 1.0, 0)
    with open(tmp_path / "to" / "boxes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    own = [row for row in rows if row["path"].endswith("wide.png")]  # 96 x 64 pixels: the square begins at 16
    assert [(row["label"], row["score"]) for row in own] == [("dog", "0.9000"), ("cat", "0.6000"), ("cat", "0.1000")]
    corners = [[float(row[name]) for name in ("left", "top", "right", "bottom")] for row in own]
    np.testing.assert_allclose(corners[0], [16, 24, 48, 40], atol=0.01)
    np.testing.assert_allclose(corners[1], [16 + 40, 32, 16 + 56, 64], atol=0.01)
    high = next(row for row in rows if row["path"].endswith("high.png"))  # 64 x 128
    assert (float(high["left"]), float(high["top"])) == pytest.approx((0, 32 + 24), abs=0.01)
    drawn = np.asarray(Image.open(tmp_path / "to" / "drawn" / "a" / "wide.png")).astype(int)
    dog = colours(2)[1]
    assert np.abs(drawn[96:160, 127] - dog).max() <= 2  # the right side of the first box, at 255 / 2
    assert np.abs(drawn[200, 10] - dog).max() > 2
    predict_dense(dense, pictures, tmp_path / "alone.csv", 1, 1.0, 0)
    assert (tmp_path / "alone.csv").read_text() == (tmp_path / "to" / "boxes.csv").read_text()


def test_all_broken_is_one_line(pictures, tmp_path):
    for name in ("a/wide.png", "high.png"):
        (pictures / name).unlink()
    with pytest.raises(UserError, match=r"1 of 1 pictures .* cannot be read"):
        predict_dense(network_of("normals"), pictures, tmp_path / "to", 4, 1.0, 0)
    assert not (tmp_path / "to").exists()


def test_what_is_written_has_names_of_its_own(pictures):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(pictures / "high.bmp")
    source = open_source(pictures)
    names = names_of(source)
    assert len(set(names)) == source.count == 4
    assert {"a/wide", "broken"} < set(names)
    assert names_of(open_source("toy:images(count=3, size=16)")) == ["0", "1", "2"]


def test_bones_join_joints_by_their_names():
    names = ("r_ankle", "r_knee", "l_knee", "r_hip", "l_hip", "neck", "head")
    assert set(bones_of(names)) == {(0, 1), (1, 3), (2, 4), (4, 3), (5, 6)}
    assert bones_of(("nose", "tail")) == []
