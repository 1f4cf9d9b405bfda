"""A colon in a name is a letter like others, where the name exists."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.pipelines.clips import recordings, video_files
from tfssl.pipelines.sources import ingested
from tfssl.pipelines.sources.any_source import absolute_name, open_source, open_splits


@pytest.mark.parametrize("name", ["run 10:30", "10:30", "toy:images", "tfds:mnist", "C:", "photos:train"])
def test_folders_of_pictures(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 3), ("test", 1)):
        for label in ("a", "b:c"):
            for number in range(count):
                path = tmp_path / name / split / label / f"{number}:1.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (number, len(label), count)).save(path)
    train, test, note = open_splits(name)
    assert (train.count, test.count, train.classes) == (6, 2, ("a", "b:c"))
    assert note == f"trained on {name}/train, tested on {name}/test"
    assert open_source(train.name).paths == train.paths
    assert absolute_name(name) == str(tmp_path / name)


def test_split_of_clips_behind_the_last_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ingested, "is_ingested", lambda folder: str(folder).endswith("clips 10:30"))
    (tmp_path / "clips 10:30").mkdir()
    assert ingested.parse_name("clips 10:30") == (Path("clips 10:30"), None)
    assert ingested.parse_name("clips 10:30:val") == (Path("clips 10:30"), "val")
    (tmp_path / "clips 10:30:val").mkdir()
    assert ingested.parse_name("clips 10:30:val") is None  # that folder is meant
    with pytest.raises(UserError, match="no picture in clips 10:30:val"):
        open_source("clips 10:30:val")


def test_films_in_a_folder_that_looks_like_a_protocol(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "10:30").mkdir()
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shutil.move("film.mp4", "10:30/film.mp4")
    assert len(recordings.decode(Path("10:30/film.mp4"), 32, 10, 16000).frames) == 5
    made = video_files.change(
        Path("10:30/film.mp4"), Path("10:30/to.mp4"), lambda image, _: 255 - image, lambda done, count: None
    )
    assert made == ""  # nothing was lost
    assert len(recordings.decode(Path("10:30/to.mp4"), 32, 10, 16000).frames) == 5
