"""`finetune`: what is chosen, resumed, written; and what is refused."""

import dataclasses
import itertools
import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import precision_score, recall_score

import tfssl
from tfssl.base.errors import UserError
from tfssl.base.statistics import paired, student, wilson
from tfssl.downstream import candidates, network, optimizers, report
from tfssl.downstream.candidates import Candidate, Lesson, learn
from tfssl.downstream.choosing import choose
from tfssl.downstream.classes import Chosen, Classes, LogitSight
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.data import open_parts
from tfssl.downstream.measures import measure
from tfssl.downstream.results import Finetuned, Interval, Row
from tfssl.downstream.starts import open_start
from tfssl.downstream.target import Job
from tfssl.models.trunks import make_trunk
from tfssl.pipelines import batches
from tfssl.runs.classifiers import load_classifier
from tfssl.training import callbacks

# The first test of this file trains the classifier that most of them read, three times two steps: some 20 s.


def test_the_classifier_in_the_folder_is_what_was_measured(toy_classifier, labelled_folder):
    result = json.loads((toy_classifier / "result.json").read_text())
    model = keras.models.load_model(toy_classifier / "classifier.keras", compile=False)
    assert {type(layer).__module__.partition(".")[0] for layer in model._flatten_layers()} <= {"keras", "tfssl"}
    test = open_parts(labelled_folder, None, None, 0, 0.01).test
    (batch,) = batches.plain(test.source, 32, 100)
    shares = model.predict(batch["image"], verbose=0)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert result["chosen"]["top1"] == np.mean(shares.argmax(1) == test.labels)
    with np.load(toy_classifier / "test.npz") as kept:
        np.testing.assert_allclose(kept["probabilities"], shares, atol=1e-5)
    assert load_classifier(toy_classifier).classes == ("10", "2", "Été")


def test_the_choice_is_never_below_the_frozen_probe_on_validation(toy_classifier):
    for path in [toy_classifier / "chosen.json", *toy_classifier.glob("beside/*/chosen.json")]:
        chosen = json.loads(path.read_text())
        assert chosen["validation"] == max(chosen["candidates"].values()) >= chosen["candidates"]["frozen probe"]
    assert {path.name for path in toy_classifier.glob("beside/*")} == {"scratch-0"}
    (folder,) = toy_classifier.glob("candidates/learning*")
    kept = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 2]
    assert (folder / "metrics.jsonl").exists()


def test_the_page_says_what_came_out(toy_classifier):
    page = (toy_classifier / "report.html").read_text(encoding="utf-8")
    result = json.loads((toy_classifier / "result.json").read_text())
    for row in result["rows"]:
        assert f'<td class="number">{100 * row["score"]["mean"]:.1f}</td>' in page
    top1 = f"<b>{100 * result['chosen']['top1']:.1f}\u00a0%</b><span>top-1</span>"
    assert top1 in page
    assert "from scratch" in page
    assert re.search(r"<th[^>]*>labels</th>\s*<td[^>]*>all</td>", page)
    curves = 2 * (toy_classifier / "metrics.jsonl").exists()  # loss and accuracy; none of the frozen probe
    assert page.count("<svg viewBox=") == 2 + curves
    with np.load(toy_classifier / "test.npz") as kept:
        answers, named = kept["targets"].argmax(1), kept["probabilities"].argmax(1)
    recalls = recall_score(answers, named, average=None, labels=range(3), zero_division=np.nan)
    precisions = precision_score(answers, named, average=None, labels=range(3), zero_division=np.nan)
    for name, count, *shares in zip(result["classes"], np.bincount(answers), recalls, precisions, strict=True):
        right, where = ("" if np.isnan(share) else f"{100 * share:.1f}" for share in shares)
        row = "".join(f"<td[^>]*>{cell}</td>" for cell in (count, right, "[^<]*", where))
        assert re.search(f'<th scope="row">{name}</th>{row}', page)


def test_the_page_has_a_curve_over_labels():
    def row(kind, count, fraction, mean):
        return Row(kind, count, fraction, Interval(mean, mean - 0.1, mean + 0.2), None, (mean,))

    given = dict.fromkeys(field.name for field in dataclasses.fields(Finetuned))
    counts = (row("fine-tuned", 5, None, 0.4), row("scratch", 5, None, 0.3), row("fine-tuned", 20, None, 0.6))
    drawn = report._label_curve(Finetuned(**given | {"rows": counts}), "top-1")
    assert drawn.csv.splitlines() == [
        "network,labels a class,score %,95 % from,to",
        "fine-tuned,5,40,30,60",
        "fine-tuned,20,60,50,80",
        "from scratch,5,30,20,50",
    ]
    shares = (row("fine-tuned", None, 0.01, 0.4), row("fine-tuned", None, 0.1, 0.6))
    drawn = report._label_curve(Finetuned(**given | {"rows": shares}), "top-1")
    assert [line.split(",")[1] for line in drawn.csv.splitlines()] == ["% of the labels", "1", "10"]
    assert report._label_curve(Finetuned(**given | {"rows": shares[:1]}), "top-1") is None


