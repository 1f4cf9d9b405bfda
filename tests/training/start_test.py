"""A run that begins with weights that exist, and what stands beside it."""

import dataclasses
import hashlib
import html
import json

import keras
import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation import measuring
from tfssl.evaluation.config import EvaluateSettings
from tfssl.models.trunks import make_trunk
from tfssl.models.trunks.files import with_random_weights
from tfssl.models.trunks.opening import open_trunk, start_of
from tfssl.runs.evaluation import Evaluation
from tfssl.runs.run import load_run
from tfssl.training.config import PretrainSettings
from tfssl.training.warm_start import check_one_start

DATA = "toy:images(count=48, size=32)"
SETTINGS = {"tasks": "rotation", "size": 32, "epochs": 1, "batch_size": 8, "verbose": 0, "report": False}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights, and the network that they are of."""
    keras.utils.set_random_seed(7)
    body = make_trunk("resnet10(width=2)", 32).body
    path = tmp_path_factory.mktemp("start") / "others.weights.h5"
    body.save_weights(path)
    return path, body


@pytest.fixture(scope="module")
def run(weights):
    """A run of a step from a file of weights. For reading only."""
    trunk = f"resnet10(width=2, weights={str(weights[0])!r})"
    return tfssl.pretrain(DATA, trunk=trunk, out=weights[0].parent / "run", steps_per_epoch=1, **SETTINGS)


def weights_of(trunk):
    return [np.asarray(weight) for weight in trunk.body.get_weights()]


@pytest.mark.slow
@pytest.mark.xdist_group("start")
def test_a_run_goes_on_from_weights_and_keeps_them_beside_random_ones(run, weights):
    path, body = weights
    about = json.loads((run.folder / "run.json").read_text())["settings"]
    assert about["start"] == {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    start, random, trained = map(weights_of, (run.start_trunk(), run.random_trunk(), run.trunk()))
    for one, other in zip(start, body.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # A step moves weights a little, and away from where they began: they are those of the file, not random ones.
    away = [np.abs(one[0] - other[0]).max() for one, other in ((trained, start), (trained, random))]
    assert 0 < away[0] < 0.1 * away[1]
    again = run.start_trunk()
    keras.utils.set_random_seed(run.settings.seed)
    for one, other in zip(random, weights_of(with_random_weights(again)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert load_run(run.folder).settings == run.settings


@pytest.mark.slow
@pytest.mark.xdist_group("start")
def test_evaluate_measures_what_it_began_with_and_the_report_says_so(run, weights):
    """Three networks and random weights are traced, which takes some seconds."""
    path, body = weights
    body.save(path.parent / "others.keras")
    found = tfssl.evaluate(run, DATA, protocols="knn", beside=path.parent / "others.keras", cache=False)
    others, start = found.beside
    assert start.name == f"start weights {run.settings.trunk}"
    assert start == dataclasses.replace(others, name=start.name)
    assert found.random["knn"] != start.scores["knn"]
    assert set(start.ahead) == {"knn"}
    assert Evaluation.from_json(json.loads(json.dumps(run.evaluation))) == found
    page = html.unescape((run.folder / "report.html").read_text())
    assert page.count(start.name) > 1
    assert f"It began with the weights {path}." in page
    without = EvaluateSettings(subject=run, data=DATA, random=False)
    assert [each.kind for each in measuring.open_subjects(without)] == ["run"]


@pytest.mark.slow
@pytest.mark.xdist_group("start")
def test_a_run_is_resumed_with_the_same_weights_only(run, weights):
    path, _ = weights
    settings = {"trunk": run.settings.trunk, "out": run.folder, "steps_per_epoch": 1, **SETTINGS}
    assert tfssl.pretrain(DATA, **settings).result == run.result
    kept = path.read_bytes()
    try:
        make_trunk("resnet10(width=2)", 32).body.save_weights(path)
        with pytest.raises(UserError, match=r"holds a run with start .*'sha256'"):
            tfssl.pretrain(DATA, **settings)
    finally:
        path.write_bytes(kept)


@pytest.mark.slow
@pytest.mark.xdist_group("start")
def test_weights_come_from_the_trunk_or_from_a_run(run, toy_run, tmp_path):
    given = run.settings.trunk
    settings = {"out": tmp_path / "run", "steps_per_epoch": 1, **SETTINGS}
    with pytest.raises(UserError, match="both say which weights to begin with; give one of them"):
        tfssl.pretrain(DATA, trunk=given, init=toy_run, **settings)
    with pytest.raises(
        UserError, match=r"began as --trunk resnet10\(width=2, weights=.*; give that trunk, or no --init"
    ):
        tfssl.pretrain(DATA, trunk="resnet10(width=2)", init=run, **settings)
    assert not (tmp_path / "run").exists()
    check_one_start(PretrainSettings(data=DATA, trunk=given), run.settings.start, run)  # what it began with, continued


def test_what_is_written_down_of_weights(weights):
    path, body = weights
    body.save(path.parent / "trunk.keras")
    made = open_trunk(path.parent / "trunk.keras", 32)
    file = hashlib.sha256((path.parent / "trunk.keras").read_bytes()).hexdigest()
    values = hashlib.sha256(b"".join(weight.tobytes() for weight in body.get_weights())).hexdigest()
    for given, wanted in (
        ("resnet10(width=2)", None),
        (path.parent / "trunk.keras", {"weights": str(path.parent / "trunk.keras"), "sha256": file}),
        ("mobilenet(weights='imagenet')", {"weights": "imagenet", "sha256": values}),
        (body, {"weights": "body (a Keras model)"}),
    ):
        assert start_of(given, made) == wanted


def test_a_model_of_ones_own_begins_with_its_weights(tmp_path):
    """A run of a step, which takes some seconds."""
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, 4)(inputs), name="mine")
    wanted = model.get_weights()[0].copy()
    run = tfssl.pretrain(DATA, trunk=model, out=tmp_path / "run", steps_per_epoch=1, **SETTINGS)
    assert run.settings.trunk == run.settings.start["weights"] == "mine (a Keras model)"
    np.testing.assert_array_equal(weights_of(run.start_trunk())[0], wanted)
    assert np.abs(weights_of(run.random_trunk())[0] - wanted).max() > 0.01
    assert 0 < np.abs(weights_of(run.trunk())[0] - wanted).max() < 0.01
    np.testing.assert_array_equal(
        weights_of(open_trunk(run.folder / "encoder.keras", 32))[0], weights_of(run.trunk())[0]
    )
