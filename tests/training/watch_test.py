"""A run is watched by figures that are right, costs what was planned, and is the same run as if nobody had looked."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support import watched_runs
from tests.support.watched_runs import LABELLED
from tfssl.base.errors import UserError
from tfssl.frozen import features
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source, open_splits
from tfssl.report import page
from tfssl.runs import metrics_log, watch
from tfssl.tasks import parse_tasks
from tfssl.training import opening, watched
from tfssl.training.config import Complete
from tfssl.training.monitor import Monitor
from tfssl.training.watching import Watching

DATA = "toy:images(count=72, size=32)"
WATCH = {"watch": LABELLED, "watch_every": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A watched run of three epochs of three steps that keeps each trunk; without what is drawn by chance in it."""
    return watched_runs.run(tmp_path_factory.mktemp("watched") / "run", dropout=0.0, keep_every=1, **WATCH)


def settings_of(**changes):
    given = {"data": DATA, "tasks": "rotation", "size": 32, "batch_size": 8, "epochs": 3} | WATCH | changes
    return Complete(**given)


def planned(**changes):
    settings = settings_of(**changes)
    labelled = watched.open_labelled(settings)
    return watched.plan(settings, labelled, open_source(settings.data), parse_tasks(settings.tasks), 9)


def ridge(x, y, asked, penalty):
    """Ridge regression of one-hot classes on standardised features, by its normal equations."""
    mean, variance = x.mean(0), x.var(0)
    deviation = np.sqrt(variance + 0.01 * variance.mean() + 1e-12)
    x, asked = (x - mean) / deviation, (asked - mean) / deviation
    classes = np.unique(y)
    targets = (y[:, None] == classes).astype(float)
    kernel = np.linalg.solve(
        x.T @ x / len(x) + penalty * np.eye(x.shape[1]), x.T @ (targets - targets.mean(0)) / len(x)
    )
    return classes[(asked @ kernel + targets.mean(0)).argmax(1)]


def neighbours(x, y, asked):
    """A vote of twenty, each by exp of its cosine similarity over 0.07."""
    x, asked = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, asked))
    similar = asked @ x.T
    nearest = np.argsort(-similar, 1)[:, :20]
    votes = np.zeros((len(asked), y.max() + 1))
    for row, places in enumerate(nearest):
        np.add.at(votes[row], y[places], np.exp(similar[row, places] / 0.07))
    return votes.argmax(1)


@pytest.mark.slow
@pytest.mark.xdist_group("watch")
@pytest.mark.parametrize("epoch", [1, 3])
def test_figures_are_those_of_the_weights_that_were_kept(run, epoch):
    """From epochs/N.keras, whose batch norm is of the same pictures: the source has fewer than are drawn of it."""
    look = watch.looks_of(metrics_log.read(run.folder))[epoch]
    part = planned(data=watched_runs.DATA).part
    (batch,) = batches.plain(part.source, 32, part.source.count)
    maps = features.stage_model(run.trunk(epoch), 32)(batch["image"], training=False)
    stages = {name: np.asarray(each).mean((1, 2)).astype(np.float16).astype(np.float64) for name, each in maps.items()}
    y, fold = np.asarray(part.source.labels), part.fold
    learn, held_out = fold >= 0, fold < 0
    chosen = {}
    for place, (name, x) in enumerate(stages.items()):
        shares = []
        for power in range(-4, 4):
            right = sum(
                (
                    ridge(x[learn & (fold != each)], y[learn & (fold != each)], x[fold == each], 10.0**power)
                    == y[fold == each]
                ).sum()
                for each in range(3)
            )
            shares.append(right / learn.sum())
        chosen[name] = (max(shares), place, 10.0 ** (np.argmax(shares) - 4))
    best = sorted(chosen, key=chosen.get, reverse=True)[:2]
    assert look["watch"]["best"] == best
    for name in best:
        x, figures = stages[name], look["watch"]["stages"][name]
        assert figures["chosen_by"] == pytest.approx(chosen[name][0], abs=1e-4)
        probe = ridge(x[learn], y[learn], x[held_out], chosen[name][2])
        assert figures["probe"] == pytest.approx((probe == y[held_out]).mean(), abs=1e-4)
        knn = neighbours(x[learn], y[learn], x[held_out])
        assert figures["knn"] == pytest.approx((knn == y[held_out]).mean(), abs=1e-4)
    assert (look["knn"], look["probe"]) == tuple(look["watch"]["stages"][best[0]][name] for name in ("knn", "probe"))
    for name, x in stages.items():
        singular = np.linalg.svd(x, compute_uv=False)
        shares = singular / singular.sum()
        rank = np.exp(-(shares * np.log(np.maximum(shares, 1e-300))).sum())
        assert look["watch"]["stages"][name]["rank"] == pytest.approx(rank, abs=2e-3)
    assert look["rank"] == look["watch"]["stages"]["stage3"]["rank"]


