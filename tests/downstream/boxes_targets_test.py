"""Boxes: matched, lost, chosen and measured, against numpy and pycocotools."""

import contextlib
import io
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

pytest.importorskip("keras_hub", reason="needs pip install '.[detection]'")
pytest.importorskip("pycocotools", reason="needs pip install '.[detection]'")
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tfssl.downstream.dense import network
from tfssl.downstream.dense.boxes import anchors
from tfssl.downstream.dense.boxes.anchors import Levels
from tfssl.downstream.dense.detection import Detection
from tfssl.export.signatures import dense
from tfssl.models.trunks import make_trunk

rng = np.random.default_rng(0)
LEVELS = Levels(("stage2", "stage3", "stage4"), (16, 8, 4))
TARGET = Detection(names=("a", "b", "c"), most=4, levels=LEVELS)


def random_boxes(count, largest=0.6):
    low = rng.uniform(0, 1 - largest, (count, 2))
    return np.concatenate([low, low + rng.uniform(0.05, largest, (count, 2))], 1)


def ious(one, other):
    """Intersection over union of boxes [A, 4] and [B, 4]."""
    low, high = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    areas = [np.prod(each[:, 2:] - each[:, :2], -1) for each in (one, other)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def answers_of(boxes, classes, kinds, most=4):
    rows = np.zeros((1, most + 1, 1, 6), np.float32)
    rows[0, : len(boxes), 0] = np.concatenate([boxes, np.array(classes)[:, None], np.array(kinds)[:, None]], 1)
    return rows


def test_anchors_lie_around_the_places_of_each_level():
    laid, first = anchors.anchors_of(LEVELS), 0
    for side, in_pixels in zip(LEVELS.sides, (8, 16, 32), strict=True):
        own = laid[first : first + side * side * 6].reshape(side, side, 6, 4)
        middle = (np.arange(side) + 0.5) / side
        np.testing.assert_allclose((own[..., 0] + own[..., 2]) / 2, np.broadcast_to(middle[:, None], own.shape[:3]))
        np.testing.assert_allclose(
            (own[..., 1] + own[..., 3]) / 2, np.broadcast_to(middle[:, None, None], own.shape[:3])
        )
        areas = np.sqrt(np.prod(own[0, 0, :, 2:] - own[0, 0, :, :2], 1)) * 128 / in_pixels
        np.testing.assert_allclose(areas, [2.5, 2.5 * 2**0.5] * 3, rtol=0.12)  # KerasHub's have whole pixels
        shapes = (own[0, 0, :, 3] - own[0, 0, :, 1]) / (own[0, 0, :, 2] - own[0, 0, :, 0])
        np.testing.assert_allclose(shapes, np.repeat([0.5, 1, 2], 2), rtol=0.15)
        first += side * side * 6
    assert first == len(laid)


def test_anchors_are_matched_by_overlap_and_each_box_has_one():
    boxes = np.array([[0.1, 0.1, 0.5, 0.4], [0.6, 0.62, 0.64, 0.65], [0.0, 0.5, 0.5, 1.0], [0.7, 0.1, 0.9, 0.3]])
    answers = answers_of(boxes, [2, 1, 0, 1], [1, 1, 3, 2])
    offsets, classes = (each.numpy()[0] for each in anchors.matched(tf.constant(answers[:, :, 0]), LEVELS))
    laid = anchors.anchors_of(LEVELS)
    overlap = ious(laid, boxes[:2])
    expected = np.where(overlap.max(1) >= 0.5, overlap.argmax(1) + 1, np.where(overlap.max(1) < 0.4, 0, -1))
    expected[overlap.argmax(0)] = [1, 2]  # the second is smaller than any anchor
    middle = (laid[:, :2] + laid[:, 2:]) / 2
    for left, top, right, bottom in boxes[2:]:
        inside = (middle > [left, top]).all(1) & (middle < [right, bottom]).all(1)
        expected[inside & (expected <= 0)] = -1
    wanted = np.array([-2.0, -1.0, 2.0, 1.0])[expected + 1]
    np.testing.assert_array_equal(classes, wanted)
    sides = laid[:, 2:] - laid[:, :2]
    for number in (1, 2):
        own = expected == number
        box = boxes[number - 1]
        away = ((box[:2] + box[2:]) / 2 - middle[own]) / sides[own]
        np.testing.assert_allclose(offsets[own, :2], away, atol=1e-4)
        np.testing.assert_allclose(offsets[own, 2:], np.log((box[2:] - box[:2]) / sides[own]), atol=1e-4)


def test_the_loss_is_that_of_the_paper_over_anchors_that_have_a_box():
    answers = answers_of(random_boxes(3, 0.4), [0, 2, 1], [1, 1, 2])
    outputs = rng.normal(size=(1, len(anchors.anchors_of(LEVELS)), 1, 7)).astype(np.float32)
    offsets, classes = (each.numpy()[0] for each in anchors.matched(tf.constant(answers[:, :, 0]), LEVELS))
    shares, wanted = expit(outputs[0, :, 0, 4:].astype(float)), (classes[:, None] == np.arange(3))
    right = np.where(wanted, shares, 1 - shares)
    focal = -np.where(wanted, 0.25, 0.75) * (1 - right) ** 2 * np.log(right)
    away = np.abs(outputs[0, :, 0, :4] - offsets)
    smooth = np.where(away < 1 / 9, 4.5 * away**2, away - 1 / 18)
    things = classes >= 0
    expected = (focal[classes > -2].sum() + smooth[things].sum()) / things.sum()
    assert things.sum() > 1
    loss = TARGET.losses(tf.constant(answers), tf.constant(outputs)).numpy()
    np.testing.assert_allclose(loss, [expected], rtol=1e-4)
    none = TARGET.losses(tf.zeros_like(answers), tf.constant(outputs)).numpy()  # a picture without boxes
    empty = -0.75 * shares**2 * np.log(1 - shares)
    np.testing.assert_allclose(none, [empty.sum()], rtol=1e-4)


def test_boxes_are_read_from_offsets():
    count = len(anchors.anchors_of(LEVELS))
    outputs = rng.normal(0, 0.3, (2, count, 1, 7)).astype(np.float32)
    outputs[0, 0, 0, 2] = 1000  # of what is not learned yet, no infinity
    found = TARGET.finish(tf.constant(outputs)).numpy()
    boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors.anchors_of(LEVELS), outputs[:, :, 0, :4], "xyxy", "center_xywh", "center_xywh"
    ).numpy()
    np.testing.assert_allclose(found[:, 1:, 0, :4], boxes[:, 1:], rtol=1e-4, atol=1e-5)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, :, 0, 4:], expit(outputs[:, :, 0, 4:]), rtol=1e-5)


