"""What is known of places follows the picture: against index arithmetic in numpy, and against pictures that tell it."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense.data import open_dense
from tfssl.downstream.dense.detection import Detection
from tfssl.downstream.dense.keypoints import KeyPoints
from tfssl.downstream.dense.normals import Normals, encoded
from tfssl.downstream.dense.segmentation import Segmentation
from tfssl.pipelines.ops import annotations


def png(pixels):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def test_maps_are_cut_to_the_pixel_in_the_centre_of_each_place():
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 256, sides, np.uint8) for sides in ((20, 30), (40, 25))]
    boxes, mirrored = np.array([[3, 5, 12, 16], [0, 1, 24, 24]], np.int32), np.array([True, False])
    found = annotations.cut_maps(tf.constant([png(each) for each in maps]), boxes, mirrored, 8, 1, tf.uint8)
    for pixels, (top, left, height, width), flipped, cut in zip(maps, boxes, mirrored, found.numpy(), strict=True):
        for row in range(8):
            for column in range(8):
                across = 7 - column if flipped else column
                y, x = top + int((row + 0.5) * height / 8), left + int((across + 0.5) * width / 8)
                assert cut[row, column, 0] == pixels[y, x]


def test_joints_change_sides_in_a_mirror():
    points = np.array([[[10, 20, 1], [30, 20, 1], [5, 5, 1], [12, 12, 0]]] * 2, np.float32)
    box = np.array([[10, 8, 16, 16]] * 2)
    found = annotations.cut_points(points, box, np.array([False, True]), tf.constant([1, 0, 2, 3])).numpy()
    plain = [((10 - 8) / 16, (20 - 10) / 16, 1), ((30 - 8) / 16, (20 - 10) / 16, 0)]  # the second is outside
    np.testing.assert_allclose(found[0, :2], plain)
    assert found[0, 2:, 2].tolist() == [0, 0]  # outside, and not known
    np.testing.assert_allclose(found[1, 1], [1 - plain[0][0], plain[0][1], 1])
    assert found[1, 0, 2] == 0


def test_boxes_keep_their_visible_part():
    """By counting the pixels of each box that lie in the crop."""
    rng = np.random.default_rng(0)
    boxes = np.zeros((40, 5, 6), np.float32)
    low, sides = rng.integers(0, 40, (40, 5, 2)), rng.integers(1, 30, (40, 5, 2))
    boxes[..., :2], boxes[..., 2:4], boxes[..., 4] = low, low + sides, rng.integers(0, 9, (40, 5))
    boxes[..., 5] = rng.choice([0, 1, 1, 1, 1, 2, 3], (40, 5))
    crops = np.concatenate([rng.integers(0, 30, (40, 2)), np.full((40, 2), 32)], 1)
    mirrored = rng.random(40) < 0.5
    found = annotations.cut_boxes(tf.constant(boxes), tf.constant(crops), tf.constant(mirrored)).numpy()
    kinds = []
    for rows, (top, left, size, _), flipped, own in zip(boxes, crops, mirrored, found, strict=True):
        for (x0, y0, x1, y1, label, kind), moved in zip(rows, own, strict=True):
            whole = np.zeros((80, 80), bool)
            whole[int(y0) : int(y1), int(x0) : int(x1)] = True
            seen = whole[top : top + size, left : left + size]
            seen = seen[:, ::-1] if flipped else seen
            if not kind or not seen.any():
                assert not moved.any()
                continue
            y, x = np.nonzero(seen)
            expected = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            np.testing.assert_allclose(moved[:4] * size, expected, atol=1e-4)
            little = kind == 1 and seen.sum() < whole.sum() / 4
            assert moved[4:].tolist() == [label, 2 if little else kind]
            kinds.append((int(kind), int(moved[5])))
    assert set(kinds) == {(1, 1), (1, 2), (2, 2), (3, 3)}


def test_squares_lie_in_their_regions_and_come_from_the_seed():
    regions = np.array([[4, 6, 40, 40]] * 500)
    boxes = annotations.random_squares(tf.constant(regions), tf.constant([1, 2])).numpy()
    again = annotations.random_squares(tf.constant(regions), tf.constant([1, 2])).numpy()
    other = annotations.random_squares(tf.constant(regions), tf.constant([1, 3])).numpy()
    np.testing.assert_array_equal(boxes, again)
    assert (boxes != other).any(1).mean() > 0.9
    top, left, height, width = boxes.T
    assert (height == width).all()
    assert ((top >= 4) & (left >= 6) & (top + height <= 44) & (left + width <= 46)).all()
    area = height * width / 1600
    assert area.min() > 0.47
    assert area.max() == 1
    assert area.mean() == pytest.approx(0.75, abs=0.03)
    assert np.mean((top - 4) / np.maximum(40 - height, 1)) == pytest.approx(0.5, abs=0.06)


SIDE = 48
BOXES = [(4, 6, 20, 18), (30, 25, 46, 47)]
JOINTS = {"l_hand": (8, 20), "r_hand": (40, 22), "head": (24, 6)}


@pytest.fixture(scope="module")
def telling(tmp_path_factory):
    """Pictures whose red is 5 x and whose green is 5 y: each pixel tells where it was. And answers of all kinds."""
    folder = tmp_path_factory.mktemp("telling")
    y, x = np.indices((SIDE, SIDE))
    normals = np.stack([(x - 24) / 48, np.full(x.shape, 0.3), np.ones(x.shape)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    for name in ("images", "masks", "normals"):
        (folder / name).mkdir()
    for number in range(8):
        picture = np.stack([5 * x, 5 * y, np.full_like(x, number)], -1)  # equal ones would stay in one part
        (folder / "images" / f"{number}.png").write_bytes(png(picture.astype(np.uint8)))
        (folder / "masks" / f"{number}.png").write_bytes(png((x // 8 + 6 * (y // 24)).astype(np.uint8)))
        (folder / "normals" / f"{number}.png").write_bytes(encoded(normals, np.ones(x.shape, bool)))
    joints = {f"{number}.png": [[*place, 1] for place in JOINTS.values()] for number in range(8)}
    (folder / "joints.json").write_text(str({"order": list(JOINTS), "joints": joints}).replace("'", '"'))
    (folder / "labels").mkdir()
    shares = [((x0 + x1) / 96, (y0 + y1) / 96, (x1 - x0) / 48, (y1 - y0) / 48) for x0, y0, x1, y1 in BOXES]
    lines = "".join(f"{label} {' '.join(map(str, each))}\n" for label, each in enumerate(shares))
    for number in range(8):
        (folder / "labels" / f"{number}.txt").write_text(lines)
    return folder


def drawn(target, telling, **changes):
    """(pictures, answers) of 32 crops in tf.data, and whether each is mirrored, as its red tells."""
    settings = FinetuneSettings(run="", out="x", target=target.name, verbose=0, **changes)
    parts = open_dense(target, telling, settings)
    stream = parts.target.batches(parts.train, 32, 4, settings, 0, None)
    batches = [(inputs["pixels"].numpy(), answers["label"].numpy()) for inputs, answers, _ in stream.take(8)]
    images, answers = (np.concatenate(each) for each in zip(*batches, strict=True))
    places = images[..., :2].astype(float) / 5
    is_mirrored = places[:, 16, 0, 0] > places[:, 16, -1, 0]
    assert 6 < is_mirrored.sum() < 26
    return parts, places, answers, is_mirrored


def test_masks_follow_random_crops(telling):
    _, places, answers, _ = drawn(Segmentation, telling)
    x, y = places[..., 0], places[..., 1]
    clear = (np.abs((x + 0.5) % 8 - 4) < 3) & (np.abs((y + 0.5) % 24 - 12) < 11) & (x < 46)
    expected = np.floor((x + 0.5) / 8) + 6 * np.floor((y + 0.5) / 24)
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(answers[..., 0][clear], expected[clear])


def test_normals_follow_random_crops(telling):
    _, places, answers, is_mirrored = drawn(Normals, telling)
    x = (places[..., 0] - 24) / 48
    x[is_mirrored] *= -1
    expected = np.stack([x, np.full(x.shape, 0.3), np.ones(x.shape)], -1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    assert (answers[..., 3] == 1).all()
    np.testing.assert_allclose(answers[..., :3], expected, atol=0.02)


def test_joints_follow_random_crops(telling):
    parts, places, answers, is_mirrored = drawn(KeyPoints, telling)
    assert parts.target.partners == (1, 0, 2)
    checked = 0
    for picture, joints, mirrored in zip(places, answers[:, :, 0], is_mirrored, strict=True):
        for number, (x, y, known, length, _) in enumerate(joints):
            own = parts.target.partners[number] if mirrored else number
            if known:
                seen = picture[min(int(y * 32), 31), min(int(x * 32), 31)]
                np.testing.assert_allclose(seen, list(JOINTS.values())[own], atol=1.2)
                checked += 1
            side = np.ptp(picture[16, :, 0]) / 31 * 32
            # No shoulder and hip: the longer side of the box around all joints, of this crop's side.
            assert length == pytest.approx(32 / side, rel=0.06)
    assert checked > 50


def test_boxes_follow_random_crops(telling):
    """Each crop tells by its colours which pixels of a box it shows."""
    _, places, answers, _ = drawn(Detection, telling)
    kinds = []
    for picture, rows in zip(places, answers[:, :, 0], strict=True):
        x, y = picture[..., 0] + 0.5, picture[..., 1] + 0.5
        for (x0, y0, x1, y1), (left, top, right, bottom, label, kind) in zip(BOXES, rows, strict=False):
            rows_in, columns_in = np.nonzero((x > x0) & (x < x1) & (y > y0) & (y < y1))
            kinds.append(kind)
            if kind:
                seen = [columns_in.min(), rows_in.min(), columns_in.max() + 1, rows_in.max() + 1]
                np.testing.assert_allclose(np.array([left, top, right, bottom]) * 32, seen, atol=1.5)
                assert label == BOXES.index((x0, y0, x1, y1))
            else:
                assert len(rows_in) < 40  # blended with what lies around
        assert not rows[2].any()
    assert np.mean(np.array(kinds) == 1) > 0.7


def test_without_crop_and_flip_it_is_the_picture(telling):
    settings = FinetuneSettings(run="", out="x", target="segmentation", crop=False, flip=False, verbose=0)
    parts = open_dense(Segmentation, telling, settings)
    (inputs, answers, _), *_ = parts.target.batches(parts.train, SIDE, 4, settings, 0, None).take(1)
    y, x = np.indices((SIDE, SIDE))
    np.testing.assert_array_equal(inputs["pixels"][0, ..., 0], 5 * x)
    np.testing.assert_array_equal(answers["label"][0, ..., 0], x // 8 + 6 * (y // 24))
