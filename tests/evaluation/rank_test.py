"""Effective rank and uniformity, by values known without a computer."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation.protocols import choose, choose_probes, parse
from tfssl.evaluation.protocols.effective_rank import EffectiveRank
from tfssl.frozen import rank
from tfssl.runs import spread
from tfssl.runs.evaluation import Evaluation, read_evaluation
from tfssl.runs.spread import Spread


def test_effective_rank_by_hand(monkeypatch):
    assert rank.effective_rank(np.eye(5)) == pytest.approx(5)
    assert rank.effective_rank(np.tile(np.eye(5), (3, 1)).astype(np.float16)) == pytest.approx(5)
    assert rank.effective_rank(np.outer(np.arange(1, 8), [1, -2, 3])) == pytest.approx(1)
    assert rank.effective_rank(np.outer([1, 2], np.ones(9))) == pytest.approx(1)
    assert rank.effective_rank(np.zeros((4, 3))) == 1
    # Singular values 3 and 1: shares 3/4 and 1/4.
    expected = np.exp(0.75 * np.log(4 / 3) + 0.25 * np.log(4))
    assert rank.effective_rank(np.diag([3.0, 1.0])) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(rank, "CHUNK", 7)
    for shape in ((40, 6), (6, 40)):
        rows = rng.normal(size=shape) + 1
        shares = np.linalg.svd(rows, compute_uv=False)
        shares /= shares.sum()
        assert rank.effective_rank(rows) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_identity_covariance_has_the_rank_of_all_numbers():
    rows = np.random.default_rng(0).normal(size=(20_000, 8))
    assert rank.effective_rank(rows) == pytest.approx(8, abs=1e-2)


def test_uniformity_by_hand(monkeypatch):
    assert rank.uniformity(np.outer([1, 2, 5], [3.0, 4.0])) == pytest.approx(0)
    assert rank.uniformity(np.eye(3)) == pytest.approx(-4)  # squared distances of 2
    assert rank.uniformity(np.array([[1.0, 0], [-2.0, 0]]), temperature=1) == pytest.approx(-4)
    assert rank.uniformity(np.zeros((3, 2))) == 0
    monkeypatch.setattr(rank, "CHUNK", 4)
    rows = np.random.default_rng(0).normal(size=(11, 3))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)) for i in range(11) for j in range(i)]
    assert rank.uniformity(rows) == pytest.approx(np.log(np.mean(pairs)))


def test_pictures_are_drawn():
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float16)
    found = EffectiveRank(pictures=20, seed=3).spread(rows)
    assert (found.pictures, found.numbers) == (20, 4)
    assert found == EffectiveRank(pictures=20, seed=3).spread(rows) != EffectiveRank(pictures=20).spread(rows)
    assert EffectiveRank().spread(rows).rank == pytest.approx(rank.effective_rank(rows))


def test_what_is_asked_for():
    assert [str(each) for each in choose("rank, knn")] == ["knn", "rank"]
    with pytest.raises(UserError, match="rank names no classes by frozen features, and is of no use here; protocols"):
        choose_probes("knn, rank")
    with pytest.raises(UserError, match=r"rank\(seed=1\) and rank are given, expected one of them"):
        choose("rank(seed=1), rank")
    with pytest.raises(UserError, match="rank: pictures=1 is given"):
        parse("rank(pictures=1)")


def test_collapse_is_said():
    trained = {"stage1": Spread(7.25, 8, 100, -3.0), "stage2": Spread(1.02, 16, 100, -0.01)}
    ranks = {"trained": trained, "random": {"stage1": Spread(3, 8, 100, -2), "stage2": Spread(5.5, 16, 100, -1)}}
    last, collapsed = spread.sentences(ranks)
    assert last.startswith("The effective rank of stage2, the last stage, is 1.0 of 16 (random weights 5.5): ")
    assert collapsed.startswith("COLLAPSED: features of stage2 have nearly one direction for all pictures")
    rows = [line.split() for line in spread.table(ranks)]
    assert rows[2] == ["stage1", "8", "7.2", "3.0", "-3.00", "-2.00"]
    assert len(spread.sentences({"trained": {"stage1": trained["stage1"]}})) == 1
    assert spread.sentences({}) == spread.table({}) == []


# Some seconds: three networks are built and traced, those of the ranks and one with a probe beside them.
@pytest.mark.slow
def test_ranks_need_no_labels_and_take_no_evaluations_place(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr("tfssl.frozen.precise.PRECISE_STEPS", 2)
    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    (run.folder / "evaluation.json").unlink(missing_ok=True)
    pictures = unlabelled(tmp_path / "pictures")
    found = tfssl.evaluate(run, pictures, protocols="rank", cache=False)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    assert list(found.ranks["trained"]) == list(found.ranks["random"]) == stages
    for each in (*found.ranks["trained"].values(), *found.ranks["random"].values()):
        assert each.pictures == 20
        assert 1 <= each.rank <= min(20, each.numbers)
    assert Evaluation.from_json(json.loads((run.folder / "ranks.json").read_text())) == found
    assert read_evaluation(run.folder) is None
    assert str(found).startswith("stage ")
    with pytest.raises(UserError, match="--test is given, but rank takes no labels"):
        tfssl.evaluate(run, pictures, test=pictures, protocols="rank", cache=False)
    with pytest.raises(UserError, match="no labels"):
        tfssl.evaluate(run, pictures, protocols="rank, knn", cache=False)

    both = tfssl.evaluate(run, "toy:images(count=60, size=32)", protocols="rank, knn", cache=False, random=found)
    assert both.ranks["random"] == found.ranks["random"]
    assert both.ranks["trained"]["stage1"].pictures == both.train_images
    assert read_evaluation(run.folder) == both
    assert "effective rank" in str(both)
    assert dataclasses.replace(both, ranks={}) != both


def unlabelled(folder: Path) -> Path:
    import tensorflow as tf

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(20):
        picture = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(picture).numpy())
    return folder
