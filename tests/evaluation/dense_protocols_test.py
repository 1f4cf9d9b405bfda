"""Protocols of places in the picture: what is learned from which weights and answers, and what is said of it.

Most tests put answers in the place of training; one trains.
"""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tfssl
from tests.support.evaluations import EVALUATION
from tfssl.base.errors import UserError
from tfssl.base.files import cache_folder
from tfssl.cli.main import cli
from tfssl.downstream import candidates
from tfssl.downstream.dense import TARGETS
from tfssl.downstream.dense.base import DenseChosen
from tfssl.evaluation import tuning
from tfssl.evaluation.protocols import PROTOCOLS, choose, parse
from tfssl.evaluation.protocols.dense import DenseProtocol
from tfssl.report import dense_figures
from tfssl.report.page import write_report
from tfssl.runs import dense_scores
from tfssl.runs.beside import Difference
from tfssl.runs.dense_scores import DenseMeasured, DenseScore
from tfssl.runs.evaluation import Evaluation, read_evaluation

DATA = "toy:images(count=60, size=32, seed=1)"


def tiny_trunk():
    """Two stages: compiled in a second."""
    layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, 4, activation="relu", name="stage1"),
              keras.layers.Conv2D(6, 3, 2, name="stage2")]  # fmt: skip
    return keras.Sequential(layers, name="mine")


@pytest.fixture
def asked(monkeypatch):
    """What would have been trained: (job, settings, what came of it), of which each has drawn sums."""
    jobs = []

    def answer(job, settings):
        rng = np.random.default_rng(len(jobs))
        target, count = job.target, job.test.count
        if target.name == "keypoints":
            known = np.ones((count, len(target.names)))
            table = np.concatenate([known, np.repeat(rng.integers(0, 2, known.shape), 11, 1)], 1).astype(float)
        elif target.name == "normals":
            table = np.concatenate([np.ones((count, 1)), rng.uniform(10, 50, (count, 1)), np.zeros((count, 720))], 1)
        else:
            have = rng.integers(1, 50, (count, len(target.names)))
            right = (have * rng.uniform(0, 1, have.shape)).astype(int)
            table = np.concatenate([right, have, have], 1).astype(float)
        sums = table.sum(0)
        chosen = DenseChosen(
            name="learning rate 0.001", step=len(jobs) + 1, candidates={"a": 0.5, "b": 0.25},
            validation=-20.0 if target.lower else 0.5, train=(job.whole or job.train).count, val=job.val.count,
            broken=0, test=count, score=float(target.scores(sums)), figures=target.figures(sums), curve=[],
            table=table, rows=np.arange(count),
        )  # fmt: skip
        jobs.append((job, settings, chosen))
        return chosen

    monkeypatch.setattr(tuning, "choose", answer)
    return jobs


def evaluate(subject, protocols, data=DATA, **settings):
    settings = {"size": 32, "cache": False, "report": False} | settings
    return tfssl.evaluate(subject, data, protocols=protocols, **settings)


def mean_iou(sums):
    """Of sums [..., 3 C]: pixels of each class that are right, that have it, that were given it."""
    right, have, given = np.split(sums, 3, -1)
    return (right / (have + given - right)).mean(-1)


