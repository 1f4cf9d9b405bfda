import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import recall_score

from tfssl.base.errors import UserError
from tfssl.base.statistics import wilson
from tfssl.evaluation import labelled, scoring
from tfssl.evaluation.data import Division
from tfssl.evaluation.protocols import choose, logistic
from tfssl.evaluation.protocols.base import Rows, Split, splits_of
from tfssl.evaluation.protocols.goyal import linear_probe
from tfssl.evaluation.protocols.linear import Linear
from tfssl.frozen import features, metrics
from tfssl.frozen.nearest import nearest_neighbours
from tfssl.models.trunks.pooling import embedded
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.evaluation import Evaluation, Score, best_stage, read_evaluation


def blobs(count, dimension, classes, seed, spread=1.0, centre_seed=0):
    """Rows around one centre a class, columns of very different scale and offset; float32 [count, dimension]."""
    centres = np.random.default_rng(centre_seed).normal(size=(classes, dimension))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.int32)
    rows = centres[labels] + spread * rng.normal(size=(count, dimension))
    return (rows * np.geomspace(0.05, 20, dimension) + np.linspace(-50, 50, dimension)).astype(np.float32), labels


def small_trunk(channels=(4, 6)):
    """Two stages with batch norm: the shape of a trunk, seconds to build."""
    images = keras.Input((None, None, 3), dtype="uint8")
    pixels = keras.Model(images, keras.layers.Rescaling(1 / 127.5, -1.0)(images), name="pixels")
    x = inputs = keras.Input((None, None, 3))
    for number, filters in enumerate(channels, 1):
        x = keras.layers.Conv2D(filters, 3, 2, "same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU(name=f"stage{number}")(x)
    stages = tuple(f"stage{number}" for number in range(1, len(channels) + 1))
    return SimpleNamespace(pixels=pixels, body=keras.Model(inputs, x, name="body"), stages=stages)


def batches_of(images, valid, batch_size):
    rows = {"image": images, "valid": valid, "index": np.arange(len(images), dtype=np.int64)}
    return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("side", "channels", "grid"),
    # conv1 to res5 of ResNet-50 at 224 pixels, in Goyal et al. 2019; then the stages of a small network at 32.
    [(112, 64, 12), (56, 256, 6), (28, 512, 4), (14, 1024, 3), (7, 2048, 2), (32, 32, 16), (4, 256, 4), (7, 10000, 1)],
)
def test_grid_is_the_published_one(side, channels, grid):
    assert features.choose_grid(side, channels) == grid


@pytest.mark.parametrize(("side", "grid"), [(8, 4), (7, 2), (14, 3), (5, 5), (16, 12), (6, 1)])
def test_pooling_averages_windows_that_cover_the_map(side, grid):
    values = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    expected = np.zeros((2, grid, grid, 3), np.float32)
    for row in range(grid):
        for column in range(grid):
            top, bottom = int(np.floor(row * side / grid)), int(np.ceil((row + 1) * side / grid))
            left, right = int(np.floor(column * side / grid)), int(np.ceil((column + 1) * side / grid))
            expected[:, row, column] = values[:, top:bottom, left:right].mean((1, 2))
    maps = keras.Input((side, side, 3))
    found = keras.Model(maps, embedded(maps, grid))(values).numpy()
    np.testing.assert_allclose(found, expected.reshape(2, -1), atol=1e-6)


