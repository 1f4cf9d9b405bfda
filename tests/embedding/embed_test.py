"""Embeddings of a collection: from a run and from its export alike, by path, whole or not at all."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.forked import Forked
from tfssl.base.errors import UserError
from tfssl.embedding import embed as collection
from tfssl.embedding import files
from tfssl.embedding.embed import embed
from tfssl.embedding.files import read_embeddings
from tfssl.embedding.inputs import open_inputs
from tfssl.pipelines.decoding import picture_crops

NOT_UTF8 = os.fsdecode(b"10\xe9.jpg")


@pytest.fixture
def folder(tmp_path):
    """Twelve JPEGs of several shapes in two sub-folders: number 3 cut in half, number 8 text, number 5 empty.

    The name of number 10 is not UTF-8.
    """
    rng = np.random.default_rng(0)
    for number in range(12):
        name = NOT_UTF8 if number == 10 else f"{number:02}.jpg"
        path = tmp_path / "data" / f"part{number % 2}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = tf.image.resize(rng.integers(0, 256, (5, 4, 3)), (32 + 3 * number, 60 - number))
        data = tf.io.encode_jpeg(tf.cast(coarse, tf.uint8)).numpy()
        path.write_bytes({3: data[: len(data) // 2], 8: b"dear", 5: b""}.get(number, data))
    return tmp_path / "data"


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of one batch."""
    monkeypatch.setattr(collection, "PART_BATCHES", 1)


@pytest.mark.smoke
def test_run_and_export_agree(toy_run, toy_export, folder, tmp_path):
    found = embed(toy_run, folder, tmp_path / "a.npz", batch_size=4, verbose=0).read()
    served = embed(toy_export, folder, tmp_path / "b.npz", verbose=0).read()
    np.testing.assert_allclose(served.embedding, found.embedding, atol=1e-5)
    np.testing.assert_array_equal(served.path, found.path)
    assert found.embedding.dtype == np.float32
    assert found.embedding.std(0).max() > 1e-3
    file = np.load(tmp_path / "a.npz")
    assert sorted(file.files) == ["embedding", "label", "path", "record"]
    np.testing.assert_array_equal(file["embedding"], found.embedding)
    np.testing.assert_array_equal(file["path"], found.path)
    assert json.loads(str(file["record"]))["data"]["name"] == str(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "data"]


def test_each_row_is_of_its_path(toy_run, folder, tmp_path):
    found = embed(toy_run, folder, tmp_path / "a.npz", batch_size=5, verbose=0).read()
    assert [os.path.relpath(path, folder) for path in found.path] == [
        f"part{number % 2}/{NOT_UTF8 if number == 10 else f'{number:02}.jpg'}"
        for number in (0, 2, 4, 6, 10, 1, 7, 9, 11)
    ]
    assert list(found.label) == ["part0"] * 5 + ["part1"] * 4
    encoder = toy_run.encoder()
    for path, row in zip(found.path, found.embedding, strict=True):
        image, _ = picture_crops.pictures(tf.constant([Path(path).read_bytes()]), 32)
        np.testing.assert_allclose(encoder(image)[0], row, atol=1e-5)


def test_parquet_holds_the_same(toy_run, folder, tmp_path, small_parts):
    from pyarrow import parquet

    embed(toy_run, folder, tmp_path / "a.npz", batch_size=4, verbose=0)
    embed(toy_run, folder, tmp_path / "a.parquet", batch_size=4, verbose=0)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[32]"
    arrays = np.load(tmp_path / "a.npz")
    for name in ("path", "label"):
        assert table[name].to_pylist() == [each.replace("\udce9", r"\xe9") for each in arrays[name]]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), arrays["embedding"])
    read = read_embeddings(tmp_path / "a.parquet")
    np.testing.assert_array_equal(read.embedding, arrays["embedding"])