def test_the_sentence_has_paired_intervals(toy_classifier):
    result = json.loads((toy_classifier / "result.json").read_text())
    with np.load(toy_classifier / "test.npz") as one, np.load(toy_classifier / "beside/scratch-0/test.npz") as other:
        right, rival = (each["probabilities"].argmax(1) == each["targets"].argmax(1) for each in (one, other))
    row = next(row for row in result["rows"] if row["kind"] == "scratch")
    assert row["ahead"]["mean"] == pytest.approx(right.mean() - rival.mean())
    assert list(row["ahead"].values()) == pytest.approx(list(paired(right.astype(float), rival.astype(float))))
    main = result["rows"][0]
    assert (main["score"]["low"], main["score"]["high"]) == wilson(right.mean(), len(right))


def test_called_again_it_reads_what_is_done_and_refuses_other_settings(
    toy_run, toy_classifier, labelled_folder, tmp_path, monkeypatch
):
    out = shutil.copytree(toy_classifier, tmp_path / "copy")
    monkeypatch.setattr(candidates, "_fit", lambda *_: pytest.fail("it learns again"))
    settings = {"steps": 2, "batch_size": 8, "learning_rates": (0.003,), "beside": "scratch"}
    settings |= {"refit": False, "verbose": 0}
    result = tfssl.finetune(toy_run, labelled_folder, out=out, **settings)
    kept = json.loads((toy_classifier / "result.json").read_text())
    assert result.as_json() | {"folder": ""} == kept | {"folder": ""}
    assert "Fine-tuning names" in str(result)
    assert "from scratch" in str(result)
    with pytest.raises(UserError, match="classifier with steps 2, now 3 is given"):
        tfssl.finetune(toy_run, labelled_folder, out=out, **settings | {"steps": 3})
    with pytest.raises(UserError, match="other pictures or labels"):
        tfssl.finetune(toy_run, "toy:images(count=40, size=32)", out=out, **settings)


@pytest.fixture(scope="module")
def parts(labelled_folder):
    return open_parts(labelled_folder, None, None, 0, 0.01)


def settings_of(**changes):
    return FinetuneSettings(**{"run": "", "out": "x", "batch_size": 8, "verbose": 0} | changes)


@pytest.mark.slow
def test_interrupted_in_the_middle_of_an_epoch_it_ends_with_the_same_bits(toy_run, parts, tmp_path, monkeypatch):
    """Trains twice six steps: no shorter one is interrupted after a checkpoint and before a validation.

    And once three, without a validation part, as in the end: that gives what was measured after three.
    """
    monkeypatch.setattr(candidates, "VALIDATIONS", 2)
    start = open_start(toy_run, None, None, None)
    train, val = parts.train.divided(0)
    settings = settings_of(steps=6, checkpoint_every=2, log_every=1, mixup=0.3, colour=0.2, ema=0.5)

    def lesson(name, sight=True, stop=6):
        sight = LogitSight(val, 32) if sight else None
        stages = ("stage1", "stage2", "stage3", "stage4")
        how = {"settings": settings, "stop": stop, "size": 32, "stages": stages, "decay": 0.5}
        return Lesson(folder=tmp_path / name, part=train, sight=sight, target=Classes(), **how)

    def build():
        return network.build(start.trained.copy(), 32, "stage4", 3)

    whole, trained = learn(lesson("whole"), Candidate(0.01, 0.01), build)
    plain = callbacks.StopWhenNotFinite.on_train_batch_end

    def fail(self, batch, logs=None):
        plain(self, batch, logs)
        if self._steps.done == 5:
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopWhenNotFinite, "on_train_batch_end", fail)
        with pytest.raises(RuntimeError, match="plug"):
            learn(lesson("resumed"), Candidate(0.01, 0.01), build)
    resumed, again = learn(lesson("resumed"), Candidate(0.01, 0.01), build)
    assert (again.step, again.measure) == (trained.step, trained.measure)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    texts = [(tmp_path / name / "validation.jsonl").read_text() for name in ("whole", "resumed")]
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) == 2
    short, _ = learn(lesson("short", sight=False, stop=3), Candidate(0.01, 0.01), build)
    sight = LogitSight(val, 32)
    found = measure(sight.logits(short), sight.targets, False)
    assert json.loads(texts[0].splitlines()[0]) == {"step": 3, "score": found.score, "loss": pytest.approx(found.loss)}


