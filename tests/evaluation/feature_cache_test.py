"""Features that are kept between commands."""

import os

import numpy as np
import pytest

import tfssl
from tfssl.evaluation import feature_cache
from tfssl.evaluation.protocols import logistic
from tfssl.frozen import features
from tfssl.frozen.features import Features
from tfssl.pipelines.sources.any_source import open_source

FEATURES = Features({"stage1": {1: np.ones((3, 2), np.float16), 2: np.zeros((3, 8), np.float16)}}, np.arange(3), 1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tfssl"


def test_what_is_kept_is_read_and_cleared(folder):
    assert feature_cache.read("key") is None
    feature_cache.write("key", FEATURES)
    feature_cache.write("key", FEATURES)  # another process was faster
    found = feature_cache.read("key")
    np.testing.assert_array_equal(found.stages["stage1"][2], np.zeros((3, 8)))
    assert (found.stages["stage1"][1].dtype, found.rows.tolist(), found.broken) == (np.float16, [0, 1, 2], 1)
    assert [path.name for path in (folder / "features").iterdir()] == ["key"]
    held = tfssl.cache()
    assert (held.folder, held.entries, held.cleared) == (folder, 1, False)
    (folder / "networks" / "key").mkdir(parents=True)
    (folder / "networks" / "key" / "chosen.json").touch()
    assert (held.networks, tfssl.cache().networks) == (0, 1)
    assert "features of 1 part of data, answers of 1 network, " in str(tfssl.cache())
    assert held.bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert str(tfssl.cache(clear=True)).endswith(
        "is empty now; it held features of 1 part of data, answers of 1 network, 0.0 MiB"
    )
    assert (feature_cache.read("key"), tfssl.cache().bytes) == (None, 0)


def test_large_arrays_stay_on_disk(monkeypatch):
    monkeypatch.setattr(feature_cache, "LARGE", 1)
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16)
    feature_cache.write("key", Features({"stage1": {1: rows}}, np.arange(50), 0))
    kept = feature_cache.read("key").stages["stage1"][1]
    assert (kept.shape, kept.size, len(kept), kept.dtype) == ((50, 6), 300, 50, np.float16)
    numbers = np.array([3, 4, 9, 40, 41])
    for some, expected in ((kept, rows), (kept[numbers], rows[numbers])):
        np.testing.assert_array_equal(some, expected)
        np.testing.assert_array_equal(some[1:4], expected[1:4])
    np.testing.assert_array_equal(kept[rows[:, 0] > 0], rows[rows[:, 0] > 0])
    labels = np.arange(50) % 3
    on_disk, in_memory = (logistic.fit(each[numbers], labels[numbers], 3, 0.1) for each in (kept, rows))
    np.testing.assert_allclose(on_disk.scores(kept), in_memory.scores(rows), atol=1e-6)
    assert len(kept[:0]) == 0


def test_half_an_entry_is_none(folder):
    feature_cache.write("key", FEATURES)
    (folder / "features" / "key" / "1.npy").write_bytes(b"half")
    assert feature_cache.read("key") is None


def test_the_entries_read_longest_ago_make_room(folder, monkeypatch):
    monkeypatch.setattr(feature_cache, "LIMIT", 3000)
    for number, name in enumerate("abc"):
        feature_cache.write(name, FEATURES)
        os.utime(folder / "features" / name, (number, number))
    assert feature_cache.read("a") is not None  # which makes b the one read longest ago
    each = feature_cache._size(folder / "features" / "a")
    monkeypatch.setattr(feature_cache, "LIMIT", 3 * each)
    feature_cache.write("d", FEATURES)
    assert sorted(path.name for path in (folder / "features").iterdir()) == ["a", "c", "d"]
    monkeypatch.setattr(feature_cache, "LIMIT", 10)  # larger than all that may be kept
    feature_cache.write("e", FEATURES)
    assert feature_cache.read("e") is None


@pytest.mark.parametrize("home", ["nowhere", "file"])
def test_a_cache_stops_nobody(home, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", str(tmp_path / "file"), home == "file"))
    feature_cache.write("key", FEATURES)
    assert feature_cache.read("key") is None


def test_a_key_tells_all_that_features_depend_on(toy_run, tmp_path):
    import tensorflow as tf

    models = [features.stage_model(toy_run.trunk(), 32) for _ in range(2)]
    network, same = map(feature_cache.network_of, models)
    assert network == same
    assert feature_cache.network_of(features.stage_model(toy_run.random_trunk(), 32)) != network
    models[0].trainable_variables[-1].assign_add([0.001] * models[0].trainable_variables[-1].shape[0])
    assert feature_cache.network_of(models[0]) != network
    path = tmp_path / "data" / "a" / "picture.jpg"
    path.parent.mkdir(parents=True)
    for name in ("picture.jpg", "other.jpg"):
        path.with_name(name).write_bytes(tf.io.encode_jpeg(np.zeros((32, 32, 3), np.uint8)).numpy())

    def key(places=(("stage1", (1,)),), size=32, frames=1):
        return feature_cache.key_of(network, dict(places), open_source(tmp_path / "data"), size, frames)

    keys = [key(), key((("stage1", (1, 2)),)), key(size=64), key(frames=2)]
    assert key() == keys[0]
    os.utime(path, ns=(1, 1))  # written again, with as many bytes
    assert len({*keys, key()}) == 5


def test_the_next_protocol_reads_what_the_last_one_made(toy_run, tmp_path, monkeypatch):
    import shutil

    run = tfssl.load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    settings = {"test": "toy:images(count=20, size=32, seed=2)", "protocols": "knn", "random": False, "report": False}
    first = tfssl.evaluate(run, "toy:images(count=30, size=32, seed=1)", **settings)
    assert tfssl.cache().entries == 2
    with monkeypatch.context() as patch:
        patch.setattr(features.Reading, "features", lambda *_: pytest.fail("made again"))
        settings["protocols"] = "knn(neighbours=3)"
        other = tfssl.evaluate(run, "toy:images(count=30, size=32, seed=1)", **settings)
    again = tfssl.evaluate(run, "toy:images(count=30, size=32, seed=1)", **settings, cache=False)
    assert other.trained == again.trained
    assert list(first.trained["knn"]) == list(other.trained["knn(neighbours=3)"])