@pytest.mark.slow
@pytest.mark.xdist_group("watch")
def test_what_is_seen_is_in_the_log_the_result_tensorboard_and_the_report(run):
    lines = metrics_log.read(run.folder)
    looks = watch.looks_of(lines)
    assert [(look["step"], look["epoch"], look.get("epoch_end")) for look in looks] == [
        (0, 0, None),
        *[(3 * epoch, epoch, True) for epoch in (1, 2, 3)],
    ]
    assert set(run.result["metrics"]) == {"loss", "rotation_accuracy"}
    seen = run.result["watch"]
    assert (seen["looks"], seen["epoch"]) == (4, 3)
    assert {name: seen[name] for name in watch.FIGURES} == {name: looks[-1][name] for name in watch.FIGURES}
    assert seen["learned_from"] + seen["held_out"] == seen["pictures"] == 190
    assert 0 < seen["share_of_time"] < 1
    (events,) = (run.folder / "tensorboard" / "train").iterdir()
    written = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    for look in looks[1:]:
        for name in watch.FIGURES:
            assert written[look["epoch"] - 1, f"epoch_{name}"] == pytest.approx(look[name])
    made = page.watch_figures(lines)
    assert len(made) == 3
    against = next(figure for caption, figure in made.items() if caption.startswith("pretext against downstream"))
    (points,) = against.axes[0].collections
    expected = [(100 * look["rotation_accuracy"], 100 * look["probe"]) for look in looks[1:]]
    np.testing.assert_allclose(points.get_offsets(), expected)
    (sentence,) = [each for each in page.training_sentences(run, lines) if each.startswith("Watched")]
    first, last = (f"{100 * look['knn']:.1f} %" for look in (looks[0], looks[-1]))
    assert f"k-NN {first} before training, {last} after epoch 3" in sentence
    assert "130 pictures of" in sentence


