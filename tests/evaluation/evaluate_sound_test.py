"""Labelled sounds through a sound encoder; retrieval across modalities."""

import json
import os
import shutil

import numpy as np
import pytest

import tfssl
from tests.pipelines.recordings_test import RATE, damage, tone, write
from tfssl.base.errors import UserError
from tfssl.evaluation import sound as hearing
from tfssl.evaluation.protocols import choose
from tfssl.evaluation.retrieval import search
from tfssl.evaluation.sound import folds_of
from tfssl.pipelines.sources.sounds import read_sounds, windows


@pytest.fixture(scope="module")
def run(audio_visual_run, tmp_path_factory):
    """A copy: evaluation writes into the run's folder."""
    return tfssl.load_run(shutil.copytree(audio_visual_run.folder, tmp_path_factory.mktemp("heard") / "run"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Low tones and high tones, four folds by the first letter, and files that are left out."""
    folder = tmp_path_factory.mktemp("sounds")
    for kind, hertz in (("low", 300), ("high", 3000)):
        (folder / kind).mkdir()
        for number in range(8):
            write(folder / kind / f"{number % 4}-{number}.wav", sounds=[tone(0.5 + 0.1 * number, hertz + 20 * number)])
    (folder / "low" / "0-broken.mp3").write_bytes(b"no sound")
    (folder / "low" / "gone.wav").symlink_to("annex/gone.wav")
    os.mkfifo(folder / "low" / "pipe.wav")
    (folder / "low" / "._0-0.wav").write_bytes(b"hidden")
    write(folder / "stray.wav", sounds=[tone(0.4, 300)])
    return folder


def test_tones_are_told_apart_over_the_folds_of_their_names(run, folder):
    found = tfssl.evaluate_sound(run, folder, folds="^(.)", protocols="linear, knn(neighbours=3)", verbose=0)
    assert (found.sounds, found.classes, found.folds, found.largest_class) == (16, 2, 4, 0.5)
    assert found.broken.pop("low/0-broken.mp3").startswith("cannot be opened")
    assert found.broken == {
        "low/gone.wav": "is a link to what is not there",
        "low/pipe.wav": "is no regular file",
        "stray.wav": "lies beside the folders of the classes",
    }
    assert found.baseline["linear"].folds == (1.0,) * 4
    assert found.baseline["knn(neighbours=3)"].mean == 1.0
    assert (
        set(found.trained["linear"])
        == set(found.random["knn(neighbours=3)"])
        == {"stage1", "stage2", "stage3", "stage4"}
    )
    assert "log-mel statistics" in str(found)
    # Random weights with the batch norm that they began with, measured here once more, are never ahead of what is told.
    sounds = read_sounds(folder, run.sound["rate"])
    cut = [windows(wave, run.sound["samples"]) for wave in sounds.waves]
    own = hearing._features(run.random_trunk("sound"), cut, "", verbose=0)
    of_one = np.arange(16)
    for protocol in choose("linear, knn(neighbours=3)"):
        for stage, score in found.random[str(protocol)].items():
            other = hearing.over_folds(protocol, own[stage], sounds, folds_of(sounds, "^(.)", None, 0), of_one, 0)
            if found.random_batch_norm[str(protocol)][stage] == "own":
                assert score == other
            else:
                assert score.mean > other.mean
    assert json.loads((run.folder / "sound_evaluation.json").read_text())["sounds"] == 16


def test_what_is_damaged_is_read_and_said(tmp_path):
    for kind in ("low", "high"):
        (tmp_path / kind).mkdir()
        write(tmp_path / kind / "a.flac", sounds=[tone(0.8)])
    damage(tmp_path / "low" / "a.flac", ("audio", 1))
    sounds = read_sounds(tmp_path, RATE)
    assert sounds.damaged == {"low/a.flac": "has no sound for 0.07 s, where silence is put"}  # a packet of 1152
    assert [len(wave) for wave in sounds.waves] == [12800, 12800]
    evaluation = hearing.SoundEvaluation({}, {}, {}, {}, 2, 2, 2, 0.5, {}, sounds.damaged, {})
    assert str(evaluation).endswith("damaged: low/a.flac has no sound for 0.07 s, where silence is put")


def test_without_names_there_are_five_folds_within_classes(run, folder):
    # That "linear" gives the same again is seen above, where it is the dearest part of an evaluation.
    found = tfssl.evaluate_sound(run, folder, protocols="knn(neighbours=3)", verbose=0)
    assert found.folds == 5
    again = tfssl.evaluate_sound(run, folder, protocols="knn(neighbours=3)", verbose=0)
    assert again == found


def test_pieces_of_one_recording_are_in_one_fold(run, folder, capfd):
    """Of 0-0 to 3-7 the first digit, that of 0 and 4, 1 and 5, ...: each of them in both classes."""
    sounds = read_sounds(folder, 8000)
    fold_of = folds_of(sounds, None, "^(.)-", 0)
    first = np.array([name.split("/")[1][0] for name in sounds.names])
    assert all(len(set(fold_of[first == digit])) == 1 for digit in "0123")
    assert len(set(fold_of)) == 4
    assert len(set(folds_of(sounds, None, None, 0))) == 5
    with pytest.raises(UserError, match=r"--groups '\^\(\.\)-' is given, but --folds 'x' tells folds already"):
        tfssl.evaluate_sound(run, folder, folds="x", groups="^(.)-", verbose=0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"groups": "("}, "no regular expression"),
        ({"folds": "("}, "no regular expression"),
        ({"folds": "(z)"}, "finds nothing in the name"),
        ({"folds": "(wav)"}, "finds one fold only"),
        ({"protocols": "knn(neighbours=0)"}, "neighbours=0"),
        ({"data": "nowhere"}, "nowhere is no folder"),
    ],
)
def test_wrong_input_is_told(run, folder, changes, line):
    with pytest.raises(UserError, match=line):
        tfssl.evaluate_sound(run, **{"data": folder, "verbose": 0, **changes})


def test_too_few_sounds_are_told(run, tmp_path):
    for kind, hertz in (("low", 200), ("high", 900)):
        (tmp_path / kind).mkdir()
        write(tmp_path / kind / "one.wav", sounds=[tone(0.6, hertz)])
    with pytest.raises(UserError, match="2 sounds are too few"):
        tfssl.evaluate_sound(run, tmp_path, verbose=0)


def test_a_run_without_sound_is_told(toy_run, folder):
    with pytest.raises(UserError, match="has no sound encoder"):
        tfssl.evaluate_sound(toy_run, folder)


def test_sounds_are_read_at_the_rate(folder):
    sounds = read_sounds(folder, 8000)
    wave = sounds.waves[sounds.names.index("high/0-4.wav")]
    assert len(wave) / 8000 == pytest.approx(0.9, abs=0.01)
    assert np.argmax(np.abs(np.fft.rfft(wave))) * 8000 / len(wave) == pytest.approx(3080, abs=5)
    assert sounds.classes == ("high", "low")


@pytest.mark.parametrize("length", [10, 100, 101, 150, 199, 200, 730])
def test_windows_hold_all_of_a_sound(length):
    wave = np.arange(1, length + 1, dtype="f4")
    cut = windows(wave, 100)
    assert cut.shape[1] == 100
    assert set(wave) <= set(cut.ravel())
    starts = cut[:, 0]
    assert (np.diff(starts) <= 50).all()


def by_hand(scores: np.ndarray, relevant: np.ndarray, depth: int) -> float:
    order = np.argsort(-scores)[:depth]
    gain = (relevant[order] / np.log2(np.arange(len(order)) + 2)).sum()
    ideal = np.sort(relevant)[::-1][:depth]
    return gain / (ideal / np.log2(np.arange(len(ideal)) + 2)).sum()


def test_retrieval_is_as_by_hand():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 40)
    image = rng.normal(size=(40, 8)) + 2 * np.eye(8)[labels]
    sound = image + rng.normal(size=(40, 8))
    found = search({"image": image, "sound": sound}, labels, ks=(1, 10))
    unit = {k: v / np.linalg.norm(v, axis=1, keepdims=True) for k, v in (("image", image), ("sound", sound))}
    for query in unit:
        for answer in unit:
            values, hits = [], []
            for row in range(40):
                scores, relevant = unit[answer] @ unit[query][row], (labels == labels[row]).astype(float)
                if query == answer:
                    scores, relevant = np.delete(scores, row), np.delete(relevant, row)
                else:
                    hits.append(np.argsort(-scores).tolist().index(row))
                values.append(by_hand(scores, relevant, 30))
            one = found[f"{query}-{answer}"]
            assert one.ndcg == pytest.approx(np.mean(values))
            assert one.recall == ({} if query == answer else {k: np.mean(np.array(hits) < k) for k in (1, 10)})
            assert one.ndcg > one.chance


def test_rate_is_that_of_the_run(run):
    assert run.sound["rate"] == RATE


def test_clips_are_searched_by_picture_and_sound(run, toy_run):
    data = "toy:clips(count=24, size=32, seconds=1.2, seed=5)"
    found = tfssl.retrieve(run, data)
    assert (found.clips, found.classes) == (24, 10)
    assert set(found.directions) == {"image-image", "image-sound", "sound-image", "sound-sound"}
    for name, each in found.directions.items():
        assert 0 <= each.ndcg <= 1
        assert (each.recall == {}) == (name in ("image-image", "sound-sound"))
    assert "recall@1" in str(found)
    with pytest.raises(UserError, match="retrieve needs one that was trained on"):
        tfssl.retrieve(toy_run, data)
    with pytest.raises(UserError, match="one clip of each class"):
        tfssl.retrieve(run, "toy:clips(count=4, size=32, seconds=1.2)")
    with pytest.raises(UserError, match="expected clips with labels"):
        tfssl.retrieve(run, "toy:images(count=4, size=32)")
