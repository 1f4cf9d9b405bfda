"""What a run was pretrained on, counted by content."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs import seen

PICTURES, CLIPS = "toy:images(count=12, size=16)", "toy:clips(count=4, size=16, seconds=0.2)"


@pytest.fixture
def run(tmp_path):
    return SimpleNamespace(folder=tmp_path)


def test_pictures_are_known_under_other_names(run, tmp_path):
    source = open_source(PICTURES)
    seen.keep(run, source.subset(np.arange(5), "five"), None)
    folder = tmp_path / "copies"
    folder.mkdir()
    for number, data in enumerate(source.encoded):
        (folder / f"{20 - number}.png").write_bytes(data)
    copies = open_source(folder)  # in reverse, as 9.png to 20.png are listed by name
    own = [source.encoded.index((folder / path.split("/")[-1]).read_bytes()) for path in copies.paths]
    assert seen.count(run, copies, np.arange(12)) == 5
    for row, number in enumerate(own):
        assert seen.count(run, copies, [row]) == (number < 5)
    assert seen.count(run, open_source("toy:images(count=12, size=16, seed=1)"), np.arange(12)) == 0


def test_large_pictures_are_told_apart_by_their_length_too(tmp_path, run):
    """Only the beginning of a file is read when a source is opened."""
    data = open_source(PICTURES).encoded[0]
    long = data + bytes(70_000)
    for name, content in {"a": long, "b": long + b"\0", "c": data}.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    source = open_source(tmp_path)
    seen.keep(run, source.subset(np.array([0]), "one"), None)
    assert [seen.count(run, source, [row]) for row in range(3)] == [1, 0, 0]


def test_clips_are_known_by_what_is_seen_and_heard(run):
    source = open_source(CLIPS)
    seen.keep(run, source.subset(np.array([1, 2]), "two"), None)
    assert [seen.count(run, source, [row]) for row in range(4)] == [0, 1, 1, 0]
    other = open_source("toy:clips(count=4, size=16, seconds=0.2, start=2)")
    assert [seen.count(run, other, [row]) for row in range(4)] == [1, 0, 0, 0]
    assert seen.count(run, open_source(PICTURES), [0]) is None


def test_a_run_has_seen_what_the_run_had_that_it_began_with(tmp_path):
    source = open_source(PICTURES)
    clips = open_source(CLIPS)
    runs = [SimpleNamespace(folder=tmp_path / name) for name in ("first", "second", "third", "fourth")]
    seen.keep(runs[0], source.subset(np.arange(3), "a"), None)
    seen.keep(runs[1], source.subset(np.arange(2, 6), "b"), runs[0])
    seen.keep(runs[2], clips, runs[1])
    assert [seen.count(run, source, np.arange(12)) for run in runs[:3]] == [3, 6, 6]
    assert seen.count(runs[2], clips, np.arange(4)) == 4
    seen.keep(runs[0], source, None)  # a run that goes on
    assert seen.count(runs[0], source, np.arange(12)) == 3
    seen.keep(runs[3], source, SimpleNamespace(folder=tmp_path / "of an earlier version"))
    assert seen.count(runs[3], source, np.arange(12)) is None


def test_sentences():
    assert seen.sentence(2748, 2748) == (
        "2,748 of the 2,748 test pictures were among those of pretraining (without their labels)."
    )
    assert seen.sentence(0, 20, "clips") == "None of the 20 test clips was among those of pretraining."
    assert "is not known" in seen.sentence(None, 20)
