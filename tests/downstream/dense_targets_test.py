"""Dense targets: what is found, lost and measured, against numpy and scikit-learn."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import jaccard_score

from tfssl.downstream.dense import network
from tfssl.downstream.dense.base import DenseChosen
from tfssl.downstream.dense.depth import normals_of
from tfssl.downstream.dense.keypoints import THRESHOLDS, KeyPoints, partners_of, reference_lengths
from tfssl.downstream.dense.normals import Normals
from tfssl.downstream.dense.results import DenseFinetuned, bootstrap
from tfssl.downstream.dense.segmentation import Segmentation
from tfssl.export.signatures import dense
from tfssl.models.trunks import make_trunk

rng = np.random.default_rng(0)


def test_joints_are_found_between_the_places_of_a_map():
    x, y = np.array([[0.31, 0.7]]), np.array([[0.52, 0.11]])
    place = (np.arange(16) + 0.5) / 16
    square = (place - x[..., None])[:, :, None, :] ** 2 + (place - y[..., None])[:, :, :, None] ** 2
    heat = np.exp(-square / 2 / 0.03**2).transpose(0, 2, 3, 1)
    heat /= heat.sum((1, 2), keepdims=True)
    found = dense.joints(tf.constant(heat, tf.float32))
    np.testing.assert_allclose(found["joints"], np.stack([x, y], -1), atol=0.012)
    assert (found["scores"].numpy() > 0.8).all()
    whole = dense.in_picture(found["joints"], tf.constant([60]), tf.constant([100])).numpy()
    np.testing.assert_allclose(whole[0, :, 0], 20 + 60 * x[0], atol=0.8)
    np.testing.assert_allclose(whole[0, :, 1], 60 * y[0], atol=0.8)


def test_the_loss_of_heat_maps_is_least_at_the_gaussian():
    target = KeyPoints(names=("a", "b"), partners=(0, 1))
    answers = np.zeros((1, 2, 1, 5), np.float32)
    answers[0, :, 0, :3] = [[0.25, 0.6, 1], [0.9, 0.1, 0]]
    place = (np.arange(12) + 0.5) / 12
    deviation = 0.75 / 12
    log = -((place - 0.25) ** 2 + (place[:, None] - 0.6) ** 2) / 2 / deviation**2
    shares = np.exp(log) / np.exp(log).sum()
    entropy = -(shares * np.log(shares)).sum()
    outputs = np.stack([log, rng.normal(size=(12, 12))], -1)[None].astype(np.float32)
    assert target.losses(tf.constant(answers), tf.constant(outputs)).numpy() == pytest.approx(entropy, rel=1e-4)
    other = target.losses(tf.constant(answers), tf.zeros([1, 12, 12, 2])).numpy()
    assert other == pytest.approx(np.log(144), rel=1e-5)
    answers[..., 2] = 0
    assert target.losses(tf.constant(answers), tf.constant(outputs)).numpy() == 0


def test_pck_is_the_share_of_joints_within_a_part_of_the_length():
    names = ("r_shoulder", "l_hip", "head")
    target = KeyPoints(names=names, partners=partners_of(names))
    answers = np.zeros((20, 3, 1, 5), np.float32)
    answers[:, :, 0, :2] = rng.uniform(0.2, 0.8, (20, 3, 2))
    answers[:, :, 0, 2] = rng.random((20, 3)) < 0.8
    answers[:, :, 0, 3] = rng.uniform(0.2, 0.5, (20, 1))
    joints = answers[:, :, 0, :2] + rng.normal(0, 0.06, (20, 3, 2))
    sums = target.add_up(answers, {"joints": joints}).sum(0)
    right, known = np.zeros((len(THRESHOLDS), 3)), np.zeros(3)
    for answer, found in zip(answers[:, :, 0], joints, strict=True):
        for number in range(3):
            if answer[number, 2]:
                known[number] += 1
                away = np.linalg.norm(found[number] - answer[number, :2]) / answer[number, 3]
                right[:, number] += away <= THRESHOLDS
    figures = target.figures(sums)
    assert THRESHOLDS[4] == pytest.approx(0.2)
    assert figures["PCK@0.2"] == pytest.approx(right[4].sum() / known.sum())
    assert figures["PCK@0.2 of head"] == pytest.approx(right[4, 2] / known[2])
    np.testing.assert_allclose([share for _, share in target.curve(sums)], right.sum(1) / known.sum())
    assert [at for at, _ in target.curve(sums)] == pytest.approx(THRESHOLDS)


def test_the_length_is_the_torso_or_else_the_box():
    points = np.array([[[0, 0, 1], [3, 4, 1], [30, 0, 1]], [[0, 0, 0], [3, 4, 1], [30, 0, 1]], [[0, 0, 0]] * 3], float)
    assert reference_lengths(points, ("Right Shoulder", "left_hip", "head")).tolist() == [5, 27, 1]
    assert reference_lengths(points, ("a", "b", "c")).tolist() == [30, 27, 1]


def test_partners_are_told_by_names():
    assert partners_of(("r_ankle", "l_ankle", "neck")) == (1, 0, 2)
    assert partners_of(("left hand", "Right hand", "leftover", "left ear")) == (1, 0, 2, 3)


def test_miou_is_that_of_scikit_learn_over_all_pixels():
    target = Segmentation(names=("a", "b", "c", "none"))
    answers = rng.integers(0, 3, (5, 8, 8, 1)).astype(np.float32)
    named = rng.integers(0, 3, (5, 8, 8))
    answers[rng.random(answers.shape) < 0.2] = 255
    sums = target.add_up(answers, {"class_map": named}).sum(0)
    held = answers[..., 0] != 255
    each = jaccard_score(answers[..., 0][held], named[held], average=None, labels=[0, 1, 2])
    figures = target.figures(sums)
    assert figures["mIoU"] == pytest.approx(each.mean())
    assert [figures[f"IoU of {name}"] for name in "abc"] == pytest.approx(each)
    assert "IoU of none" not in figures
    assert figures["pixels right"] == pytest.approx((answers[..., 0] == named)[held].mean())


def test_pixels_of_255_are_not_learned_from():
    target = Segmentation(names=("a", "b"))
    answers = np.array([[[[0.0], [1.0]], [[255.0], [255.0]]]], np.float32)
    outputs = rng.normal(size=(1, 2, 2, 2)).astype(np.float32)
    log = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
    expected = -(log[0, 0, 0, 0] + log[0, 0, 1, 1]) / 2
    assert target.losses(tf.constant(answers), tf.constant(outputs)).numpy() == pytest.approx(expected, rel=1e-5)


def test_angles_are_averaged_over_known_pixels():
    target = Normals()
    vectors = rng.normal(size=(2, 4, 6, 6, 3)) + np.array([0, 0, 2])
    one, other = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    known = (rng.random((4, 6, 6, 1)) < 0.7).astype(float)
    answers = np.concatenate([one * known, known], -1).astype(np.float32)
    sums = target.add_up(answers, {"normals": other}).sum(0)
    angles = np.degrees(np.arccos((one * other).sum(-1)))[known[..., 0] > 0]
    figures = target.figures(sums)
    assert figures["mean angle"] == pytest.approx(angles.mean(), abs=1e-3)
    assert figures["median angle"] == pytest.approx(np.median(angles), abs=0.8)
    for at in (11.25, 22.5, 30):
        assert figures[f"within {at:g} degrees"] == pytest.approx((angles < at).mean())
    loss = target.losses(tf.constant(answers), tf.constant(3 * other, tf.float32)).numpy()
    cosines = (one * other).sum(-1)
    expected = [(1 - cosine)[held[..., 0] > 0].mean() for cosine, held in zip(cosines, known, strict=True)]
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.5, 0.2, 0.8), (-0.4, 0.7, 0.6)])
def test_the_normals_of_a_plane_are_those_of_the_plane(normal):
    """A plane n p = 1.5 in front of the camera, whose y runs down and whose z goes away."""
    normal = np.array(normal) / np.linalg.norm(normal)
    camera = normal * [1, -1, -1]
    rows, columns = np.indices((30, 40))
    rays = np.stack([(columns - 20) / 200, (rows - 15) / 200, np.ones(rows.shape)], -1)
    depth = -1500 / (rays @ camera)
    depth[:4] = 0
    depth[:, 30:] *= 2
    normals, known = normals_of(np.round(depth).astype(np.uint16), (200, 200, 20, 15))
    assert not known[:4].any()
    assert not known[:, 28:32].any()  # the edge of something
    inner = known[8:-4, 4:26]
    assert inner.all()
    np.testing.assert_allclose(normals[8:-4, 4:26], np.broadcast_to(normal, (18, 22, 3)), atol=0.02)


def test_the_bootstrap_is_paired_and_comes_from_its_seed():
    one = rng.normal(1.0, 1.0, (200, 1))
    other = one - 0.5

    def mean_of(table, counts):
        return (counts @ table)[:, 0] / 200

    low, high = bootstrap(mean_of, one)
    half = 1.96 * one.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((one.mean() - half, one.mean() + half), abs=0.25 * half)
    assert bootstrap(mean_of, one, other) == pytest.approx((0.5, 0.5))


def chosen_of(target, table):
    choice = {"name": "frozen head", "step": 3, "candidates": {"frozen head": -20.0}, "validation": -20.0}
    choice |= {"train": 9, "val": 3, "broken": 0, "test": len(table), "score": float(target.scores(table.sum(0)))}
    return DenseChosen(
        **choice, figures=target.figures(table.sum(0)), curve=[], table=table, rows=np.arange(len(table))
    )


def test_of_angles_less_is_better_and_differences_are_paired():
    target = Normals()
    angles = rng.uniform(10, 40, 60)

    def table(values):
        histogram = np.zeros((60, 720))
        histogram[np.arange(60), (values / 0.25).astype(int)] = 5
        return np.concatenate([np.full((60, 1), 5.0), 5 * values[:, None], histogram], 1)

    chosen = {
        ("fine-tuned", (None, None), 0): chosen_of(target, table(angles)),
        ("scratch", (None, None), 0): chosen_of(target, table(angles + 2)),
    }
    parts = SimpleNamespace(target=target, broken={}, note="")
    found = DenseFinetuned.of(Path("x"), parts, chosen)
    main, other = found.rows
    assert main.score.mean == pytest.approx(angles.mean())
    half = 1.96 * angles.std() / np.sqrt(60)
    assert (main.score.low, main.score.high) == pytest.approx(
        (angles.mean() - half, angles.mean() + half), abs=half / 3
    )
    assert (other.ahead.mean, other.ahead.low, other.ahead.high) == pytest.approx((2, 2, 2))
    (sentence,) = found.sentences()
    assert sentence.startswith(f"Fine-tuning has a mean angle of {angles.mean():.1f} degrees (")
    rival = f"from scratch {angles.mean() + 2:.1f} degrees"
    assert sentence.endswith(f"{rival}: pretraining takes off 2.0 degrees (2.0 to 2.0).")
    assert "of frozen head 20.0 degrees" in str(found)


def test_the_head_is_the_same_for_every_trunk_and_standardises_its_maps():
    """Builds two networks, of which one is pretrained by nobody: a few seconds."""
    images = rng.integers(0, 256, (6, 65, 65, 3), np.uint8)
    layers = []
    for name in ("alexnet", "resnet10(width=4)"):
        trunk = make_trunk(name, 65)
        last = trunk.stages[-1]
        stages = network.stages_up_to(trunk, last)
        measured = network.moments(trunk, 65, stages, [tf.constant(images[:3]), tf.constant(images[3:])])
        maps = keras.Model(trunk.body.inputs[0], trunk.body.get_layer(last).output)(trunk.pixels(images)).numpy()
        np.testing.assert_allclose(measured[-1][0], maps.mean((0, 1, 2)), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(measured[-1][1], maps.var((0, 1, 2)), rtol=2e-3, atol=1e-5)
        how = {"head_on": lambda maps, size: network.pyramid(maps, size, 5, False), "measured": measured}
        model = network.build(trunk.copy(), 65, stages, **how, test_mode=True, frozen=True)
        assert model({"pixels": images})["label"].shape == (6, 17, 17, 5)  # a quarter of the side, rounded up
        head = model.get_layer("head")
        assert {id(each) for each in model.trainable_variables} == {id(each) for each in head.trainable_variables}
        whole = network.build(trunk.copy(), 65, stages, **how, test_mode=True, freeze=trunk.stages[0])
        assert len(head.trainable_variables) < len(whole.trainable_variables)
        how = {"head_on": lambda maps, size: network.pyramid(maps, size, 5, True), "measured": measured[:2]}
        large = network.build(trunk.copy(), 65, trunk.stages[:2], **how, test_mode=True)
        assert large({"pixels": images})["label"].shape == (6, 65, 65, 5)
        layers.append({type(layer).__name__ for layer in head.layers})
    assert layers[0] == layers[1]