def test_several_labels_have_a_probability_each(toy_run, labelled_folder, tmp_path):
    """One of the pictures breaks off in its middle."""
    table, folder = tmp_path / "labels.csv", shutil.copytree(labelled_folder, tmp_path / "labelled")
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    data = (folder / names[0]).read_bytes()
    (folder / names[0]).write_bytes(data[: len(data) // 2])
    table.write_text("".join(f"{name},{name.parts[0]}{';even' * (number % 2)}\n" for number, name in enumerate(names)))
    parts = open_parts(folder, table, None, 0, 0.01)
    train, val = parts.train.divided(0)
    start = open_start(toy_run, None, None, None)
    job = Job(folder=tmp_path / "probe", start=start, random=False, only_probe=True, train=train, val=val,
              test=parts.test, whole=parts.train, target=Classes(several=True))  # fmt: skip
    chosen = choose(job, settings_of(max_broken=0.02))
    lost = str(folder / names[0]) in parts.test.source.paths
    assert chosen.shares.shape == (parts.test.count - lost, 4)
    assert chosen.broken == 1
    assert 0 < chosen.map <= 1
    assert chosen.candidates == {"frozen probe": chosen.validation}
    assert chosen.train == parts.train.count
    model = keras.models.load_model(tmp_path / "probe" / "classifier.keras", compile=False)
    (batch,) = batches.plain(parts.test.source, 32, 100)
    np.testing.assert_allclose(model(batch["image"][batch["valid"]]), chosen.shares, atol=1e-5)


def test_batch_norm_in_test_mode_keeps_its_statistics_and_learns_its_scale():
    images = tf.cast(tf.random.stateless_uniform([4, 32, 32, 3], [0, 0], 0, 256, tf.int32), tf.uint8)
    layers = [keras.layers.Conv2D(2, 3, use_bias=False, name="stage1"), keras.layers.BatchNormalization(name="stage2")]
    others = keras.Sequential([keras.Input((32, 32, 3)), *layers])  # with Keras's own batch norm
    trunks = [make_trunk(given, 32) for given in ("plain(width=2)", others)]
    for trunk, test_mode in itertools.product(trunks, (True, False)):
        model = network.build(trunk.copy(), 32, "stage2", 3, test_mode, freeze="stage1")
        before = [v.numpy() for v in model.non_trainable_variables]
        model({"pixels": images}, training=True)
        same = [np.array_equal(a, v.numpy()) for a, v in zip(before, model.non_trainable_variables, strict=True)]
        assert all(same) == test_mode
        names = {v.path.split("/")[-1] for v in model.trainable_variables}
        assert names == {"gamma", "beta", "kernel", "bias"}


def test_earlier_stages_learn_more_slowly():
    """A step of SGD with the gradient 1 moves each variable by its learning rate."""
    trunk = make_trunk("plain(width=2)", 32)
    model = network.build(trunk, 32, "stage3", 3)
    rates = network.scales(model, trunk.stages, 0.5)
    of = dict(zip([v.path for v in model.trainable_variables], rates, strict=True))
    stages = {
        stage: {v.path for v in keras.Model(trunk.body.inputs, trunk.body.get_layer(stage).output).trainable_variables}
        for stage in ("stage1", "stage2", "stage3")
    }
    assert {of[path] for path in stages["stage1"]} == {0.25}
    assert {of[path] for path in stages["stage2"] - stages["stage1"]} == {0.5}
    assert {of[path] for path in stages["stage3"] - stages["stage2"]} == {1.0} == {of["logits/kernel"]}
    for name in ("sgd", "adamw"):
        optimizer = optimizers.make_optimizer(name, model, rates, 0.0, None)
        optimizer.learning_rate = 0.1
        before = [v.numpy() for v in model.trainable_variables]
        optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)
        for old, rate, variable in zip(before, rates, model.trainable_variables, strict=True):
            moved = 0.1 * rate * (1.9 if name == "sgd" else 1.0)  # Nesterov: g + 0.9 g
            np.testing.assert_allclose(old - variable.numpy(), moved, rtol=1e-3)


def test_a_file_of_a_trunk_and_a_name_will_do(toy_run, toy_export, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    wanted = toy_run.trunk()(images)
    start = open_start(toy_run.folder / "encoder.keras", None, None, None)
    assert (start.size, start.stage) == (32, "stage4")
    np.testing.assert_allclose(start.trained(images), wanted, rtol=1e-5)
    assert np.abs(start.random(images) - wanted).max() > 1e-3
    body = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, name="stage1")])
    body.save(tmp_path / "own.keras")
    own = open_start(None, tmp_path / "own.keras", None, None)
    assert (own.size, own.stage) == (16, "stage1")
    name = open_start(None, "plain(width=2)", None, "stage2")
    assert (name.size, name.stage, name.trained) == (96, "stage2", None)
    for run, said in ((toy_export, "is an export, which cannot be trained"), ("resnet10", "give it as --trunk")):
        with pytest.raises(UserError, match=said):
            open_start(run, None, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": None}, "DATA is missing"),
        ({"trunk": "resnet10"}, "give one of them"),
        ({"stage": "stage9"}, "--stage stage9 is given; the trunk's stages are: stage1"),
        ({"freeze": "stage9"}, "--freeze stage9"),
        ({"draws": 2}, "--draws 2 is given, but all labels"),
        ({"labels_per_class": 3, "fraction": 0.1}, "leave one out"),
        ({"learning_rates": "fast"}, "learning_rates='fast' is given"),
        ({"labels_per_class": "1"}, "no class has two pictures"),
        ({"run": "nowhere"}, "nowhere is no run"),
        ({"beside": "luck"}, "beside='luck' is given, expected one of: scratch, frozen, random"),
    ],
)
def test_what_is_wrong_gives_one_line_and_nothing_is_written(toy_run, labelled_folder, tmp_path, changes, said):
    given = {"run": toy_run, "data": labelled_folder} | changes
    with pytest.raises(UserError, match=said) as problem:
        tfssl.finetune(given.pop("run"), given.pop("data"), out=tmp_path / "out", verbose=0, **given)
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "out").exists()


