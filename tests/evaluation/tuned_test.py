"""Protocols that train the whole network: what is learned from which weights and labels, once, and what is said of it.

Most tests put answers in the place of training; the last ones train.
"""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

import tfssl
from tfssl.base.config import on_command_line
from tfssl.base.errors import UserError
from tfssl.base.files import cache_folder
from tfssl.downstream import candidates
from tfssl.downstream.classes import Chosen
from tfssl.downstream.config import Learning
from tfssl.evaluation import network_cache, notes, tuning
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.data import Data
from tfssl.evaluation.labelled import open_data
from tfssl.evaluation.probes import Probes
from tfssl.evaluation.protocols import choose, choose_probes, parse
from tfssl.evaluation.protocols.finetune import Finetune
from tfssl.evaluation.protocols.semisupervised import SemiSupervised
from tfssl.evaluation.protocols.supervised import Supervised
from tfssl.evaluation.protocols.tuned import labelled
from tfssl.frozen.subjects import open_subject
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.any_source import open_source, open_splits
from tfssl.runs.evaluation import Evaluation, Score, read_evaluation
from tfssl.training.callbacks import Stopped

DATA = "toy:images(count=100, size=32, seed=1)"  # ten of each class: 8 to learn from, 2 to test on


def tiny_trunk():
    """Two stages with batch norm: compiled in a second."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(4, 3, 4, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(name="stage1"),
            keras.layers.Conv2D(6, 3, 2, name="stage2"),
        ],
        name="mine",
    )


@pytest.fixture
def asked(monkeypatch):
    """What would have been trained; the answers are drawn, others for each."""
    jobs = []

    def answer(job, settings):
        jobs.append((job, settings))
        targets = job.test.targets
        rng = np.random.default_rng(len(jobs))
        shares = rng.dirichlet(np.ones(targets.shape[1]), len(targets)) + 0.3 * targets
        top1 = float((shares.argmax(1) == targets.argmax(1)).mean())
        validation = 0.25 + len(jobs) / 100
        return Chosen(
            name="learning rate 0.001", step=len(jobs), candidates={}, validation=validation, temperature=1.0,
            top1=top1, balanced=0.0, map=0.0, error_before=0.0, error_after=0.0,
            train=(job.whole or job.train).count, val=job.val.count, test=len(targets), broken=0,
            shares=shares, targets=targets, rows=np.arange(len(targets)),
        )  # fmt: skip

    monkeypatch.setattr(tuning, "choose", answer)
    return jobs


def evaluate(subject, protocols, data=DATA, **settings):
    settings = {"size": 32, "cache": False, "report": False} | settings
    return tfssl.evaluate(subject, data, protocols=protocols, **settings)


def names_of(part):
    return set(part.source.paths)


def test_settings_are_those_of_finetune():
    """All of them but what an evaluation decides itself, with the same defaults."""
    left_out = {"refit", "deterministic"}
    for protocol in (Finetune(), SemiSupervised(), Supervised(steps=1000)):
        wanted = {name: field.default for name, field in Learning.model_fields.items() if name not in left_out}
        assert protocol.learning == wanted
    assert Supervised().steps == 10_000
    settings = parse("finetune(steps=7, optimizer='sgd', ema=0.9)").settings("folder", 0.5)
    assert (settings.steps, settings.optimizer, settings.ema, settings.max_broken) == (7, "sgd", 0.9, 0.5)
    assert settings.refit


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("finetune(steps=0)", "finetune: steps=0 is given, expected at least 1"),
        ("finetune(learning_rates=0.1)", "finetune: learning_rates=0.1 is given, expected tuple"),
        ("finetune(learning_rates=())", "finetune: no --learning-rates or no --weight-decays are given"),
        ("scratch(labels=0)", "scratch: labels=0 is given, expected a whole number of 1 or more"),
        ("scratch(draws=0)", "scratch: draws=0 is given, expected a whole number of 1 or more"),
        ("semisupervised(fraction=1.5)", "semisupervised: fraction=1.5 is given, expected a number above 0, at most 1"),
        ("finetune(labels=5, fraction=0.1)", "finetune: labels=5 and fraction=0.1 are given; leave one of them out"),
        ("supervised(labels=5)", "supervised has no setting 'labels'"),
        ("finetune(optimizer='adam')", "finetune: optimizer='adam' is given, expected one of: adamw, sgd"),
    ],
)
def test_settings_that_are_refused(protocol, said):
    with on_command_line(), pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")) as problem:
        parse(protocol)
    assert "\n" not in str(problem.value)


def test_what_is_asked_for():
    assert [str(each) for each in choose("semisupervised(draws=2), finetune, knn")] == [
        "knn", "finetune", "semisupervised(fraction=0.1, draws=2)", "semisupervised(fraction=0.01, draws=2)",
    ]  # fmt: skip
    assert Supervised().facts.title == "supervised training, 10,000 steps"
    assert parse("supervised(steps=5, flip=False)").facts.title == "supervised training, 5 steps (flip=False)"
    with pytest.raises(UserError, match="finetune names no classes by frozen features"):
        choose_probes("knn, finetune")


def test_all_labels_are_divided_as_for_all_protocols(asked):
    """And learned from again once the choice is made."""
    found = evaluate("plain(width=2)", "finetune", split_seed=3)
    train, test, _ = open_splits(DATA, None, 3)
    learn, held_out = dividing.divide(train.labels, train.groups, 3)
    ((job, settings),) = asked
    assert [names_of(part) for part in (job.train, job.val, job.test, job.whole)] == [
        {train.paths[row] for row in learn}, {train.paths[row] for row in held_out}, set(test.paths), set(train.paths),
    ]  # fmt: skip
    np.testing.assert_array_equal(job.val.targets.argmax(1), train.labels[held_out])
    assert (job.random, job.only_probe, job.kept, settings.steps) == (True, False, False, 1000)
    score = found.trained["finetune"]["stage4"]
    assert (found.train_images, found.test_images, found.details["held_out_images"]) == (80, 20, 20)
    assert score.held_out == 0.26
    assert found.details["trained"] == {
        "finetune": {
            "labels": [80], "chosen_on": [20], "chosen": ["learning rate 0.001, step 1"], "top1": [score.top1],
        }
    }  # fmt: skip
    assert "finetune learned from 80 pictures; chosen on 20 of them: learning rate 0.001, step 1." in found.notes


def test_of_few_labels_what_chooses_is_a_fifth_of_them(asked, capsys):
    found = evaluate("plain(width=2)", "finetune(labels=5, draws=3, seed=4)")
    wholes = [names_of(job.whole) for job, _ in asked]
    assert len(asked) == len({frozenset(each) for each in wholes}) == 3
    for job, settings in asked:
        np.testing.assert_array_equal(job.whole.targets.sum(0), np.full(10, 5))
        assert names_of(job.train) | names_of(job.val) == names_of(job.whole)
        assert not names_of(job.train) & names_of(job.val)
        np.testing.assert_array_equal(job.val.targets.sum(0), np.ones(10))
        assert settings.seed == 4
    (score,) = found.trained["finetune(seed=4, labels=5)"].values()
    tops = found.details["trained"]["finetune(seed=4, labels=5)"]["top1"]
    assert score.top1 == pytest.approx(np.mean(tops))
    assert score.over_draws == pytest.approx(4.3027 * np.std(tops, ddof=1) / np.sqrt(3), rel=1e-4)
    assert score.held_out == pytest.approx(0.27)
    assert found.interval("finetune(seed=4, labels=5)", "stage4")[0] == pytest.approx(score.top1 - score.over_draws)
    assert "cost: at most 12 trainings, 600,000 pictures forward and back\n" in capsys.readouterr().err


def test_a_validation_part_of_the_data_chooses(asked, labelled_folder, tmp_path):
    """It is not learned from, and knows a class that training lacks."""
    files = sorted(labelled_folder.rglob("*.png"))
    for number, path in enumerate(files):
        part = ("train", "val", "test")[number % 3]
        label = "only here" if number == 1 else path.parent.name
        (tmp_path / part / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / part / label)
    found = evaluate("plain(width=2)", "scratch, scratch(fraction=0.5, draws=1)", tmp_path)
    (all_labels, _), (half, _) = asked
    assert all_labels.whole is half.whole is None
    assert all_labels.val.count == half.val.count == 19
    assert half.train.count == pytest.approx(all_labels.train.count / 2, abs=1.5)
    assert "scratch learned from 20 pictures; chosen on 19 of" in found.notes[1]
    assert found.train_images == 20


@pytest.mark.slow
def test_what_is_the_same_is_trained_once(asked, toy_run, tmp_path, capsys):
    """The random weights beside fine-tuning are those of `scratch`, and `supervised` of as many steps is that too."""
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    found = evaluate(run, "finetune, scratch, supervised(steps=1000), supervised(steps=5)")
    assert [job.random for job, _ in asked] == [False, True, True]
    assert [settings.steps for _, settings in asked] == [1000, 1000, 5]
    scratch = found.trained["scratch"]
    assert found.random == {"finetune": scratch}
    assert found.trained["supervised(steps=1000)"] == scratch != found.trained["finetune"]
    assert asked[0][0].start.trained is not None
    differences = found.trained["finetune"]["stage4"].right - scratch["stage4"].right
    half = 1.959964 * differences.std(ddof=1) / np.sqrt(20)
    wanted = (differences.mean(), differences.mean() - half, differences.mean() + half)
    assert found.trained["finetune"]["stage4"].gain == pytest.approx(wanted, abs=1e-6)
    assert scratch["stage4"].gain is None
    said = capsys.readouterr().err
    assert "finetune: 80 labels, 20 pictures to choose on; 8 trainings of 1,000 steps at most\n" in said
    assert "scratch: 80 labels, 20 pictures to choose on; all is known or trained above\n" in said
    assert "cost: at most 12 trainings, 513,280 pictures forward and back\n" in said
    # No stage is chosen by it, so that it leaves alone what chose one.
    assert not (run.folder / "evaluation.json").exists()
    assert read_evaluation(run.folder, kind="trained") == found
    assert "best_layer" not in found.as_json()
    asked.clear()
    evaluate("plain(width=2)", "finetune, scratch, supervised(steps=1000)")
    assert [job.random for job, _ in asked] == [True]
    asked.clear()
    evaluate(run, "finetune, knn", random=False, epoch=None)
    assert [job.random for job, _ in asked] == [False]


def test_a_rival_is_trained_too_and_the_difference_is_paired(asked):
    found = evaluate("plain(width=2)", "finetune(steps=3)", beside=[tiny_trunk()], random=False)
    own, (rival,) = found.trained["finetune(steps=3)"]["stage4"], found.beside
    other = rival.scores["finetune(steps=3)"]["stage2"]
    differences = own.right - other.right
    half = 1.959964 * differences.std(ddof=1) / np.sqrt(20)
    wanted = (differences.mean(), differences.mean() - half, differences.mean() + half)
    assert dataclasses.astuple(rival.ahead["finetune(steps=3)"]) == pytest.approx(wanted, abs=1e-6)
    assert [job.start.stage for job, _ in asked] == ["stage4", "stage2"]
    assert [job.random for job, _ in asked] == [True, False]
    assert f"mine {100 * other.top1:.1f} % (stage2): " in found.sentences()[-1]


@pytest.mark.slow
def test_of_several_draws_the_difference_to_a_rival_is_paired_draw_by_draw(asked):
    protocol = "finetune(labels=5)"  # drawn three times
    found = evaluate("plain(width=2)", protocol, beside=[tiny_trunk()], random=False)
    details = found.details["trained"]
    (rival,) = found.beside
    own, others = details[protocol]["top1"], details["beside"][rival.name][protocol]["top1"]
    differences = np.subtract(own, others)
    half = 4.302653 * differences.std(ddof=1) / np.sqrt(3)
    wanted = (differences.mean(), differences.mean() - half, differences.mean() + half)
    assert dataclasses.astuple(rival.ahead[protocol]) == pytest.approx(wanted, rel=1e-5)
    again = Evaluation.from_json(found.as_json())
    assert (again.trained, again.beside) == (found.trained, found.beside)


@pytest.mark.parametrize(
    ("protocols", "said"),
    [
        ("finetune(stage='stage9')", "finetune: stage stage9 is given; the trunk's stages are: stage1, stage2"),
        ("scratch(freeze='stage9')", "scratch: freeze stage9 is given; the trunk's stages are: stage1, stage2"),
        (
            "finetune(labels=50)",
            r"the largest class has 8 training pictures, and finetune\(labels=50\) draws 50 of each",
        ),
        ("finetune(labels=1)", r"no class gives finetune\(labels=1\) two pictures, one of which could be held out"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(asked, protocols, said):
    with pytest.raises(UserError, match=said) as problem:
        evaluate("plain(width=2)", protocols)
    assert "\n" not in str(problem.value)
    assert asked == []


def test_what_training_has_too_few_labels_for_is_left_out(asked):
    found = evaluate("plain(width=2)", "semisupervised, finetune(labels=50), finetune(labels=2, draws=1)")
    assert list(found.trained) == ["finetune(labels=2, draws=1)"]
    left_out = [note for note in found.notes if note.startswith("Left out, as ")]
    assert ["50 of each" in note for note in left_out] == [True, False, False]


def test_an_export_is_left_out(asked, toy_export):
    with pytest.raises(UserError, match="is an export, which cannot be trained, as finetune asks; give the run, or"):
        evaluate(toy_export, "finetune")
    with pytest.raises(UserError, match="is an export, which cannot be trained"):
        evaluate("plain(width=2)", "finetune", beside=[toy_export])
    assert asked == []
    name, export = open_subject("plain(width=2)", 32), open_subject(toy_export)
    settings = EvaluateSettings(subject="", data="")
    data, _ = open_data(EvaluateSettings(subject="", data=DATA))
    plans = tuning.Tuning([Finetune(), Finetune(steps=3)], data, settings)
    plans.plan(name, [export], random=True)
    assert plans.scores(export) == {}
    probes = Probes(
        protocols=choose("linear, knn"), size=32, numbers=64, grid=None, batch_size=8, max_broken=0.0, frames=1
    )
    (note,) = notes.of_subject(export, probes, plans.protocols)
    assert note.endswith("to read: linear; left out, as it cannot be trained: finetune, finetune(steps=3).")


def test_sentences_and_table():
    scores = {"linear": {"stage1": Score(0.4, 0.4, held_out=0.5), "stage2": Score(0.5, 0.5, held_out=0.4)}}
    few = parse("finetune(labels=5)")
    scores |= {
        "finetune": {"stage2": Score(0.7, 0.6, 0.65, 0.6, gain=(0.1, 0.075, 0.125))},
        str(few): {"stage2": Score(0.5, 0.4, over_draws=0.1, gain=(0.05, -0.01, 0.11))},
    }
    random = {"finetune": {"stage2": Score(0.6, 0.5)}, str(few): {"stage2": Score(0.45, 0.3, over_draws=0.1)}}
    facts = {str(each): each.facts for each in (*choose("linear, finetune"), few)}
    made = Evaluation(trained=scores, random=random, protocols=facts, train_images=9, test_images=1000,
                      classes=("a", "b"), details={"grid": {"stage1": 1, "stage2": 1}})  # fmt: skip
    assert Evaluation.from_json(json.loads(json.dumps(made.as_json()))) == made
    *_, one, other = made.sentences()
    assert one == (
        "Fine-tuning, up to stage2, names 70.0 % of the 1,000 test images right (95 % interval 67.1 to 72.8 %), from"
        " random weights 60.0 %: pretraining puts it 10.0 points ahead (7.5 to 12.5)."
    )
    assert other == (
        "Fine-tuning (labels=5), up to stage2, names 50.0 % of the 1,000 test images right (95 % interval over draws of"
        " the labels 40.0 to 60.0 %), from random weights 45.0 %: pretraining puts it 5.0 points ahead (-1.0 to 11.0),"
        " within the uncertainty."
    )
    assert (made.best_stage, made.stage_to_export()) == ("stage1", "stage1")  # by features alone
    assert made.measured_as_exported("stage2") == ("linear",)
    row = next(line for line in str(made).splitlines() if line.startswith("fine-tuning  "))
    assert row.split() == [
        "fine-tuning",
        "stage2",
        "70.0",
        "+-",
        "2.8",
        "60.0",
        "+-",
        "3.0",
        "65.0",
        "-",
        "60.0",
        "50.0",
        "60.0",
    ]
    alone = dataclasses.replace(made, trained={"finetune": scores["finetune"]})
    assert alone.sentences() == [f"{one[:-1]}; always naming the commonest of the 2 classes would get 0.0 %."]


def test_a_network_that_is_interrupted_says_that_it_is_saved_only_where_it_is(monkeypatch):
    def stop(job, settings):
        (job.folder / "half").touch()
        raise Stopped(3, 10)

    monkeypatch.setattr(tuning, "choose", stop)
    with pytest.raises(Stopped):
        evaluate(tiny_trunk(), "finetune(steps=10)", random=False, cache=True)
    (kept,) = (cache_folder() / "networks").glob("*/half")
    with pytest.raises(KeyboardInterrupt) as problem:
        evaluate(tiny_trunk(), "finetune(steps=10)", random=False)
    assert not isinstance(problem.value, Stopped)
    assert kept.exists()


def test_two_at_once_do_not_train_in_one_folder():
    with network_cache.folder_of("key", keep=True) as one, network_cache.folder_of("key", keep=True) as other:
        assert one.parent == cache_folder() / "networks"
        for folder in (one, other):
            (folder / "chosen.json").touch()
            (folder / "candidates").mkdir()
    assert [path.name for path in sorted(one.iterdir())] == ["chosen.json", "lock"]
    assert not other.exists()
    assert network_cache.is_known("key")
    with network_cache.folder_of("key", keep=True) as again:
        assert again == one


def test_labels_without_a_class_in_training_are_no_help_in_choosing():
    source = open_source(DATA)
    unknown = dataclasses.replace(source, labels=np.where(source.labels == 3, -1, source.labels))
    part = labelled(unknown)
    assert part.count == 90
    np.testing.assert_array_equal(part.targets.argmax(1), source.labels[source.labels != 3])


@pytest.mark.slow
def test_it_is_what_finetune_finds_on_the_validation_part(toy_run, toy_classifier, labelled_folder, tmp_path):
    """Same labels, same division, same candidates, same steps; and called again it reads what is known.

    Trains four networks of two steps each, as no fewer are what the classifier is beside the one from scratch.
    """
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    before = [variable.numpy() for variable in run.trunk().body.variables]
    protocol = "finetune(steps=2, batch_size=8, learning_rates=(0.003,))"
    found = tfssl.evaluate(run, labelled_folder, protocols=protocol)
    for score, folder in ((found.trained, toy_classifier), (found.random, toy_classifier / "beside" / "scratch-0")):
        kept = json.loads((folder / "chosen.json").read_text())
        ((stage, own),) = score[protocol].items()
        assert (stage, own.held_out) == ("stage4", kept["validation"])
        assert kept["test"] == found.test_images
    assert found.details["trained"][protocol]["labels"] == [found.train_images]
    for old, new in zip(before, tfssl.load_run(run.folder).trunk().body.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Trained on, beside the same from random weights" in page
    assert '<th scope="row">fine-tuning (steps=2, batch_size=8, learning_rates=(0.003,))</th><td>stage4</td>' in page
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "_fit", lambda *_: pytest.fail("it learns again"))
        again = tfssl.evaluate(run, labelled_folder, protocols=protocol, report=False)
    assert again.trained == found.trained
    assert again.notes == found.notes


@pytest.mark.slow
def test_a_copy_is_trained_and_the_subject_stays(monkeypatch):
    """Its weights, batch norm and what is measured of it after; the copy does learn, two steps twice."""
    model, learned = tiny_trunk(), []
    before = [value.copy() for value in model.get_weights()]
    fit = candidates._fit

    def watch(lesson, candidate, network):
        started = [value.copy() for value in network.get_weights()]
        speed = fit(lesson, candidate, network)
        learned.append(max(np.abs(a - b).max() for a, b in zip(started, network.get_weights(), strict=True)))
        return speed

    monkeypatch.setattr(candidates, "_fit", watch)
    protocol = "finetune(steps=2, learning_rates=(0.01,))"
    found = evaluate(model, f"linear_pooled, {protocol}", random=False)
    assert learned[0] > 1e-3
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.trainable for layer in model.layers)
    alone = evaluate(model, "linear_pooled", random=False)
    assert alone.trained["linear_pooled"] == found.trained["linear_pooled"]
    score = found.trained[protocol]["stage2"]
    assert score.right.mean() == pytest.approx(score.top1)
    assert all(0 <= share <= 1 for share in (score.top1, score.map, score.balanced, score.held_out))


def test_the_division_is_that_of_the_data():
    train, test, _ = open_splits(DATA, None, 0)
    data = Data(train, test, None, 5)
    (draw,) = Finetune().draws_of(data)
    numbers, held_out = dividing.divide(train.labels, train.groups, data.seed)
    assert names_of(draw.val) == {train.paths[row] for row in held_out}
    assert (draw.train.count, draw.whole.count) == (len(numbers), 80)
    assert names_of(draw.test) == set(test.paths)
