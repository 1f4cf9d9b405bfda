"""`ingest`: recordings become a data set that is read by number."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.pipelines.recordings_test import RATE, damage, tone, write
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.pipelines.batches import BrokenPictures
from tfssl.pipelines.clips import clip_records, ingest, tfds_builder
from tfssl.pipelines.clips.record import FORMAT
from tfssl.pipelines.sources.any_source import absolute_name, open_source, open_splits

DAMAGED = "dogs/" + os.fsdecode(b"fil\xe9.mkv")
"""A film whose name is not UTF-8."""
SETTINGS = {"size": 16, "frame_rate": 10.0, "processes": 1, "verbose": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five films, one of them damaged, and a sound of two classes, and one that is broken."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(5):
        place = folder / ("cats" if number < 3 else "dogs")
        place.mkdir(exist_ok=True)
        name = f"film{number}.mkv" if number < 4 else Path(DAMAGED).name
        write(place / name, np.arange(15) / 10, sounds=[tone(1.5, 300 + 100 * number)] * (number != 4))
    damage(folder / DAMAGED, ("video", 7))
    write(folder / "dogs" / "bark.wav", sounds=[tone(2.5)])
    (folder / "dogs" / "broken.mp4").write_bytes(b"no film")
    return folder


@pytest.fixture(scope="module")
def ingested(folder, tmp_path_factory):
    to = tmp_path_factory.mktemp("ingested") / "set"
    return to, tfssl.ingest(folder, to, groups=r"film(?=[01])", seconds=1.0, **SETTINGS)


def test_a_damaged_record_is_told_in_a_line(ingested, tmp_path, capfd):
    copy = shutil.copytree(ingested[0], tmp_path / "set")
    for path in copy.rglob("*.tfrecord-*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    with pytest.raises(SystemExit) as end:
        main(["show", str(copy), "--tasks", "frame_order(frames=3)", "--size", "32", "--to", str(tmp_path / "x.png")])
    assert end.value.code == 2
    assert "a record of the data is damaged" in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x.png").exists()


def test_counts_and_what_was_left_out(ingested):
    _, result = ingested
    assert list(result.broken) == ["dogs/broken.mp4"]
    assert sum(result.recordings.values()) == 6
    # In pieces of 1 s, rounded to the even: films of 1.5 s, one that ends with its last frame, 2.5 s of sound.
    assert sum(result.clips.values()) == 4 * 2 + 1 + 2
    assert "left out: dogs/broken.mp4" in str(result)
    lost = {DAMAGED: "lost 1 of 15 packets of film to damage"}
    assert json.loads(json.dumps(result.as_json()))["damaged"] == lost
    assert str(result).endswith(f"damaged: {DAMAGED} lost 1 of 15 packets of film to damage")


def test_it_is_a_source_with_frames_and_sound_as_they_were(ingested):
    to, result = ingested
    source = open_source(str(to))
    assert source.count == sum(result.clips.values())
    assert source.classes == ("cats", "dogs")
    assert (source.sound_rate, source.frame_rate) == (RATE, 10.0)
    number = source.paths.index("cats/film2.mkv#1")
    clip = clip_records.parse(source.reader().records(tf.constant([number], tf.int64)))[0]
    assert source.classes[source.labels[number]] == "cats"
    assert clip.times.numpy()[0] == pytest.approx(0.8, abs=0.1)
    assert source.frame_counts[number] == clip.count
    frame = tf.image.decode_jpeg(clip.frames(1)).numpy()
    small = tf.image.resize(frame, [16, 16], "area").numpy()
    assert np.abs(small - clip.thumbnails[1]).mean() < 3  # the frame was compressed, its thumbnail was not
    sound = clip_records.waveform(clip.sound, clip.sound_start, clip.sound_start, 8000, RATE).numpy()
    assert np.argmax(np.abs(np.fft.rfft(sound))) * RATE / 8000 == pytest.approx(500, abs=4)
    silent = [name for name, heard in zip(source.recordings, source.has_sound, strict=True) if not heard]
    assert set(silent) == {DAMAGED}
    assert [source.frame_counts[k] for k, name in enumerate(source.recordings) if name == "dogs/bark.wav"] == [0, 0]


def test_what_was_left_out_is_no_part_of_the_data_set(ingested):
    """It was said once, and does not count against --max-broken of those who train on the rest."""
    to, result = ingested
    source = open_source(str(to), max_broken=0)
    assert (source.listed, source.broken) == (sum(result.clips.values()), {})
    assert BrokenPictures(source).names() == {}


def test_pieces_of_one_source_stand_in_one_split(ingested):
    to, _ = ingested
    train, test = (set(open_source(f"{to}:{split}").recordings) for split in ("train", "test"))
    assert not train & test
    assert len(train | test) == 6
    assert len({name in test for name in ("cats/film0.mkv", "cats/film1.mkv")}) == 1


def test_what_is_divided_later_keeps_pieces_of_one_source_together(ingested):
    to, _ = ingested
    source = open_source(str(to))
    joined = {name: origin for name, origin in zip(source.recordings, source.origins, strict=True) if name != origin}
    assert joined == {"cats/film0.mkv": "film", "cats/film1.mkv": "film"}
    for seed in range(4):
        train, test, note = open_splits(source, seed=seed)
        assert "pieces of one recording on one side" in note
        assert not set(train.origins) & set(test.origins)
        assert set(train.labels) == set(test.labels) == {0, 1}


def test_the_name_of_a_split_opens_it_from_any_place(ingested, monkeypatch):
    to, _ = ingested
    monkeypatch.chdir(to.parent)
    assert absolute_name(f"{to.name}:train") == f"{to}:train"
    assert absolute_name(f"{to.name}:train (80 %, split seed 0)") == f"{to}:train (80 %, split seed 0)"
    assert absolute_name(to.name) == str(to)


def test_evaluation_finds_the_splits(ingested):
    to, result = ingested
    train, test, _ = open_splits(str(to))
    assert (train.count, test.count) == (result.clips["train"], result.clips["test"])


def test_tensorflow_datasets_reads_it(ingested):
    import tensorflow_datasets as tfds

    to, result = ingested
    builder = tfds.builder_from_directory(str(to / "clips" / FORMAT))
    examples = list(builder.as_dataset(split="train").as_numpy_iterator())
    assert len(examples) == result.clips["train"]
    assert all(frame.shape == (16, 24, 3) for example in examples for frame in example["frames"])


def test_nothing_is_left_of_the_work(ingested):
    to, _ = ingested
    assert [path.name for path in to.iterdir()] == ["clips"]


def test_interrupted_it_goes_on(folder, tmp_path, monkeypatch, capsys):
    to = tmp_path / "set"

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds_builder, "write_data_set", stop)
    with pytest.raises(KeyboardInterrupt):
        tfssl.ingest(folder, to, **SETTINGS)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"no picture in"):
        open_source(str(to))
    with pytest.raises(UserError, match=r"interrupted ingest with frame_rate 10\.0"):
        tfssl.ingest(folder, to, **SETTINGS | {"frame_rate": 5.0})
    one = next(path for path in (to / ingest.WORK).iterdir() if path.is_dir())
    shutil.rmtree(one)
    result = tfssl.ingest(folder, to, **SETTINGS | {"verbose": 1})
    assert "resuming: 6 of 7 recordings" in capsys.readouterr().err
    assert sum(result.recordings.values()) == 6


def test_several_processes_find_the_same(folder, tmp_path):
    one = tfssl.ingest(folder, tmp_path / "one", **SETTINGS)
    two = tfssl.ingest(folder, tmp_path / "two", **SETTINGS | {"processes": 2})
    assert one.clips == two.clips
    sources = [open_source(str(tmp_path / name)) for name in ("one", "two")]
    assert sources[0].paths == sources[1].paths
    index = tf.range(sources[0].count, dtype=tf.int64)
    np.testing.assert_array_equal(*(source.reader().records(index) for source in sources))


def test_labels_and_groups_of_a_table(folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,label,group\nfilm0.mkv,grey,a\ncats/film1.mkv,grey,a\ndogs/bark.wav,loud,b\n")
    tfssl.ingest(folder, tmp_path / "set", labels=table, **SETTINGS)
    source = open_source(str(tmp_path / "set"))
    known = dict(zip(source.recordings, source.labels, strict=True))
    assert source.classes == ("grey", "loud")
    assert (known["cats/film0.mkv"], known["dogs/bark.wav"], known["cats/film2.mkv"]) == (0, 1, -1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"size": 2}, "size=2 is given"),
        ({"test": 1.0}, "test=1.0 is given"),
        ({"groups": "("}, "no regular expression"),
        ({"labels": "nowhere.csv"}, "cannot be read"),
        ({"clips": "nowhere"}, "nowhere is no folder"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_written(folder, tmp_path, changes, line):
    with pytest.raises(UserError, match=line):
        tfssl.ingest(**{"clips": folder, "out": tmp_path / "set", **SETTINGS, **changes})
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_taken_and_one_without_recordings(folder, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("kept")
    with pytest.raises(UserError, match="is not empty"):
        tfssl.ingest(folder, tmp_path / "set", **SETTINGS)
    with pytest.raises(UserError, match="no film and no sound"):
        tfssl.ingest(tmp_path / "set", tmp_path / "other", **SETTINGS)


def test_beam_makes_the_same_records(tmp_path):
    (tmp_path / "films").mkdir()
    for number in range(2):
        name = os.fsdecode(b"\xe9%d.mkv" % number)  # not UTF-8, and Beam sends text as that
        write(tmp_path / "films" / name, np.arange(8) / 10, sounds=[tone(0.8, 300 + 100 * number)])
    (tmp_path / "films" / "broken.mp4").write_bytes(b"no film")
    here = tfssl.ingest(tmp_path / "films", tmp_path / "here", **SETTINGS)
    there = tfssl.ingest(tmp_path / "films", tmp_path / "there", beam="DirectRunner", **SETTINGS)
    assert (there.clips, there.recordings, there.broken) == (here.clips, here.recordings, here.broken)
    for split in here.clips:
        records = []
        for name in ("here", "there"):
            source = open_source(f"{tmp_path / name}:{split}")
            rows = source.reader().records(tf.range(source.count, dtype=tf.int64)).numpy()
            records.append(sorted(zip(source.paths, rows, strict=True)))
        assert records[0] == records[1]
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["clips"]


def test_an_unknown_runner_is_told(folder, tmp_path):
    with pytest.raises(UserError, match="--beam SprintRunner is no runner"):
        tfssl.ingest(folder, tmp_path / "set", beam="SprintRunner", **SETTINGS)
    assert not (tmp_path / "set").exists()
