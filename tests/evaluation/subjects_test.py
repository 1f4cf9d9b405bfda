"""What is evaluated: runs, exports, files and names, and one beside another."""

import dataclasses
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation import measuring, random_weights
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.probes import Probes
from tfssl.evaluation.protocols import choose
from tfssl.frozen.subjects import open_subject
from tfssl.runs.beside import Difference, Rival
from tfssl.runs.evaluation import Evaluation, Score

DATA = "toy:images(count=100, size=32, seed=1)"


@pytest.fixture(scope="module")
def found(toy_run, toy_export, tmp_path_factory):
    """An export beside its run and the run's file. Three networks are traced, which takes some seconds."""
    to = tmp_path_factory.mktemp("subjects") / "evaluation.json"
    beside = f"{toy_run.folder}, {toy_run.folder / 'encoder.keras'}"
    protocols = "linear, linear_pooled, knn"
    made = tfssl.evaluate(toy_export, DATA, protocols=protocols, numbers=64, beside=beside, to=to)
    assert json.loads(to.read_text()) == json.loads(json.dumps(made.as_json()))
    return made


def test_an_export_is_measured_as_its_run_is_and_the_run_as_its_file(found, toy_run):
    run, file = found.beside
    assert list(found.trained) == ["linear_pooled", "knn"]  # the probe of a grid is left out
    assert found.notes[2].endswith("to compare it with; left out, as there is no grid to read: linear.")
    for protocol, (stage, *others) in found.trained.items():
        assert (stage, others) == ("stage4", [])
        own, other = found.trained[protocol][stage], run.scores[protocol][stage]
        assert (own.top1, own.map) == pytest.approx((other.top1, other.map), abs=0.051)  # rounding may tip a picture
    assert list(run.scores) == ["linear", "linear_pooled", "knn"]
    assert run.scores == file.scores
    assert not (toy_run.folder / "evaluation.json").exists()
    assert found.random == {}
    assert Evaluation.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_differences_are_paired_over_the_same_pictures(found):
    run = found.beside[0]
    assert set(run.ahead) == {"linear_pooled", "knn"}
    for protocol, ahead in run.ahead.items():
        chosen = max(run.scores[protocol].values(), key=lambda score: score.held_out)
        own = found.trained[protocol]["stage4"]
        differences = own.right - chosen.right
        assert own.top1 == pytest.approx(own.right.mean())
        half = 1.959964 * differences.std(ddof=1) / np.sqrt(20)
        wanted = (own.top1 - chosen.top1, differences.mean() - half, differences.mean() + half)
        assert dataclasses.astuple(ahead) == pytest.approx(wanted, abs=1e-6)


def test_the_table_and_a_sentence_say_who_is_ahead():
    scores = {"stage1": Score(0.612, 0.5, held_out=0.7), "stage2": Score(0.65, 0.5, held_out=0.6)}
    rival = Rival("X(weights='imagenet')", {"linear": {"stage3": Score(0.703, 0.5, held_out=0.7)}},
                  {"linear": Difference(-0.091, -0.112, -0.07)})  # fmt: skip
    evaluation = Evaluation(
        trained={"linear": scores}, random={}, train_images=10, test_images=1000, classes=("a", "b"),
        details={"subject": "runs/first"}, beside=(rival,),
    )  # fmt: skip
    assert evaluation.sentences()[-1] == (
        "By linear probe, runs/first names 61.2 % (stage1), X(weights='imagenet') frozen 70.3 % (stage3): 9.1 points"
        " behind (7.0 to 11.2)."
    )
    head, _, first, _, third, *_ = str(evaluation).splitlines()
    assert head.split()[:3] == ["subject", "protocol", "stage"]
    assert first.startswith("runs/first             linear probe  stage1  61.2")
    assert third.endswith("<- chosen; runs/first 9.1 points behind (7.0 to 11.2)")
    assert str(Difference(0.02, -0.01, 0.05)) == "2.0 points ahead (-1.0 to 5.0), within the uncertainty"
    assert str(Difference(0.0, -0.01, 0.01)) == "level (-1.0 to 1.0), within the uncertainty"


def test_random_weights_of_a_file_follow_from_the_seed(toy_run):
    first, again, other = (open_subject(toy_run.folder / "encoder.keras", seed=seed) for seed in (3, 3, 4))
    kernels = [subject.random.body.get_weights()[0] for subject in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0
    assert np.abs(kernels[0] - first.trained.body.get_weights()[0]).max() > 0
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, name="stage1")], name="mine")
    own = open_subject(model)
    assert (own.name, own.size, list(own.network.output)) == ("mine", 16, ["stage1"])


def test_a_name_alone_is_measured_as_random_weights_are(monkeypatch):
    monkeypatch.setattr(random_weights, "measure_random", lambda *arguments: (arguments, "which"))
    name = open_subject("plain(width=2)", 32, seed=5)
    assert (name.is_random, name.has_random, name.size) == (True, False, 32)
    probes = Probes(protocols=choose("knn"), size=96, numbers=64, grid=None, batch_size=8, max_broken=0.0, frames=1)
    tuning = SimpleNamespace(measured=lambda subject, frozen: frozen)  # nothing is trained
    (own, trunk, data, batch_size, seed), which = measuring.measure(name, probes, "data", tuning)
    assert (own.size, trunk, data, batch_size, seed, which) == (32, name.random, "data", 64, 5, "which")


def test_subjects_with_commas():
    settings = EvaluateSettings(subject="a", data="b", beside="runs/b, c(width=1, weights='d.h5'),e.keras")
    assert settings.beside == ("runs/b", "c(width=1, weights='d.h5')", "e.keras")


@pytest.mark.parametrize(
    ("subject", "settings", "said"),
    [
        ("toy_run", {"size": 64}, "--size 64 is given, but .* takes 32 pixels"),
        ("toy_export", {"size": 64}, "--size 64 is given, but .* takes 32 pixels"),
        ("toy_export", {"epoch": 1}, "--epoch 1 is given, but .* is no run"),
        ("toy_export", {"protocols": "linear"}, "gives no grid, as linear reads"),
        ("labelled_folder", {}, "is no run and no export; expected a folder"),
        ("runs/nowhere", {}, "is no run, no export, no .keras file and no trunk's name; trunks are: alexnet"),
        ("resnet9", {}, "is no run, no export, no .keras file and no trunk's name; trunks are: alexnet"),
        ("nowhere.keras", {}, "nowhere.keras does not exist"),
    ],
)
def test_what_is_no_subject(request, subject, settings, said):
    given = request.getfixturevalue(subject) if "_" in subject else subject
    with pytest.raises(UserError, match=said):
        tfssl.evaluate(given, DATA, **settings)