def test_of_boxes_that_overlap_the_better_one_is_left():
    """Non-maximum suppression of each class, by a loop in numpy."""
    boxes, shares = random_boxes(200), rng.uniform(0, 0.9, (200, 3)) ** 3
    sides = boxes[:, 2:] - boxes[:, :2]
    rows = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, sides, shares], 1)
    found = dense.boxes(tf.constant(rows[None, :, None], tf.float32))
    kept, overlap = [], ious(boxes, boxes)
    for number in range(3):
        left = [place for place in np.argsort(-shares[:, number]) if shares[place, number] > dense.LEAST_SCORE]
        while left:
            best = left.pop(0)
            kept.append((shares[best, number], number, *boxes[best]))
            left = [place for place in left if overlap[best, place] <= dense.OVERLAP]
    kept = np.array(sorted(kept, reverse=True)[:100])
    count = int(found["count"][0])
    assert count == len(kept)
    np.testing.assert_allclose(found["scores"][0, :count], kept[:, 0], atol=1e-6)
    np.testing.assert_array_equal(found["classes"][0, :count], kept[:, 1])
    np.testing.assert_allclose(found["boxes"][0, :count], kept[:, 2:], atol=1e-6)
    assert not found["boxes"].numpy()[0, count:].any()


@pytest.fixture(scope="module")
def measured():
    """Answers of 30 pictures, some crowds and some left out, and what is found: near them, or anywhere."""
    answers, found = np.zeros((30, 5, 1, 6), np.float32), {"boxes": np.zeros((30, 100, 4), np.float32)}
    found |= {"scores": np.zeros((30, 100), np.float32), "classes": np.zeros((30, 100), np.int32)}
    found["count"] = rng.integers(0, 20, 30)
    for number in range(30):
        things = rng.integers(0, 5)
        answers[number, :things, 0, :4] = random_boxes(things)
        answers[number, :things, 0, 4] = rng.integers(0, 2, things)  # the third class does not occur
        answers[number, :things, 0, 5] = rng.choice([1, 1, 1, 2, 3], things)
        count = found["count"][number]
        boxes = random_boxes(count)
        for place in range(min(count, 2 * things)):
            boxes[place] = answers[number, place % things, 0, :4] + rng.normal(0, 0.02, 4)
        found["boxes"][number, :count] = boxes
        found["scores"][number, :count] = np.sort(rng.random(count))[::-1]
        found["classes"][number, :count] = rng.integers(0, 3, count)
    return answers, found