@pytest.mark.slow
def test_the_run_is_the_same_as_if_nobody_had_looked_and_however_it_was_killed(tmp_path):
    """In a process of its own, for op determinism cannot be turned off again: four tiny runs, some twenty seconds."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(tfssl.__file__).parents[1])])}
    command = [sys.executable, "-m", "tests.support.watched_runs", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"] == found["watched"]
    assert found["alone"]["digest"] == found["watched"]["digest"]
    plain = [line for line in found["watched"]["lines"] if line["step"]]
    assert [set(line) & {"watch", *watch.FIGURES} for line in plain if line.get("epoch_end")] == [
        {"watch", *watch.FIGURES}
    ] * 3
    for line in plain:
        for name in ("watch", *watch.FIGURES):
            line.pop(name, None)
    assert plain == found["alone"]["lines"]


def look(epoch, knn, probe, held_out=100):
    return {"epoch": epoch, "knn": knn, "probe": probe, "watch": {"held_out": held_out}}


def test_flat_is_five_looks_without_a_rise_of_a_standard_error():
    flat = [look(epoch, 0.5, 0.5) for epoch in range(1, 7)]
    assert watch.is_flat(flat)
    assert not watch.is_flat(flat[:5])  # there is nothing before the five
    assert not watch.is_flat([look(0, 0.9, 0.9), *flat[:5]])  # but random weights
    assert watch.is_flat([*flat[:3], look(4, 0.54, 0.55), *flat[4:]])  # of 100, at a half: 0.05
    assert not watch.is_flat([*flat[:3], look(4, 0.56, 0.5), *flat[4:]])
    assert not watch.is_flat([*flat[:3], look(4, 0.1, 0.56), *flat[4:]])
    assert not watch.is_flat([look(epoch, 0.5, 0.5, 400) for epoch in range(1, 6)] + [look(6, 0.53, 0.5, 400)])
    assert not watch.is_flat([{"epoch": epoch, "rank": 4.0, "watch": {}} for epoch in range(1, 9)])


@pytest.fixture
def looks_are(monkeypatch):
    """(rank, k-NN) -> all looks give these, and the probe a tenth more."""

    def patch(rank=9.0, knn=0.5):
        def seen(self, verbose=0):
            figures = {"knn": knn, "probe": knn + 0.1, "rank": rank}
            about = {"data": "x", "fingerprint": self._watched.fingerprint, "pictures": 16, "held_out": 4}
            stages = {"stage2": {"rank": 9.0}, "stage3": figures}
            return figures | {"watch": about | {"learned_from": 5, "best": ["stage3"], "stages": stages}}

        monkeypatch.setattr(Monitor, "look", seen)

    return patch


@pytest.mark.slow
def test_a_flat_run_ends_and_stays_ended(looks_are, monkeypatch, tmp_path, capsys):
    looks_are()
    monkeypatch.setattr(watch, "PATIENCE", 1)
    flat = {**WATCH, "epochs": 9, "stop_when": "flat"}
    run = watched_runs.run(tmp_path / "run", **flat)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("flat: ")]
    assert len(said) == 1
    assert "the run ends after epoch 2 of 9" in said[0]
    assert (run.result["epochs"], run.result["steps"]) == (2, 6)
    assert run.result["stopped"] == said[0]
    assert run.settings.stop_when == "flat"
    sentences = page.training_sentences(run, metrics_log.read(run.folder))
    assert f"It was ended before its last epoch. F{said[0][1:]}." in sentences
    # As if it had been killed after its last checkpoint.
    before = watched_runs.digest(run.folder)
    for name in ("result.json", "encoder.keras"):
        (run.folder / name).unlink()
    again = watched_runs.run(tmp_path / "run", **flat)
    assert (again.result["steps"], again.result["stopped"]) == (6, said[0])
    assert again.result["metrics"] == run.result["metrics"]
    assert watched_runs.digest(run.folder) == before
    with pytest.raises(UserError, match="holds a run with stop_when 'flat', now None is given"):
        watched_runs.run(tmp_path / "run", **flat | {"stop_when": None})


def test_a_collapse_is_told_once(looks_are, tmp_path):
    said, plan = [], planned(watch=None)

    def watching():
        made = Watching(plan, monitor, tmp_path, 9, False, said.append)
        made.set_model(SimpleNamespace(trainable_variables=[], optimizer=SimpleNamespace(use_ema=False)))
        return made

    monitor = Monitor(plan, *[SimpleNamespace(body=None)] * 2, 32, 8, 0.0, 0)
    first = watching()
    for epoch, rank in enumerate((1.6, 1.01, 1.01)):
        looks_are(rank)
        first.on_epoch_end(epoch, {})
        metrics_log.append(tmp_path, epoch, epoch + 1, {}, 0.1, 1.0, True, first.latest)
    (line,) = said
    assert line.startswith("COLLAPSED: after epoch 2 features of stage3 have nearly one direction")
    assert "effective rank 1.01" in line
    resumed = watching()
    resumed.on_epoch_end(3, {})
    assert [each["epoch"] for each in resumed.looks] == [1, 2, 3, 4]
    assert said == [line]
    assert "COLLAPSED: after epoch 2" in " ".join(watch.sentences(resumed.looks))


def test_without_labels_the_effective_rank_is_seen(tmp_path):
    run = watched_runs.run(tmp_path / "run", watch_every=2)
    (seen,) = watch.looks_of(metrics_log.read(run.folder))
    assert (seen["epoch"], seen["watch"]["pictures"], seen["watch"]["best"]) == (2, 24, [])
    assert 1 < seen["rank"] == seen["watch"]["stages"]["stage3"]["rank"] <= 8
    assert "knn" not in seen
    assert run.result["watch"]["rank"] == seen["rank"]
    assert len(page.watch_figures(metrics_log.read(run.folder))) == 2


def test_watched_otherwise_the_curve_begins_anew(tmp_path, capsys):
    """A run may be watched by other pictures when it is resumed: no weight depends on it."""
    old = {"step": 3, "epoch": 1, **look(1, 0.5, 0.5), "watch": {"fingerprint": "old", "data": "elsewhere/"}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(old) + "\n")
    assert Watching(planned(), None, tmp_path, 3, False, print).looks == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "until epoch 1 the run was watched by elsewhere/ or by other pictures of it; the curve begins"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"watch": "nowhere"}, "nowhere does not exist"),
        ({"watch": "toy:images(count=12, size=32)"}, "expected two classes or more of 3 or more each"),
        ({"watch": np.zeros((9, 8, 8, 3), np.uint8)}, "has no labels"),
        (
            {"watch": (np.zeros((9, 8, 8, 3), np.uint8), np.zeros(9, int))},
            "has no labels to evaluate with; .* two at least",
        ),
        ({"watch": None, "stop_when": "flat"}, "stop_when='flat' is given, but no labels"),
        ({"watch": "none", "watch_every": None, "stop_when": "flat"}, "stop_when='flat' is given, but no labels"),
        ({"watch": "none"}, "watch_every=1 is given, but nothing is watched"),
        ({"watch_every": 0}, "watch_every=0 is given, expected at least 1"),
        ({"stop_when": "tired"}, "expected one of: flat"),
    ],
)
def test_wrong_input_is_one_line_before_any_network(changes, says, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "open_trunk", lambda *given: pytest.fail("a network was built"))
    with pytest.raises(UserError, match=says) as told:
        tfssl.pretrain(DATA, size=32, batch_size=8, out=tmp_path / "run", **WATCH | changes)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "run").exists()


def test_pictures_are_fixed_by_the_seed_and_none_is_a_test_picture():
    one, again, other = planned(), planned(), planned(seed=1)
    assert one.fingerprint == again.fingerprint != other.fingerprint
    train, test, _ = open_splits(LABELLED, None, 0)
    part = one.part
    assert set(part.source.contents.tolist()) <= set(train.contents.tolist())
    assert not set(part.source.contents.tolist()) & set(test.contents.tolist())
    labels = np.asarray(part.source.labels)
    for label in np.unique(labels):
        of_class = part.fold[labels == label]
        assert abs((of_class < 0).mean() - 1 / 3) <= 0.5 / len(of_class) + 1e-9
        counts = np.bincount(of_class[of_class >= 0], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_a_training_part_alone_is_enough(labelled_folder, tmp_path):
    (tmp_path / "train").symlink_to(labelled_folder)
    assert planned(watch=tmp_path).part.source.count == 60
    train, _, _ = open_splits(labelled_folder, None, 0)
    assert planned(watch=labelled_folder).part.source.count == train.count < 60  # without what `evaluate` tests on


def test_looks_cost_a_share_of_the_passes():
    """Of rotation a step of 8 pictures takes 4 x 8 puzzles there and, twice as dear, back: 96 passes, an epoch 864."""
    rank = planned(watch=None, watch_every=None, epochs=500)
    assert rank.every == -(-2 * 72 // (0.005 * 864)) == 34
    part = planned(watch_every=None, epochs=500)  # 190 pictures and 72 for batch norm
    assert (part.part.source.count, part.every) == (190, -(-262 // (0.04 * 864)))
    assert [epoch for epoch in range(1, 18) if part.is_due(epoch, 17)] == [8, 16, 17]
    assert planned(watch_every=None, epochs=3).every == 3  # at the end at least
    large = open_source("toy:images(count=2000, size=16)")
    many = planned(watch=large, watch_every=None, epochs=300)
    assert many.part.source.count == int(0.04 * 864 * 30 - 72)
    assert many.every == 30
    assert planned(watch=large, watch_every=1).part.source.count == watched.LEAST
    assert planned(watch=large, watch_every=99, epochs=99).part.source.count == watched.MOST
    assert planned(watch="none", watch_every=None) is None


def test_more_classes_than_there_is_room_for():
    labels = np.repeat(np.arange(400), 8).astype(np.int32)
    source = open_source((np.random.default_rng(0).integers(0, 256, (3200, 2, 2, 3), np.uint8), labels))
    part = watched._choose_part(source, 300, seed=0)
    assert part.source.count == 300
    assert np.bincount(np.bincount(np.asarray(part.source.labels))).tolist()[1:] == [0, 0, 0, 0, 0, 50]  # 50 of 6 each


def test_watched_is_said():
    said = str(dataclasses.replace(planned(), every=2))
    assert said.startswith(f"watching on {LABELLED} (80 %, split seed 0): probes learn from 130 pictures, 60 are held")
    assert said.endswith("every 2 epochs")
