"""Embeddings of a collection: from a run and from its export alike, by path, whole or not at all."""

import os

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.embedding import embed
from tfssl.errors import UserError
from tfssl.pipelines import pixels


@pytest.fixture
def folder(tmp_path):
    """Twelve JPEGs of several shapes in two sub-folders: number 3 cut in half, number 8 text, number 5 empty."""
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "data" / f"part{number % 2}" / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = tf.image.resize(rng.integers(0, 256, (5, 4, 3)), (32 + 3 * number, 60 - number))
        data = tf.io.encode_jpeg(tf.cast(coarse, tf.uint8)).numpy()
        path.write_bytes({3: data[: len(data) // 2], 8: b"dear", 5: b""}.get(number, data))
    return tmp_path / "data"


@pytest.mark.smoke
def test_run_and_export_agree(toy_run, toy_export, folder, tmp_path):
    found = embed(toy_run, folder, tmp_path / "a.npz", batch_size=4, verbose=0)
    served = embed(toy_export, folder, tmp_path / "b.npz", verbose=0)
    np.testing.assert_allclose(served.embedding, found.embedding, atol=1e-5)
    np.testing.assert_array_equal(served.path, found.path)
    assert found.embedding.dtype == np.float32
    assert found.embedding.std(0).max() > 1e-3
    file = np.load(tmp_path / "a.npz")
    assert sorted(file.files) == ["embedding", "path"]
    np.testing.assert_array_equal(file["embedding"], found.embedding)
    np.testing.assert_array_equal(file["path"], found.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "data"]


def test_each_row_is_of_its_path(toy_run, folder):
    found = embed(toy_run, folder, batch_size=5, verbose=0)
    assert found.file is None
    assert [os.path.relpath(path, folder) for path in found.path] == [
        f"part{number % 2}/{number:02}.jpg" for number in (0, 2, 4, 6, 10, 1, 7, 9, 11)
    ]
    encoder = toy_run.encoder()
    for path, row in zip(found.path, found.embedding, strict=True):
        image, _ = pixels.pictures(tf.constant([tf.io.read_file(path).numpy()]), 32)
        np.testing.assert_allclose(encoder(image)[0], row, atol=1e-5)


def test_broken_pictures_are_listed_and_left_out(toy_run, folder):
    found = embed(toy_run, folder, verbose=0)
    assert sorted(os.path.basename(name) for name in found.broken) == ["03.jpg", "05.jpg", "08.jpg"]
    assert found.broken[str(folder / "part1" / "03.jpg")] == "cannot be decoded to its end"
    assert found.as_json()["count"] == 9
    assert f"left out: {folder}/part0/08.jpg is no picture" in str(found)
    with pytest.raises(UserError, match=r"3 of 12 pictures .* are broken, more than --max-broken 0\.2 allows"):
        embed(toy_run, folder, folder.parent / "a.npz", max_broken=0.2, verbose=0)
    assert not (folder.parent / "a.npz").exists()


def test_a_layer(toy_run, folder):
    found = embed(toy_run, folder, layer="stage2", verbose=0)
    assert found.embedding.shape == (9, 8)
    with pytest.raises(UserError, match="no layer 'stage9'"):
        embed(toy_run, folder, layer="stage9", verbose=0)


def test_a_failure_leaves_the_file_that_was_there(toy_run, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(b"mine")

    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match=r"cannot write .*a\.npz: the disk is full"):
        tfssl.embed(toy_run, "toy:images(count=4, size=32)", path, verbose=0)
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]