def by_pycocotools(answers, found, numbers):
    """COCOeval's own figures of pictures, each as often as it is in `numbers`, by its ordinary way."""
    things, given, huge = [], [], 1e10
    for image, number in enumerate(numbers, 1):
        for left, top, right, bottom, label, kind in answers[number, :, 0].tolist():
            if kind:
                box = [100 * each for each in (left, top, right - left, bottom - top)]
                area = huge if kind == 2 else box[2] * box[3]
                things.append({"id": len(things) + 1, "image_id": image, "category_id": int(label), "bbox": box,
                               "area": area, "iscrowd": int(kind == 3)})  # fmt: skip
        for place in range(found["count"][number]):
            left, top, right, bottom = (100 * found["boxes"][number, place]).tolist()
            given.append({"image_id": image, "category_id": int(found["classes"][number, place]),
                          "bbox": [left, top, right - left, bottom - top],
                          "score": float(found["scores"][number, place])})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": [{"id": image + 1} for image in range(len(numbers))], "annotations": things,
                         "categories": [{"id": label} for label in range(3)]}  # fmt: skip
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(given), "bbox")
        evaluation.params.areaRng = [[0, huge / 2]] * 4
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def test_figures_are_those_of_pycocotools(measured):
    answers, found = measured
    table = TARGET.add_up(answers, found)
    figures = TARGET.figures_of(table)
    evaluation = by_pycocotools(answers, found, range(30))
    assert figures["AP"] == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert figures["AP50"] == pytest.approx(evaluation.stats[1], abs=1e-9)
    assert figures["AP75"] == pytest.approx(evaluation.stats[2], abs=1e-9)
    assert 0.05 < figures["AP"] < figures["AP50"]
    own = evaluation.eval["precision"][0, :, :, 0, -1].mean(0)
    assert [figures["AP50 of a"], figures["AP50 of b"]] == pytest.approx(own[:2].tolist())
    assert "AP50 of c" not in figures
    assert next(iter(figures)) == TARGET.headline


def test_draws_of_pictures_are_measured_without_matching_them_again(measured):
    answers, found = measured
    table = TARGET.add_up(answers, found)
    draws = rng.integers(0, 30, (3, 30))
    counts = np.array([np.bincount(draw, minlength=30) for draw in draws], float)
    scores = TARGET.scores_of(table, counts)
    for draw, score in zip(draws, scores, strict=True):
        assert score == pytest.approx(by_pycocotools(answers, found, draw).stats[1], abs=1e-9)
    assert TARGET.scores_of(np.zeros_like(table), counts).tolist() == [0, 0, 0]


def test_a_part_at_once_is_a_part_in_batches(measured):
    answers, found = measured
    halves = [
        TARGET.add_up(answers[part], {name: each[part] for name, each in found.items()})
        for part in (np.s_[:13], np.s_[13:])
    ]
    np.testing.assert_array_equal(np.concatenate(halves), TARGET.add_up(answers, found))


def test_pixels_of_what_is_found_are_those_of_the_whole_picture():
    boxes = tf.constant([[[0.1, 0.2, 0.5, 1.0]]])
    whole = dense.in_picture(boxes, tf.constant([60]), tf.constant([100])).numpy()
    np.testing.assert_allclose(whole, [[[26, 12, 50, 60]]], rtol=1e-6)


def test_the_head_is_the_same_for_every_trunk():
    """Builds two networks: some 4 s."""
    keras.utils.set_random_seed(0)  # weights that are drawn make what is found in the beginning more or less
    kinds = []
    for name, size in (("resnet10(width=4)", 32), ("alexnet", 96)):
        trunk = make_trunk(name, size)
        target = TARGET.on(SimpleNamespace(random=trunk, size=size, stage=trunk.stages[-1]))
        stages = target.stages(trunk, trunk.stages[-1])
        maps = keras.Model(trunk.body.inputs[0], [trunk.body.get_layer(stage).output for stage in stages])
        widths = [each.shape[-1] for each in maps.outputs]
        moments = [(np.zeros(width, np.float32), np.ones(width, np.float32)) for width in widths]
        model = network.build(trunk.copy(), size, stages, target.answer_on, moments, test_mode=True, frozen=True)
        head = model.get_layer("head")
        assert model.output["label"].shape == (None, len(anchors.anchors_of(target.levels)), 1, 7)
        assert {id(each) for each in model.trainable_variables} == {id(each) for each in head.trainable_variables}
        shares = expit(model({"pixels": np.zeros((1, size, size, 3), np.uint8)})["label"].numpy()[..., 4:])
        np.testing.assert_allclose(shares, 0.01, atol=0.02)  # in the beginning there is hardly anything
        kinds.append({type(layer).__name__ for layer in head.layers} - {"Resizing"})
    assert kinds[0] == kinds[1]