def drawn_anew(one, other=None):
    """The 95 % interval over a thousand draws of test pictures, of the same ones for both."""
    count = len(one)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), 1000).astype(float)
    values = mean_iou(draws @ one) - (0 if other is None else mean_iou(draws @ other))
    return pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_each_target_has_its_protocol():
    for name, target in TARGETS.items():
        assert issubclass(PROTOCOLS[name], DenseProtocol)
        assert PROTOCOLS[name].target is target
        assert parse(name).settings("folder", 0.5).target == name
    settings = parse("normals(intrinsics=(5, 5, 4, 4), by_time=True, steps=7)").settings("folder", 0.5)
    assert (settings.intrinsics, settings.by_time, settings.steps) == ((5, 5, 4, 4), True, 7)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("keypoints(steps=0)", "keypoints: steps=0 is given, expected at least 1"),
        ("segmentation(mixup=0.1)", "segmentation has no setting 'mixup'"),
        ("segmentation(labels='a')", "segmentation: --labels is given, and is not for --target segmentation"),
        ("normals(intrinsics=(1.0,))", "normals: --intrinsics 1 is given, expected FX,FY,CX,CY"),
        ("keypoints(fraction=0.0)", "keypoints: fraction=0.0 is given, expected a number above 0, at most 1"),
        ("keypoints(draws=0)", "keypoints: draws=0 is given, expected a whole number of 1 or more"),
    ],
)
def test_settings_that_are_refused(protocol, said):
    with pytest.raises(UserError) as problem:
        parse(protocol)
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.slow
def test_the_head_alone_and_all_of_it_beside_random_weights(asked, toy_run, tmp_path):
    """Figures, intervals and paired differences are those of the test pictures' sums; a run keeps them."""
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    found = evaluate(run, "segmentation", split_seed=3)
    assert [(job.random, job.only_probe) for job, _, _ in asked] == [
        (False, True), (False, False), (True, True), (True, False),
    ]  # fmt: skip
    (job, settings, _), *_ = asked
    assert (job.train.count + job.val.count, job.test.count, job.whole.count) == (48, 12, 48)
    assert not {*job.whole.source.paths} & {*job.test.source.paths}
    assert settings.target == "segmentation"
    heads = [job.heads for job, _, _ in asked]
    assert heads[0] == heads[1] == asked[0][0].folder != heads[2]  # learned once
    measured = found.dense["segmentation"]
    for number, (way, score) in enumerate(measured.trained.items()):
        chosen, other = asked[number][2], asked[number + 2][2]
        assert score.score == pytest.approx(mean_iou(chosen.table.sum(0)))
        assert (score.low, score.high) == drawn_anew(chosen.table)
        ahead = measured.random[way].ahead
        assert ahead.mean == pytest.approx(chosen.score - other.score)
        assert (ahead.low, ahead.high) == drawn_anew(chosen.table, other.table)
        assert score.held_out == 0.5
    assert list(measured.trained) == ["frozen head", "fine-tuned"]
    assert (found.trained, found.classes, found.train_images) == ({}, (), 48)
    assert Evaluation.from_json(json.loads(json.dumps(found.as_json()))) == found
    # What chooses stages, and is no matter of it, is left alone.
    assert read_evaluation(run.folder) is None
    assert dense_scores.read(run.folder) == found.dense
    evaluate(run, "normals(tune=False)")
    assert list(dense_scores.read(run.folder)) == ["segmentation", "normals(tune=False)"]
    assert [job.only_probe for job, _, _ in asked[4:]] == [True, True]
    page = write_report(run).read_text(encoding="utf-8")
    for text in ("Places in the picture, beside random weights", "mean angle, degrees (less is better)", "IoU of"):
        assert text in page
    assert "LABELLED_DATA" not in page


def test_less_is_better_where_the_target_says_so(asked):
    found = evaluate("plain(width=2)", "normals(tune=False)", beside=[tiny_trunk()], random=False)
    own, other = (chosen.table.sum(0) for _, _, chosen in asked)
    (measured,) = found.dense.values()
    mean, rival = own[1] / own[0], other[1] / other[0]
    assert measured.trained["frozen head"].score == pytest.approx(mean)
    assert measured.trained["frozen head"].held_out == 20
    ahead = measured.beside["mine"]["frozen head"].ahead
    assert ahead.mean == pytest.approx(rival - mean)
    (sentence,) = measured.sentences()
    word = "ahead" if mean < rival else "behind"
    assert f"mean angle {mean:.1f} degrees" in sentence
    assert f"mine {rival:.1f} degrees: plain(width=2) is {abs(rival - mean):.1f} degrees {word}" in sentence
    assert [job.start.stage for job, _, _ in asked] == ["stage4", "stage2"]
    row = next(line for line in str(found).splitlines() if line.startswith("surface normals") and " mine " in line)
    assert f"mean angle {rival:.1f} degrees" in row


