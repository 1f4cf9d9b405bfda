"""Neighbours of frames: never of the question's own recording, and counted as they are drawn."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation import neighbours
from tfssl.pipelines.sources.any_source import open_source

CLIPS = "toy:clips(count=24, size=32, seconds=1.2, seed=1)"


def test_the_nearest_frame_of_each_other_recording_counts():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(7, 3, 5)).astype("f4")
    groups = np.array([0, 0, 1, 2, 3, 4, 4])
    found = neighbours.search(embeddings, groups, 2)
    for question in range(7):
        asked = embeddings[question, 1]
        scores = {}
        for row, frame in np.ndindex(7, 3):
            other = embeddings[row, frame]
            if groups[row] != groups[question]:
                scores[row, frame] = asked @ other / np.linalg.norm(asked) / np.linalg.norm(other)
        rows: list[tuple[int, int]] = []
        for place in sorted(scores, key=lambda place: -scores[place]):
            if place[0] not in [row for row, _ in rows]:
                rows.append(place)
        np.testing.assert_array_equal(found.rows[question], [row for row, _ in rows[:2]])
        np.testing.assert_array_equal(found.frames[question], [frame for _, frame in rows[:2]])
        np.testing.assert_allclose(found.similarity[question], [scores[place] for place in rows[:2]], rtol=1e-5)


def test_shares_of_the_own_class():
    labels, groups = np.array([0, 0, 1, 1, -1]), np.array([0, 1, 2, 2, 3])
    found = neighbours.Found(np.array([[1, 2], [0, 4], [0, 1], [1, 4], [0, 1]]), np.zeros((5, 2)), np.zeros((5, 2)))
    assert neighbours.share_alike(found, labels) == pytest.approx(2 / 8)
    # Of four others of the first one has its class; the pieces of the third's recording do not count.
    assert neighbours.chance_alike(labels, groups) == pytest.approx((1 / 4 + 1 / 4 + 0 + 0) / 4)


def test_names_of_classes_are_no_formulas():
    source = open_source("toy:images(count=6, size=16)")
    source = dataclasses.replace(source, classes=tuple(f"$\\{name}$" for name in source.classes))
    found = neighbours.Found(np.array([[1], [2]]), np.zeros((2, 1), int), np.ones((2, 1)))
    figure = neighbours._draw_gallery(source, [found, found], np.array([0, 1]), 1)
    figure.savefig(io.BytesIO())  # which Matplotlib refuses where it takes them for formulas
    assert figure.axes[0].get_title().endswith(source.classes[source.labels[0]])


def test_a_gallery_of_frames_beside_random_weights(audio_visual_run, tmp_path):
    found = tfssl.neighbours(audio_visual_run, CLIPS, tmp_path / "alike.png", count=2, nearest=3, frames=2)
    assert (tmp_path / "alike.png").stat().st_size > 10_000
    assert (found.items, found.nearest, found.stage) == (24, 3, "stage4")
    assert found.as_json()["layer"] == "stage4"  # as programs of earlier versions read it
    assert 0 <= found.alike <= 1
    assert found.chance == pytest.approx(0.06, abs=0.06)  # ten classes, each two or three times
    assert f"of the 3 nearest of each of {found.items}" in str(found)
    assert json.loads(json.dumps(found.as_json()))["file"] == str(found.file)


def test_pictures_have_one_frame(toy_run, tmp_path):
    found = tfssl.neighbours(toy_run, "toy:images(count=30, size=32)", tmp_path / "alike.svg", limit=20, count=1)
    assert found.items == 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"to": "alike.txt"}, "to='alike.txt' is given, expected a file that ends in"),
        ({"nearest": 0}, "nearest=0 is given"),
        ({"stage": "stage9"}, "the trunk has: stage1"),
        ({"nearest": 24}, "has 24 recordings; expected more than --nearest 24"),
    ],
)
def test_wrong_input(audio_visual_run, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        tfssl.neighbours(audio_visual_run, CLIPS, **{"to": "alike.png", **arguments})
    assert not list(tmp_path.iterdir())


def test_features_of_several_frames_are_averaged(audio_visual_run):
    from tfssl.frozen import features
    from tfssl.pipelines import batches
    from tfssl.pipelines.sources.any_source import open_source

    source = open_source(CLIPS)
    model = features.stage_model(audio_visual_run.trunk(), 32)
    extractor = features.make_extractor(model, {"stage2": (1,)})
    mean = features.Reading(source, 32, 8, frames=3).features(extractor).stages["stage2"][1]
    frames = []
    for place in (2, 7, 12):  # of 15
        images = np.concatenate([b["image"] for b in batches.plain(source, 32, 24, at=(place + 0.01) / 15)])
        frames.append(model(images)["stage2"].numpy().mean((1, 2)))
    np.testing.assert_allclose(mean, np.mean(frames, 0), atol=2e-3)


def test_clips_are_probed_by_several_frames(audio_visual_run, tmp_path):
    train, test = "toy:clips(count=20, size=32, seconds=1.2)", "toy:clips(count=20, size=32, seconds=1.2, seed=1)"
    options = {"test": test, "protocols": "knn", "random": False, "report": False}
    run = shutil.copytree(audio_visual_run.folder, tmp_path / "run")  # which gets an evaluation, that exports go by
    found = tfssl.evaluate(run, train, frames=2, **options)
    assert (found.train_images, found.test_images, found.details["frames"]) == (20, 20, 2)
    with pytest.raises(UserError, match="--frames 2 is given, but toy:images"):
        tfssl.evaluate(run, "toy:images(count=40, size=32)", frames=2)
    with pytest.raises(UserError, match="frames=0 is given"):
        tfssl.evaluate(run, train, frames=0, **options)
