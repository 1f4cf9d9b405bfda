"""`pretext`: a run's own puzzles of data that it never saw."""

import json
import shutil

import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.base.statistics import wilson
from tfssl.multitask.puzzle_stream import stream
from tfssl.pipelines.sources.any_source import open_source

UNSEEN = "toy:images(count=24, size=32, seed=5)"


@pytest.fixture(scope="module")
def scores(toy_run):
    return tfssl.pretext(toy_run, UNSEEN, draws=2, batch_size=8)


def test_accuracy_is_that_of_the_runs_network_on_new_puzzles(toy_run, scores):
    solver, right = toy_run.solver("rotation"), []
    for puzzles, answers, _ in stream(open_source(UNSEEN), toy_run.tasks(), 32, 8, 20_161).take(6):
        chosen = np.argmax(solver(puzzles["rotation"], training=False), 1)
        right.extend(chosen == answers["rotation"].numpy())
    found = scores.tasks["rotation"]
    assert len(right) == 2 * 24 * 4
    assert found.metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert found.chance == 0.25


def test_interval_counts_each_picture_once(scores):
    found = scores.tasks["rotation"]
    assert found.counted == 24
    assert found.interval == pytest.approx(wilson(found.metrics["accuracy"], 24))


def test_same_call_gives_the_same_figures(toy_run, scores):
    assert tfssl.pretext(toy_run, UNSEEN, draws=2, batch_size=8) == scores


def test_is_told_in_words_and_in_json(scores):
    assert "rotation: accuracy" in str(scores)
    assert "chance 25 %" in str(scores)
    told = json.loads(json.dumps(scores.as_json()))
    assert told["items"] == 24
    assert told["tasks"]["rotation"]["counted"] == 24


@pytest.mark.parametrize(
    ("data", "settings", "line"),
    [
        ("nowhere", {}, "nowhere does not exist"),
        ("toy:images(count=1, size=32)", {}, "give two or more"),
        (UNSEEN, {"draws": 0}, "draws=0 is given"),
    ],
)
def test_wrong_input_is_told_in_a_line(toy_run, data, settings, line):
    with pytest.raises(UserError, match=line):
        tfssl.pretext(toy_run, data, **settings)


def test_a_network_that_was_built_otherwise_is_refused_in_a_line(toy_run, tmp_path):
    folder = shutil.copytree(toy_run.folder, tmp_path / "older")
    with np.load(folder / "heads" / "rotation.npz") as arrays:
        weights = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
    np.savez(folder / "heads" / "rotation.npz", *weights[:-2])
    with pytest.raises(UserError, match=r"the network of rotation in .*older is of a version of tfssl that built it"):
        tfssl.load_run(folder).solver("rotation")