def test_of_few_pictures_intervals_are_over_draws(asked):
    found = evaluate("plain(width=2)", "segmentation(fraction=0.5, draws=3, seed=4, tune=False)")
    (measured,) = found.dense.values()
    score = measured.trained["frozen head"]
    values = [chosen.score for _, _, chosen in asked]
    assert score.draws == tuple(values)
    half = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)
    assert (score.score, score.high - score.score) == pytest.approx((np.mean(values), half), rel=1e-5)
    wholes = [frozenset(job.whole.source.paths) for job, _, _ in asked]
    assert len(set(wholes)) == 3
    assert {len(each) for each in wholes} == {24}
    assert measured.train == 24
    assert score.figures["pixels right"] == pytest.approx(np.mean([c.figures["pixels right"] for _, _, c in asked]))


def test_figures_of_random_weights_are_taken_over(asked, toy_run, tmp_path):
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    first = evaluate(run, "segmentation(tune=False)")
    count = len(asked)
    other = evaluate("plain(width=2)", "segmentation(tune=False)", random=first)
    assert len(asked) == count + 1
    assert other.dense["segmentation(tune=False)"].random == first.dense["segmentation(tune=False)"].random


def test_beside_classes(asked, toy_run, tmp_path):
    """Both kinds on data that has both: the stage is chosen by the probe, and both files have the figures."""
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    found = evaluate(run, "knn, segmentation(tune=False)", random=False)
    assert list(found.trained) == ["knn"]
    assert read_evaluation(run.folder).dense == found.dense == dense_scores.read(run.folder)
    assert found.main == "knn"
    assert "By" not in found.sentences()[0]
    assert found.sentences()[-1].startswith("Segmentation, the head alone on frozen features: mIoU ")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pictures with joints, with masks, and in class folders."""
    folder = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)
    for name, count in (("joints", 8), ("masks/images", 8), ("classes/a", 5), ("classes/b", 5)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    (folder / "masks" / "masks").mkdir()
    for number in range(8):
        mask = rng.integers(0, 3, (32, 32)).astype(np.uint8)
        Image.fromarray(mask).save(folder / "masks" / "masks" / f"{number}.png")
    joints = {"order": ["l_a", "r_a"], "joints": {f"{number}.png": [[3, 3, 1], [9, 9, 1]] for number in range(8)}}
    (folder / "joints" / "joints.json").write_text(json.dumps(joints))
    shutil.copy(folder / "joints" / "joints.json", folder / "where.json")
    return folder


@pytest.mark.parametrize(
    ("data", "protocols", "settings", "said"),
    [
        ("classes", "keypoints", {}, "(here --labels is keypoints(labels=...))"),
        ("classes", "segmentation, knn", {}, "segmentation needs these, and knn classes: ask for one kind alone"),
        ("joints", "keypoints, knn", {}, "no labels to evaluate with; expected one sub-folder a class, two at least;"
         " keypoints alone needs no classes"),
        ("masks", "segmentation, knn", {}, "has images/, masks/, which are no classes; ask for segmentation alone"),
        ("joints", "keypoints", {"labels": "x.csv"}, "ask for \"keypoints(labels='x.csv')\""),
        ("joints", "keypoints", {"test": "masks"}, "keypoints takes the parts of DATA; lay both into one folder"),
        ("joints", "keypoints", {"frames": 2}, "--frames 2 is given, but keypoints takes pictures"),
        ("joints", "keypoints", {"long_tail": 2.0}, "--long-tail is given, but keypoints takes no classes"),
        ("joints", "keypoints(fraction=0.1)", {}, "keypoints(fraction=0.1) learns from 1 picture, too few to hold one"),
        ("joints", "keypoints(stage='stage9')", {}, "keypoints: stage stage9 is given; the trunk's stages are"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(asked, folders, data, protocols, settings, said):
    with pytest.raises(UserError) as problem:
        evaluate(tiny_trunk(), protocols, folders / data, **settings)
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)
    assert asked == []


def test_joints_in_a_file_elsewhere_and_an_export_that_cannot_learn(asked, folders, toy_export):
    found = evaluate(tiny_trunk(), f"keypoints(labels='{folders / 'where.json'}', tune=False)", folders / "joints",
                     random=False, beside=())  # fmt: skip
    (measured,) = found.dense.values()
    assert measured.names == ("l_a", "r_a")
    with pytest.raises(UserError, match="is an export, which cannot be trained, as segmentation asks; give the run"):
        evaluate(toy_export, "segmentation", folders / "masks")
    with pytest.raises(UserError, match="is an export, which cannot be trained"):
        evaluate(tiny_trunk(), "segmentation", folders / "masks", beside=[toy_export])


def test_ranks_beside_it_need_no_classes_either(asked):
    found = evaluate(tiny_trunk(), "rank, segmentation(tune=False)", random=False)
    assert (found.trained, list(found.dense), set(found.ranks["trained"])) == (
        {}, ["segmentation(tune=False)"], {"stage1", "stage2"},
    )  # fmt: skip


@pytest.mark.slow
def test_the_head_learns_once_and_what_is_known_is_read(tmp_path, monkeypatch, folders):
    """Trains the head and then all of a tiny network, a step each: three fits and two with the validation part."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of its own: others train networks, too
    fitted = []
    fit = candidates._fit

    def watch(lesson, candidate, network):
        fitted.append((candidate.name, lesson.folder.name, lesson.folder.parent.name))
        return fit(lesson, candidate, network)

    monkeypatch.setattr(candidates, "_fit", watch)
    model = tiny_trunk()
    before = [value.copy() for value in model.get_weights()]
    how = {"protocols": "segmentation(steps=1, batch_size=4, learning_rates=(0.01,))", "cache": True, "random": False}
    found = evaluate(model, data=folders / "masks", **how)
    names = [name for name, _, _ in fitted]
    assert names.count("frozen head") == 2  # and once more with the validation part
    assert 1 <= names.count("learning rate 0.01, weight decay 0.01") <= 2
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    (measured,) = found.dense.values()
    assert [each.score for each in measured.trained.values()] == pytest.approx(
        [each.figures["mIoU"] for each in measured.trained.values()]
    )
    kept = sorted(path.name for path in (cache_folder() / "networks").glob("*/*"))
    assert kept == ["chosen.json", "chosen.json", "lock", "lock", "test.npz", "test.npz"]
    fitted.clear()
    again = evaluate(model, data=folders / "masks", **how)
    assert fitted == []
    assert again.dense == found.dense


