"""`evaluate` by a table of labels, one a picture or several."""

import re
import shutil
import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

import tfssl
from tfssl.base.errors import UserError
from tfssl.downstream.data import open_parts
from tfssl.frozen import features
from tfssl.pipelines import batches
from tfssl.runs.evaluation import Evaluation
from tfssl.runs.run import load_run

QUIET = {"random": False, "report": False}


def written(tmp_path, folder, label):
    """A table of all pictures of class folders: `label` says what each has, by the name of its class and its number."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    table = tmp_path / "labels.csv"
    rows = [f"{name},{label(name.parts[0], number)}\n" for number, name in enumerate(names)]
    table.write_text("file,label\n" + "".join(rows), encoding="utf-8")
    return table


@pytest.fixture(scope="module")
def run(toy_run, tmp_path_factory):
    """A copy of the run that all tests read: an evaluation is written into its folder."""
    return load_run(shutil.copytree(toy_run.folder, tmp_path_factory.mktemp("labels") / "run"))


@pytest.fixture(scope="module")
def several(tmp_path_factory, labelled_folder):
    """Every second picture has a second label, every ninth has none."""
    return written(
        tmp_path_factory.mktemp("several"),
        labelled_folder,
        lambda name, number: "" if number % 9 == 8 else name + ";even" * (number % 2 == 0),
    )


@pytest.fixture(scope="module")
def found(run, labelled_folder, several):
    return tfssl.evaluate(run, labelled_folder, labels=several, grid=1, report=False)


def test_a_table_of_one_label_a_picture_is_what_class_folders_are(run, labelled_folder, tmp_path):
    table = written(tmp_path, labelled_folder, lambda name, number: name)
    protocols = "linear_pooled, knn"
    one = tfssl.evaluate(run, labelled_folder, labels=table, protocols=protocols, **QUIET)
    other = tfssl.evaluate(run, labelled_folder, protocols=protocols, **QUIET)
    assert one.trained == other.trained
    assert one.classes == other.classes
    assert not one.several


@pytest.mark.slow
def test_several_labels_are_measured_by_svm_as_scikit_learn_does(run, labelled_folder, several, found):
    assert list(found.trained) == ["svm"]
    parts = open_parts(labelled_folder, several, None, 0, 0.01)
    assert (found.train_images, found.test_images) == (parts.train.count, parts.test.count)
    fixed = tfssl.evaluate(
        run, labelled_folder, labels=several, protocols="svm(cost=10.0)", grid=1, cache=False, **QUIET
    ).trained["svm(cost=10.0)"]
    model = features.stage_model(run.trunk(), 32)
    rows = []
    for part in (parts.train, parts.test):
        (batch,) = batches.plain(part.source, 32, 100)
        pooled = model(batch["image"], training=False)["stage2"].numpy().mean((1, 2)).astype(np.float16)
        rows.append(pooled / np.linalg.norm(pooled.astype(float), axis=1, keepdims=True))
    values = []
    for column in parts.train.targets.T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            machine = LinearSVC(C=10.0, class_weight={1: 2, 0: 1}, dual=False).fit(rows[0], column.astype(int))
        values.append(machine.decision_function(rows[1]))
    scores, targets = np.stack(values, 1), parts.test.targets
    expected = np.mean([average_precision_score(own, each) for own, each in zip(targets.T, scores.T, strict=True)])
    assert fixed["stage2"].map == pytest.approx(expected, abs=0.02)  # features of float16, in batches of other sizes
    named = targets[np.arange(len(targets)), scores.argmax(1)].mean()
    assert fixed["stage2"].top1 == pytest.approx(named, abs=1.5 / len(targets))


def test_what_is_said_of_several_labels(found):
    best = found.trained["svm"][found.best_stage]
    low, high = best.map_interval
    assert low < best.map < high
    assert best.balanced is None
    assert 0 < best.held_out <= 1
    assert np.mean([each for each in found.per_class.trained if each is not None]) == pytest.approx(best.map)
    said = found.sentences()[0]
    assert f"a mean average precision of {100 * best.map:.1f} % (95 % interval {100 * low:.1f} to" in said
    assert "is a right one for" in said
    assert "mean average precision" in found.sentences()[1]  # of random weights
    assert "top-1 is whether one of them is named" in str(found)
    assert any("pictures without a label were left out" in note for note in found.notes)
    again = Evaluation.from_json(found.as_json())
    assert again.several
    assert again.trained == found.trained
    assert again.sentences() == found.sentences()


def test_wrong_input_is_one_line(run, labelled_folder, several, tmp_path):
    for wrong, said in (
        ({"protocols": "linear"}, r"linear tells one class of all, and .* ask for svm, or fine-tune with"),
        ({"protocols": "finetune"}, "finetune tells one class of all"),
        ({"long_tail": 5.0}, "--long-tail thins classes, and .* has pictures of several"),
        ({"test": labelled_folder}, "lay both into one folder as train/ and test/"),
        ({"protocols": "rank"}, "--labels is given, but rank takes no labels"),
        ({"labels": tmp_path / "none.csv"}, "none.csv cannot be read"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            tfssl.evaluate(run, labelled_folder, **({"labels": several, "report": False} | wrong))
        assert "\n" not in re.sub(r"\n$", "", str(caught.value))