def test_broken_pictures_are_listed_and_left_out(toy_run, folder, tmp_path):
    found = embed(toy_run, folder, tmp_path / "a.npz", verbose=0)
    assert sorted(os.path.basename(name) for name in found.broken) == ["03.jpg", "05.jpg", "08.jpg"]
    assert found.broken[str(folder / "part1" / "03.jpg")] == "cannot be decoded to its end"
    assert found.as_json()["count"] == 9
    assert f"left out: {folder}/part0/08.jpg is no picture" in str(found)
    with pytest.raises(UserError, match=r"3 of 12 pictures .* cannot be read, more than --max-broken 0\.2 allows"):
        embed(toy_run, folder, tmp_path / "b.npz", max_broken=0.2, verbose=0)
    assert not (tmp_path / "b.npz").exists()


def test_a_layer(toy_run, folder, tmp_path):
    found = embed(toy_run, folder, tmp_path / "a.npz", stage="stage2", verbose=0)
    assert (found.count, found.embedding_size) == (9, 8)
    with pytest.raises(UserError, match="no stage 'stage9'"):
        embed(toy_run, folder, tmp_path / "b.npz", stage="stage9", verbose=0)


def test_a_failure_writes_no_file_and_keeps_what_is_done(toy_run, folder, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(collection.files, "write_npz", full)
    with pytest.raises(UserError, match=r"cannot write .*a\.npz: the disk is full"):
        tfssl.embed(toy_run, folder, tmp_path / "a.npz", verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz.parts", "data"]


def embed_slowly(run: Path, data: str, file: Path, threads: int, rewriting: dict[str, bool]) -> None:
    """Wait after each part that is written."""
    # How many threads share a convolution decides on the last bit of it on some processors.
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # And how TensorFlow rewrites graphs, of which conftest.py decides.
    tf.config.optimizer.set_experimental_options(rewriting)
    write = files.Parts.write

    def slow(*arguments):
        write(*arguments)
        time.sleep(0.3)

    files.Parts.write = slow
    embed(run, data, file, batch_size=2, verbose=0)


def test_killed_in_the_middle_it_ends_with_the_same_file(toy_run, tmp_path, capsys):
    data = "toy:images(count=320, size=32)"
    for ending in ("npz", "parquet"):
        embed(toy_run, data, tmp_path / f"whole.{ending}", batch_size=2, verbose=0)
    file = tmp_path / "killed.npz"
    how = tf.config.threading.get_intra_op_parallelism_threads(), tf.config.optimizer.get_experimental_options()
    killed = Forked(embed_slowly, (toy_run.folder, data, file, *how), tmp_path / "said")
    parts = tmp_path / "killed.npz.parts"
    while len(list(parts.glob("0*.npz"))) < 3:
        assert killed.returncode is None
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    done = len(list(parts.glob("0*.npz")))
    assert 3 <= done < 10
    assert not file.exists()
    embed(toy_run, data, file, batch_size=2)
    assert f"resumed: {32 * done} of 320 pictures are embedded already" in capsys.readouterr().err
    assert file.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not parts.exists()


def test_a_file_that_is_whole_is_left_alone_and_one_of_something_else_refused(
    toy_run, toy_export, folder, tmp_path, small_parts
):
    file = tmp_path / "a.parquet"
    first = embed(toy_run, folder, file, verbose=0)
    before = file.stat().st_mtime_ns
    assert embed(toy_run, folder, file, verbose=0) == first
    assert embed(toy_export, folder, file, verbose=0) == first  # of the same weights
    with pytest.raises(UserError, match=r"was made with the data .*, now toy:.* is given; choose another --to"):
        embed(toy_run, "toy:images(count=4, size=32)", file, verbose=0)
    with pytest.raises(UserError, match=r"was made with the encoder .*, now another one"):
        embed(toy_run, folder, file, stage="stage2", verbose=0)
    (folder / "part0" / "02.jpg").unlink()
    with pytest.raises(UserError, match="as it was before it changed"):
        embed(toy_run, folder, file, verbose=0)
    assert file.stat().st_mtime_ns == before
    (tmp_path / "mine.npz").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"mine\.npz exists and holds no embeddings"):
        embed(toy_run, folder, tmp_path / "mine.npz", verbose=0)
    assert (tmp_path / "mine.npz").read_bytes() == b"mine"


def test_parts_of_something_else_are_refused(toy_run, folder, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(collection, "_join", stop)
    with pytest.raises(KeyboardInterrupt):
        embed(toy_run, folder, tmp_path / "a.npz", verbose=0)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"an interrupted call with --batch-size 64, now 8 is given"):
        embed(toy_run, folder, tmp_path / "a.npz", batch_size=8, verbose=0)
    assert embed(toy_run, folder, tmp_path / "a.npz", verbose=0).count == 9


def test_clips_are_embedded_by_the_frame_in_their_middle(toy_run, tmp_path):
    from tfssl.pipelines import batches
    from tfssl.pipelines.sources.any_source import open_source

    clips = "toy:clips(count=3, size=32, seconds=0.5)"
    found = embed(toy_run, clips, tmp_path / "a.npz", verbose=0).read()
    (batch,) = batches.plain(open_source(clips), 32, 3)
    np.testing.assert_allclose(found.embedding, toy_run.encoder()(batch["image"]), atol=1e-5)
    opened = embed(toy_run, open_source(clips), tmp_path / "opened.npz", verbose=0).read()
    np.testing.assert_array_equal(opened.embedding, found.embedding)
    assert list(found.path) == ["toy#0#0", "toy#1#0", "toy#2#0"]
    with pytest.raises(UserError, match="has no sound"):
        embed(toy_run, clips, tmp_path / "b.npz", sound=True, verbose=0)


def test_beam_makes_the_same(toy_run, toy_export, folder, tmp_path, small_parts):
    here = embed(toy_export, folder, tmp_path / "a.npz", batch_size=4, verbose=0)
    there = embed(toy_export, folder, tmp_path / "b.npz", batch_size=4, beam="DirectRunner", verbose=0)
    assert (there.count, there.broken) == (here.count, here.broken)
    np.testing.assert_allclose(there.read().embedding, here.read().embedding, atol=1e-5)
    np.testing.assert_array_equal(there.read().path, here.read().path)
    assert not (tmp_path / "b.npz.parts").exists()
    with pytest.raises(UserError, match="--beam works on an export"):
        embed(toy_run, folder, tmp_path / "c.npz", beam="DirectRunner", verbose=0)
    assert not (tmp_path / "c.npz.parts").exists()


def test_names_that_are_no_utf8_are_kept_by_npz_and_written_out_by_parquet(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    rows = files.Embeddings(np.eye(1, 2, dtype=np.float32), np.array([name], object), None)
    record = {"encoder": {"dimensions": 2}, "broken": {name: "is no picture"}}
    files.write_npz(tmp_path / "a.npz", iter([rows]), record, [name], None)
    files.write_parquet(tmp_path / "a.parquet", iter([rows]), record, False)
    assert list(read_embeddings(tmp_path / "a.npz").path) == [name]
    assert list(read_embeddings(tmp_path / "a.parquet").path) == [r"caf\xe9.jpg"]
    for file in ("a.npz", "a.parquet"):
        assert files.read_record(tmp_path / file) == record


def test_sounds_that_cannot_be_opened_are_broken(tmp_path):
    for name in ("a/1.wav", "b/2.wav", "b/._2.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"RIFF")
    (tmp_path / "a" / "gone.wav").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a" / "pipe.wav")
    found = open_inputs(tmp_path, False, 1.0)
    assert (found.paths, found.labels, found.listed) == (
        [str(tmp_path / "a" / "1.wav"), str(tmp_path / "b" / "2.wav")],
        ["a", "b"],
        4,
    )
    assert found.broken == {
        str(tmp_path / "a" / "gone.wav"): "is a link to what is not there",
        str(tmp_path / "a" / "pipe.wav"): "is no regular file",
    }