def test_the_command_of_the_page():
    page = Path(__file__).parents[2] / "docs/dense.md"
    if not page.is_file():
        pytest.skip("needs a checkout")
    (block,) = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    _, name, *words = shlex.split(block)
    values = cli.commands[name].make_context(name, words).params
    keys = cli.commands[name].settings.model_fields
    settings = cli.commands[name].settings(**{key: value for key, value in values.items() if key in keys})
    assert [str(each) for each in choose(settings.protocols)] == ["keypoints", "segmentation(tune=False)"]
    assert settings.beside == ("mobilenet_v3_small(weights='imagenet')",)


def score(value, low, high, ahead=None, **figures):
    return DenseScore(value, low, high, value, {"mIoU": value} | figures, ("step 1",), ahead=ahead)


def measured_of(subject, own, random, data="one"):
    return DenseMeasured(
        title="segmentation", target="segmentation", headline="mIoU", unit="%", lower=False, names=("a", "b"),
        subject=subject, data="data", train=80, held_out=16, test=20, trained={"frozen head": own},
        random={"frozen head": random}, details={"data": data},
    )  # fmt: skip


def test_words_and_tables():
    own = score(0.5, 0.45, 0.55, **{"IoU of a": 0.25})
    rival = score(0.4, 0.35, 0.45, Difference(0.1, 0.05, 0.15))
    measured = measured_of("mine", own, rival)
    assert measured.sentences() == [
        "Segmentation, the head alone on frozen features: mIoU 50.0 % (95 % interval 45.0 to 55.0) on 20 test pictures,"
        " on random features 40.0 %: pretraining puts it 10.0 points ahead (5.0 to 15.0)."
    ]
    assert measured.rows() == [
        ("segmentation", "mine", "frozen head", "mIoU 50.0 %", "45.0 to 55.0", "50.0 %", ""),
        ("segmentation", "random weights", "random features", "mIoU 40.0 %", "35.0 to 45.0", "40.0 %",
         "10.0 points ahead (5.0 to 15.0)"),
    ]  # fmt: skip
    table = dense_figures.all_figures({"segmentation": measured})["segmentation"]
    assert table.rows == [("mIoU", "50.0 %", "40.0 %"), ("IoU of a", "25.0 %", "")]
    (drawn,) = dense_figures.of_run({"segmentation": measured}).values()
    assert [row[2:] for row in drawn.rows] == [pytest.approx((50, 45, 55)), pytest.approx((40, 35, 45))]