def test_extraction_drops_broken_rows_and_changes_no_variable():
    trunk = small_trunk()
    model = features.stage_model(trunk, 16)
    before = [variable.numpy() for variable in model.variables]
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3)).astype(np.uint8)
    valid = np.array([True, False, True, True, True, True, True, False, True, True])
    assert features.grids_of(model, numbers=50) == {"stage1": 3, "stage2": 2}
    assert features.grids_of(model, grid=100) == {"stage1": 8, "stage2": 4}
    extractor = features.make_extractor(model, {"stage1": (3,), "stage2": (1, 2)})
    found = features.extract(extractor, batches_of(images, valid, 4), 10)
    assert found.broken == 2
    np.testing.assert_array_equal(found.rows, np.flatnonzero(valid))
    expected = trunk.body(trunk.pixels(images[valid]), training=False).numpy()
    np.testing.assert_allclose(found.stages["stage2"][1], expected.mean((1, 2)), atol=2e-3)
    quarters = expected.reshape(8, 2, 2, 2, 2, 6).mean((2, 4)).reshape(8, -1)
    np.testing.assert_allclose(found.stages["stage2"][2], quarters, atol=2e-3)
    assert found.stages["stage1"][3].shape == (8, 3 * 3 * 4)
    assert found.stages["stage1"][3].dtype == np.float16
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_features_that_are_not_finite_are_refused():
    trunk = small_trunk()
    trunk.body.layers[1].set_weights([np.full(trunk.body.layers[1].get_weights()[0].shape, np.nan, np.float32)])
    extractor = features.make_extractor(features.stage_model(trunk, 8), {"stage1": (1,)})
    batches = batches_of(np.ones((2, 8, 8, 3), np.uint8), np.ones(2, bool), 2)
    with pytest.raises(UserError, match="stage1 hold numbers that are not finite"):
        features.extract(extractor, batches, 2)


@pytest.mark.parametrize(("count", "spread"), [(900, 1.0), (900, 2.5)])
def test_linear_probe_is_as_good_as_logistic_regression(count, spread):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, labels = blobs(count, 20, 5, seed=1, spread=spread)
    test, answers = blobs(1000, 20, 5, seed=2, spread=spread)
    scaler = StandardScaler().fit(train)
    reference = LogisticRegression(C=1 / (1e-4 * count), max_iter=2000).fit(scaler.transform(train), labels)
    expected = reference.score(scaler.transform(test), answers)
    scores = linear_probe(train.astype(np.float16), labels, test.astype(np.float16), 5)
    assert abs(metrics.top1(scores, answers) - expected) < 0.015
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    # float16 rounds columns with an offset of 50 and a spread of 0.05 coarsely, so probabilities agree roughly.
    exact = linear_probe(train, labels, test, 5)
    assert np.abs(exact - reference.predict_proba(scaler.transform(test))).mean() < 0.02