def chosen_of(right, balanced=None):
    """A result whose test pictures were named right or not; of classes of equal numbers, where `balanced` is None."""
    targets = np.eye(2, dtype=np.float32)[np.zeros(len(right), int)]
    shares = np.where(np.array(right)[:, None], [0.9, 0.1], [0.2, 0.8]).astype(np.float32)
    fields = {field.name: 0 for field in dataclasses.fields(Chosen)}
    top1 = float(np.mean(right))
    fields |= {"candidates": {}, "test": len(right), "top1": top1, "shares": shares, "targets": targets}
    return Chosen(**fields | {"balanced": top1 if balanced is None else balanced})


def test_several_draws_have_students_interval_over_them(parts, tmp_path):
    rng = np.random.default_rng(0)
    amount, shares, rivals = (5, None), [], []
    chosen = {}
    for draw, share in enumerate((0.7, 0.6, 0.8)):
        right, rival = rng.uniform(size=50) < share, rng.uniform(size=50) < 0.4
        chosen["fine-tuned", amount, draw], chosen["scratch", amount, draw] = chosen_of(right), chosen_of(rival)
        shares.append(right.mean())
        rivals.append(rival.mean())
    result = Finetuned.of(tmp_path, parts, chosen)
    main, scratch = result.rows
    ahead = np.subtract(shares, rivals)
    half = student(2) * ahead.std(ddof=1) / np.sqrt(3)
    assert (scratch.ahead.mean, scratch.ahead.low) == pytest.approx((ahead.mean(), ahead.mean() - half))
    assert main.values == tuple(shares)
    sentence = (
        f"With 5 labels a class, fine-tuning names {100 * np.mean(shares):.1f} % right ({main.score}), from scratch"
        f" {100 * np.mean(rivals):.1f} %: pretraining gives {100 * ahead.mean():.1f} points ({scratch.ahead})."
    )
    assert result.sentences() == [sentence]


def test_where_classes_have_unequal_numbers_each_class_alike_is_told_beside(parts, tmp_path):
    """Few labels are drawn alike of each class: common classes of a test part would hide what the others gain."""
    right, rival = np.arange(100) < 60, np.arange(100) < 62
    chosen = {
        (kind, (5, None), draw): chosen_of(named, balanced + 0.02 * draw)
        for draw in range(2)
        for kind, named, balanced in (("fine-tuned", right, 0.5), ("frozen", rival, 0.3))
    }
    result = Finetuned.of(tmp_path, parts, chosen)
    main, frozen = result.rows
    assert (main.balanced, frozen.balanced) == pytest.approx((0.51, 0.31))
    assert result.sentences() == [
        f"With 5 labels a class, fine-tuning names 60.0 % right ({main.score}; 51.0 % where each class counts alike),"
        f" the probe of frozen features 62.0 % (31.0 %): fine-tuning gives -2.0 points ({frozen.ahead})."
    ]


def test_draws_that_are_all_the_same_have_the_interval_over_pictures(parts, tmp_path):
    rng = np.random.default_rng(1)
    right, rival = rng.uniform(size=60) < 0.7, rng.uniform(size=60) < 0.5
    chosen = {}
    for draw in range(2):
        chosen["fine-tuned", (5, None), draw], chosen["frozen", (5, None), draw] = chosen_of(right), chosen_of(rival)
    main, frozen = Finetuned.of(tmp_path, parts, chosen).rows
    assert (main.score.low, main.score.high) == wilson(right.mean(), 60)
    assert (frozen.ahead.low, frozen.ahead.high) == paired(right.astype(float).tolist(), rival.astype(float).tolist())[
        1:
    ]