def test_runs_side_by_side():
    rival = score(0.4, 0.35, 0.45, Difference(0.1, 0.05, 0.15))
    one, two = (measured_of(name, score(*own), rival) for name, own in (("x", (0.5, 0.4, 0.6)), ("y", (0.9, 0.8, 1))))
    sides = [("first", "#000000", {"segmentation": one}), ("second", "#000000", {"segmentation": two})]
    (said,) = dense_figures.sentences(sides)
    assert said == "By segmentation, the head alone, second has mIoU 90.0 %, first 50.0 %: 40.0 points ahead."
    near = dataclasses.replace(two, trained={"frozen head": score(0.55, 0.45, 0.65)})
    (said,) = dense_figures.sentences([sides[0], ("second", "#000000", {"segmentation": near})])
    assert said.endswith("5.0 points ahead, within the uncertainty of 14.1: no difference is shown.")
    apart = dataclasses.replace(two, details={"data": "another"})
    (said,) = dense_figures.sentences([sides[0], ("second", "#000000", {"segmentation": apart})])
    assert "cannot be held against each other" in said
    (drawn,) = dense_figures.of_runs(sides).values()
    assert [row[0] for row in drawn.rows] == [
        "first", "random weights of first", "second", "random weights of second",
    ]  # fmt: skip


def test_titles_of_one_target_are_told_apart(tmp_path):
    rival = score(0.4, 0.35, 0.45, Difference(0.1, 0.05, 0.15))
    measured = measured_of("mine", score(0.5, 0.4, 0.6), rival)
    dense_scores.write(tmp_path, {"segmentation": measured})
    dense_scores.write(tmp_path, {"segmentation(steps=5)": measured})
    found = dense_scores.read(tmp_path)
    assert [each.title for each in found.values()] == ["segmentation", "segmentation (steps=5)"]
    (tmp_path / "dense.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        dense_scores.read(tmp_path)


def test_compare_page(runs_with_places):
    first, second, folder = runs_with_places
    page = tfssl.report([first, second], to=folder / "compare.html")
    text = page.page.read_text(encoding="utf-8")
    assert "segmentation: mIoU, %, with 95" in text.replace("\u00a0", " ")
    assert any(said.startswith("By segmentation, the head alone, ") for said in page.sentences)


@pytest.fixture
def runs_with_places(toy_run, tmp_path):
    """Two runs, one of which was evaluated by classes, too."""
    made = []
    for name, own in (("first", 0.5), ("second", 0.7)):
        path = shutil.copytree(toy_run.folder, tmp_path / name)
        rival = score(0.4, 0.35, 0.45, Difference(0.1, 0.05, 0.15))
        dense_scores.write(path, {"segmentation": measured_of(name, score(own, own - 0.1, own + 0.1), rival)})
        made.append(path)
    (made[0] / "evaluation.json").write_text(json.dumps(EVALUATION.as_json()))
    return *made, tmp_path