def test_linear_probe_is_the_same_for_the_same_seed_and_survives_dead_columns():
    train, labels = blobs(300, 10, 3, seed=1)
    train[:, 3] = 0
    first, again, other = (linear_probe(train, labels, train[:50], 3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    assert np.isfinite(first).all()


@pytest.mark.parametrize(("rows", "columns", "kept"), [(60, 200, 1 << 31), (300, 12, 1 << 31), (300, 90, 0)])
def test_logistic_regression_is_that_of_scikit_learn(monkeypatch, rows, columns, kept):
    """With more columns than rows and with fewer, than axes too; kept in memory and not; in float16, as features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    monkeypatch.setattr(logistic, "KEPT", kept)
    monkeypatch.setattr(logistic, "CHUNK", 64)
    monkeypatch.setattr(logistic, "SAMPLE", 100)
    train, labels = blobs(rows, columns, 4, seed=1, spread=4)
    labels[labels == 2] = 0  # a class without rows
    train, test = train.astype(np.float16), blobs(200, columns, 4, seed=2, spread=4)[0].astype(np.float16)
    scaler = StandardScaler().fit(train.astype(np.float64))
    reference = LogisticRegression(C=1 / (0.03 * rows), max_iter=5000, tol=1e-8)
    expected = reference.fit(scaler.transform(train), labels).predict_proba(scaler.transform(test))
    found = logistic.fit(train, labels, 4, penalty=0.03).scores(test)
    assert not found[:, 2].any()
    np.testing.assert_allclose(found[:, [0, 1, 3]], expected, atol=5e-3)


def test_logistic_regression_is_the_same_on_one_core_and_on_many(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    features = rng.normal(size=(500, 20)).astype(np.float32) + labels[:, None] * 0.3
    monkeypatch.setattr(logistic, "CHUNK", 64)
    found = []
    for cores, small in ((1, 0), (3, 0), (3, logistic.SMALL)):  # on one thread, on three, and handed to none
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(logistic, "SMALL", small)
        found.append(logistic.fit(features, labels, 3, penalty=0.01))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].kernel, other.kernel)
        np.testing.assert_array_equal(found[0].bias, other.bias)


def test_the_penalty_is_that_of_least_loss_on_held_out_rows():
    train, labels = blobs(200, 30, 4, seed=1, spread=6)
    held_out, answers = blobs(100, 30, 4, seed=2, spread=6)
    losses = {}
    for penalty in logistic.PENALTIES:
        shares = logistic.fit(train, labels, 4, penalty).scores(held_out)
        losses[penalty] = -np.log(shares[np.arange(100), answers]).mean()
    best = min(losses, key=losses.get)
    splits = [Split(np.arange(200), Rows(held_out, answers))]
    chosen = logistic.fit_with_chosen_penalty(train, labels, 4, splits)
    assert chosen.penalty == best
    assert logistic.PENALTIES[0] > best > logistic.PENALTIES[-1]
    expected = logistic.fit(train, labels, 4, best).scores(held_out)
    np.testing.assert_allclose(chosen.scores, expected, atol=2e-3)
    np.testing.assert_allclose(chosen.fitted.scores(held_out), expected, atol=2e-3)


def test_of_few_rows_each_is_held_out_once_and_of_many_a_fifth():
    labels, groups = np.repeat([0, 1, 2], [60, 39, 1]), np.arange(100) // 3
    division = Division.of(labels, groups, seed=3)
    assert len(division.folds) == 5
    assert len(set(division.held_out)) == len(division.held_out) == 99  # the only group of class 2 is always learned
    for learn, held_out in division.folds:
        assert sorted([*learn, *held_out]) == list(range(100))
        assert not set(groups[learn]) & set(groups[held_out])
        assert set(labels[learn]) == {0, 1, 2}
        assert abs(np.mean(labels[held_out]) - 39 / 99) < 0.12
    (fold,) = Division.of(np.arange(1000) % 2, np.arange(1000), seed=3).folds
    assert len(fold.held_out) == 200
    assert Division.of(np.arange(5), np.arange(5), seed=3).folds == ()


def test_with_several_folds_the_penalty_is_that_of_least_loss_over_all_of_them():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, labels = blobs(150, 30, 4, seed=1, spread=6)
    test, _ = blobs(50, 30, 4, seed=2, spread=6)
    division = Division.of(labels, np.arange(150), seed=0)
    scaler = StandardScaler().fit(train)
    shares = {}
    for penalty in logistic.PENALTIES:
        shares[penalty] = np.concatenate(
            [
                LogisticRegression(C=1 / (penalty * len(learn)), max_iter=5000, tol=1e-8)
                .fit(scaler.transform(train[learn]), labels[learn])
                .predict_proba(scaler.transform(train[held_out]))
                for learn, held_out in division.folds
            ]
        )
    answers = labels[division.held_out]
    best = min(shares, key=lambda penalty: -np.log(shares[penalty][np.arange(150), answers] + 1e-12).mean())
    found = Linear().answers(Rows(train, labels), division, test, 4)
    np.testing.assert_allclose(found.held_out, shares[best], atol=5e-3)
    np.testing.assert_allclose(found.test, logistic.fit(train, labels, 4, best).scores(test), atol=2e-3)
    score = Linear().score(Rows(train, labels), division, Rows(test, labels[:50]), 4)
    assert score.held_out == np.mean(shares[best].argmax(1) == answers)


def test_choices_are_made_on_held_out_rows_and_all_rows_learned_from():
    train, labels = blobs(100, 30, 4, seed=1, spread=3)
    test, _ = blobs(50, 30, 4, seed=2, spread=3)
    division = Division.of(labels, np.arange(100) // 2, seed=3)
    found = Linear().answers(Rows(train, labels), division, test, 4)
    chosen = logistic.fit_with_chosen_penalty(train, labels, 4, splits_of(Rows(train, labels), division, None))
    np.testing.assert_array_equal(found.held_out, chosen.scores)
    np.testing.assert_array_equal(found.test, chosen.fitted.scores(test))
    expected = logistic.fit(train, labels, 4, chosen.penalty).scores(test)
    np.testing.assert_allclose(found.test, expected, atol=2e-3)
    learn, held_out = (Rows(train, labels).take(numbers) for numbers in division.folds[0])
    apart = Linear().answers(learn, None, test, 4, held_out)
    chosen = logistic.fit_with_chosen_penalty(*learn, 4, [Split(np.arange(len(learn.labels)), held_out)])
    np.testing.assert_array_equal(apart.test, chosen.fitted.scores(test))
    single = Linear().answers(Rows(train[:4], np.arange(4)), Division.of(np.arange(4), np.arange(4), 0), test, 4)
    assert single.held_out is None
    np.testing.assert_array_equal(single.test, logistic.fit(train[:4], np.arange(4), 4, logistic.USUAL).scores(test))


def test_stages_are_chosen_by_what_was_held_out():
    scores = {"stage1": Score(0.9, 0.5, held_out=0.6), "stage2": Score(0.7, 0.5, held_out=0.8)}
    evaluation = dataclasses.replace(evaluation_of([0.5], [0.5]), trained={"linear": scores}, random={"linear": scores})
    assert evaluation.best_stage == "stage2"
    assert evaluation.sentences()[0].startswith("The stage that held-out pictures choose is stage2: linear probe on")
    assert "the stage chosen alike of the same trunk with random weights (stage2, 70.0 %)" in evaluation.sentences()[1]
    assert "Choices are made by held out alone." in str(evaluation)
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.as_json()))) == evaluation


def test_accuracy_over_common_and_rare_classes():
    recalls = metrics.recalls(np.eye(4)[[0, 0, 1, 1, 2, 0]], np.array([0, 0, 1, 0, 2, 2]))
    np.testing.assert_allclose(recalls, [2 / 3, 1, 1 / 2, np.nan])
    shares, answers = np.eye(4)[[0, 0, 1, 1, 2, 0]], np.array([0, 0, 1, 0, 2, 2])
    expected = recall_score(answers, shares.argmax(1), average=None)
    np.testing.assert_allclose(scoring.score_of(shares, answers, np.ones(4, int)).by_class, [*expected, np.nan])
    assert scoring.thirds(recalls, np.array([5, 50, 20, 100])) == pytest.approx((1, 1 / 2, 2 / 3))
    assert scoring.thirds(recalls, np.array([20, 39, 20, 1])) is None
    scores = {"stage1": Score(0.5, 0.4, 0.55, 0.5, (0.7, 0.55, 0.4))}
    evaluation = dataclasses.replace(evaluation_of([0.5], [0.5]), trained={"linear": scores})
    assert "All classes counted alike, stage1 names 55.0 % right: 70.0 % in the third of the classes with most" in str(
        evaluation
    )
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.as_json()))) == evaluation


def test_training_is_thinned_to_a_long_tail():
    source = open_source("toy:images(count=500, size=16)")
    counts = np.bincount(labelled.thinned(source, 10, seed=1).labels)
    expected = np.round(50 * 10.0 ** (-np.arange(10) / 9))
    assert sorted(counts, reverse=True) == list(expected)
    assert list(counts) != sorted(counts, reverse=True)  # the seed says which class is rare
    assert labelled.thinned(source, 10, seed=1).paths == labelled.thinned(source, 10, seed=1).paths


def test_linear_probe_of_fewer_rows_than_a_batch():
    train, labels = blobs(30, 10, 3, seed=1, spread=0.1)
    assert metrics.top1(linear_probe(train, labels, train, 3), labels) == 1


@pytest.mark.smoke
def test_neighbours_vote_as_in_numpy():
    train, labels = blobs(200, 8, 4, seed=1, spread=2)
    test, _ = blobs(33, 8, 4, seed=2, spread=2)
    unit, unit_test = (x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (train, test))
    similarity = unit_test @ unit.T
    expected = np.zeros((33, 4))
    for row in range(33):
        for neighbour in np.argsort(-similarity[row])[:20]:
            expected[row, labels[neighbour]] += np.exp(similarity[row, neighbour] / 0.07)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(nearest_neighbours(train, labels, test, 4, chunk=10), expected, atol=1e-3)


def test_more_neighbours_than_rows():
    train, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 1], np.int32)
    scores = nearest_neighbours(train, labels, train, 2, neighbours=20)
    np.testing.assert_array_equal(scores.argmax(1), labels)


@pytest.mark.smoke
def test_metrics_by_hand():
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 1])
    assert metrics.top1(scores, labels) == 0.75
    # Class 0: rows in order of score 0, 2, 1, 3: precision 1 at the first, 2/3 at the second hit.
    # Class 1: rows in order 3, 1, 2, 0: precision 1 and 2/3.
    assert metrics.mean_average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    three = np.concatenate([scores, np.zeros((4, 1))], 1)
    np.testing.assert_allclose(metrics.average_precisions(three, labels), [5 / 6, 5 / 6, np.nan])
    assert metrics.counts_of(np.array([0, 2, -1, 2]), 4).tolist() == [1, 0, 2, 0]
    assert metrics.counts_of(np.array([[1, 0.5], [0, 1]]), 2).tolist() == [1, 2]
    low, high = wilson(0.75, 100)
    assert (round(low, 4), round(high, 4)) == (0.6570, 0.8245)  # R: prop.test(75, 100, correct = FALSE)
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)
    assert wilson(0.0, 10)[0] == 0.0


def evaluation_of(trained, random, test_images=10_000):
    def table(tops):
        return {"linear": {f"stage{i}": Score(top, top / 2) for i, top in enumerate(tops, 1)}}

    return Evaluation(
        trained=table(trained),
        random=table(random),
        train_images=50_000,
        test_images=test_images,
        classes=tuple("abcdefghij"),
        largest_class=0.1,
        notes=("Divided 80/20.",),
    )


def test_sentences_say_what_came_out():
    good = evaluation_of([0.65, 0.705, 0.728, 0.706], [0.541, 0.562, 0.541, 0.502])
    assert good.best_stage == "stage3"
    first, second, third = good.sentences()
    assert "72.8 % of the 10,000 test images right (95 % interval 71.9 to 73.7 %)" in first
    assert "16.6 points ahead of the best stage" in second
    assert "(stage2, 56.2 %)" in second
    assert third == "The last stage, stage4, is worse than stage3 by 2.2 points."
    level = evaluation_of([0.5, 0.565], [0.56, 0.5], test_images=1000).sentences()
    assert "0.5 points ahead" in level[1]
    assert "no gain from pretraining is shown" in level[1]
    assert len(level) == 2
    behind = evaluation_of([0.5], [0.56]).sentences()[1]
    assert "NOT ahead" in behind
    assert "6.0 points behind: pretraining has made these features worse" in behind
    assert "NOT ahead of the best stage" in evaluation_of([0.5], [0.5]).sentences()[1]
    assert "but level, within the uncertainty of 1.4 points" in evaluation_of([0.5], [0.5]).sentences()[1]
    assert "no gain from pretraining is shown" in evaluation_of([0.5], [0.51], test_images=100).sentences()[1]


def test_json_and_table():
    evaluation = evaluation_of([0.65, 0.728], [0.541, 0.562])
    content = json.loads(json.dumps(evaluation.as_json()))
    assert content["linear"] == {"stage1": {"top1": 0.65, "map": 0.325}, "stage2": {"top1": 0.728, "map": 0.364}}
    assert content["random"]["linear"]["stage1"] == {"top1": 0.541, "map": 0.2705}
    assert content["best_layer"] == "stage2"
    assert content["notes"] == ["Divided 80/20."]
    assert content["summary"] == evaluation.sentences()
    assert content["top1_interval"]["linear"]["stage2"] == pytest.approx([0.7192, 0.7366], abs=1e-4)
    assert "knn" not in content
    assert Evaluation.from_json(content) == evaluation
    lines = str(evaluation).splitlines()
    assert " ".join(lines[0].split()) == "protocol stage top-1 random balanced random mAP random held out"
    assert " ".join(lines[3].split()) == "linear probe stage2 72.8 +- 0.9 56.2 +- 1.0 - - 36.4 28.1 - <- chosen"
    assert lines[2].index("65.0") == lines[3].index("72.8")


def test_the_table_says_what_stage_each_protocol_chooses():
    neighbours = {"stage1": Score(0.4, 0.2, held_out=0.6), "stage2": Score(0.5, 0.25, held_out=0.5)}
    evaluation = evaluation_of([0.65, 0.728], [0.541, 0.562])
    evaluation = dataclasses.replace(evaluation, trained=evaluation.trained | {"knn": neighbours})
    marked = [line.split()[:-2] for line in str(evaluation).splitlines() if line.endswith("<- chosen")]
    assert [(line[0], line[1 + (line[0] == "linear")]) for line in marked] == [("linear", "stage2"), ("k-NN", "stage1")]


def source_of(labels, classes, name="data"):
    labels = None if labels is None else np.array(labels, np.int32)
    return SimpleNamespace(name=name, labels=labels, classes=tuple(classes), count=4 if labels is None else len(labels))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (source_of(None, ()), source_of([0, 1], "ab"), "no labels"),
        (source_of([0, -1], "ab"), source_of([0, 1], "ab"), "no labels"),
        (source_of([], "ab"), source_of([0, 1], "ab"), "no pictures"),
        (source_of([0, 0], "ab"), source_of([0, 1], "ab"), "one class only"),
    ],
)
def test_data_that_cannot_be_probed(train, test, message):
    with pytest.raises(UserError, match=message):
        labelled.check_labels(train, test)


def test_protocols():
    assert [str(each) for each in choose("knn, linear_pooled, linear")] == ["linear", "linear_pooled", "knn"]
    assert [str(each) for each in choose(("knn(neighbours=20)",))] == ["knn"]
    assert [str(each) for each in choose()] == ["linear", "linear_pooled", "linear_pooled_2", "knn"]
    two = choose("linear(recipe='goyal'), knn(neighbours=5), linear, linear")
    assert [str(each) for each in two] == ["linear(recipe='goyal')", "linear", "knn(neighbours=5)"]
    assert [each.facts.title for each in two] == [
        "linear probe (recipe='goyal')",
        "linear probe",
        "k-NN (neighbours=5)",
    ]
    for wrong in ("svn", "", ()):
        with pytest.raises(UserError, match="protocols are: linear, linear_pooled, linear_pooled_2, knn"):
            choose(wrong)
    for wrong, line in (
        ("knn(k=5)", "knn has no setting 'k'"),
        ("knn(neighbours=0)", "neighbours=0 is given, expected a number above 0"),
        ("linear(recipe='sgd')", "expected one of logistic, goyal"),
        ("linear(penalty=-1)", "penalty=-1 is given"),
    ):
        with pytest.raises(UserError, match=re.escape(line)):
            choose(wrong)


def test_too_many_broken():
    source = source_of([0, 1] * 50, "ab")
    features.check_broken(source, 1, 0.01)
    with pytest.raises(UserError, match="2 of 100 pictures in data"):
        features.check_broken(source, 2, 0.01)
    with pytest.raises(UserError, match="100 of 100"):
        features.check_broken(source, 100, 1.0)


def test_nothing_is_read_where_nothing_was_evaluated(tmp_path: Path):
    assert read_evaluation(tmp_path) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import tfssl

    return tfssl.pretrain(
        "toy:images(count=48, size=32)",
        "rotation",
        trunk="plain(width=4)",
        size=32,
        epochs=1,
        batch_size=16,
        out=tmp_path_factory.mktemp("evaluation") / "run",
        report=False,
        verbose=0,
    )


@pytest.mark.smoke
def test_evaluate_a_run(run, monkeypatch):
    import tfssl

    folder = Path(run.folder)
    trunk = run.trunk()
    before = [variable.numpy() for variable in trunk.body.variables]
    monkeypatch.setattr(type(run), "trunk", lambda self: trunk)
    found = tfssl.evaluate(folder, "toy:images(count=100, size=32, seed=1)", batch_size=32)
    for old, variable in zip(before, trunk.body.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    assert list(found.trained) == list(found.random) == ["linear", "linear_pooled", "linear_pooled_2", "knn"]
    assert list(found.trained["knn"]) == list(found.random["linear"]) == ["stage1", "stage2", "stage3", "stage4"]
    assert (found.train_images, found.test_images, len(found.classes), found.broken_files) == (80, 20, 10, 0)
    assert found.largest_class == 0.1
    assert "divided 80/20 within each class by split seed 0" in found.notes[0]
    assert found.details["split_seed"] == found.details["seen_in_pretraining"] == 0
    assert found.notes[1].startswith(
        "All choices were made on the 80 training pictures: each fifth of them (within each class"
    )
    assert found.details["held_out_images"] == 80
    assert found.notes[2] == "None of the 20 test pictures was among those of pretraining."
    each = found.per_class
    assert (sum(each.labels), each.tested) == (80, (2,) * 10)
    for shares, scores in ((each.trained, found.trained["linear"]), (each.random, found.random["linear"])):
        assert np.mean(shares) == pytest.approx(scores[best_stage(scores)].top1)  # all classes have as many pictures
    assert read_evaluation(folder) == found
    assert "Class by class" in (folder / "report.html").read_text()


def test_broken_pictures_are_left_out_and_counted(run, tmp_path):
    import tfssl

    rng = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "data" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = tf.io.encode_jpeg(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).numpy()
        path.write_bytes(data[: len(data) // 2] if number == 7 else b"text" if number == 8 else data)
    found = tfssl.evaluate(run, tmp_path / "data", protocols="knn", max_broken=0.2, report=False)
    assert found.broken_files == 2
    assert found.train_images + found.test_images == 38
    assert "2 pictures could not be decoded" in found.notes[2]
    with pytest.raises(UserError, match="max-broken"):
        tfssl.evaluate(run, tmp_path / "data", protocols="knn", max_broken=0, report=False)


def test_one_split_for_runs_of_all_seeds_and_what_it_has_of_their_pictures(run):
    """The run was pretrained on the first 48 of the 100 pictures that are divided here."""
    import tfssl

    data, parts = "toy:images(count=100, size=32)", []
    for seed, split_seed in ((0, 0), (7, 0), (7, 1)):
        seeded = dataclasses.replace(run, settings=run.settings.model_copy(update={"seed": seed}))
        settings = {"protocols": "knn", "random": False, "report": False, "split_seed": split_seed}
        found = tfssl.evaluate(seeded, data, **settings)
        held_out = open_source(found.details["test"])
        known = sum(int(path.rsplit("#")[-1]) < 48 for path in held_out.paths)
        assert found.details["seen_in_pretraining"] == known > 0
        assert f"{known} of the 20 test pictures were among those of pretraining" in found.notes[2]
        assert (found.details["seed"], found.details["split_seed"]) == (seed, split_seed)
        parts.append((held_out.paths, found.trained))
    assert parts[0] == parts[1] != parts[2]
