"""What is seen in a folder: how many pictures of which size, what labels; and what cannot be used, in one line."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import open_source, open_splits
from tfssl.starting.budget import Counts
from tfssl.starting.choosing import counts_of, thinned
from tfssl.starting.looking import look


def write(folder: Path, count: int, height: int = 40, width: int = 60, first: int = 0) -> Path:
    """A folder of pictures, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        held = io.BytesIO()
        Image.fromarray(noise).save(held, "PNG")
        (folder / f"{number:03}.png").write_bytes(held.getvalue())
    return folder


def test_pictures_without_labels(tmp_path):
    write(tmp_path, 11, 40, 60)
    write(tmp_path, 10, 200, 100, first=11)
    found = look(tmp_path)
    assert (found.source.count, found.side, found.labels, found.evaluated) == (21, 40, None, None)
    assert str(found) == "21 pictures to pretrain on, their shorter sides 40 pixels in the median; no labels"
    assert counts_of(found) == Counts(pictures=21)


def test_class_folders(labelled_folder):
    found = look(f"{labelled_folder}/")
    train, test, _ = open_splits(labelled_folder)
    # The same parts as those of `evaluate`, and the name opens the same pictures: the test part stays unseen.
    assert found.source.name == f"{labelled_folder} (80 %, split seed 0)"
    assert found.source.paths == train.paths == open_source(found.source.name).paths
    assert found.labels.test.source.paths == test.paths
    assert found.whole == str(labelled_folder)
    assert found.evaluated == tuple(f"{labelled_folder} ({share} %, split seed 0)" for share in (80, 20))
    counts = counts_of(found)
    assert counts.train + counts.val == counts.pictures == train.count
    assert (counts.test, counts.evaluated, counts.divided) == (test.count, 60, True)
    assert "3 classes" in str(found)


def test_a_fifth_of_a_part_is_a_source_too(labelled_folder):
    train, test = look(labelled_folder).evaluated
    fifth, of_test = (open_source(thinned(name, 1)) for name in (train, test))
    assert set(fifth.paths) < set(open_source(train).paths)
    assert set(of_test.paths) < set(open_source(test).paths)
    for part, whole in ((fifth, train), (of_test, test)):
        assert part.count == sum(round(0.2 * count) for count in np.bincount(open_source(whole).labels))
    assert thinned(train, 0) == train
    assert thinned(train, 2) == f"{train} (20 %, split seed 0) (20 %, split seed 0)"


def test_splits_on_disk(labelled_folder, tmp_path):
    for name in ("train", "test"):
        shutil.copytree(labelled_folder, tmp_path / name)
    found = look(tmp_path)
    assert found.source.name == str(tmp_path / "train")
    assert found.evaluated == (str(tmp_path / "train"), str(tmp_path / "test"))
    assert found.whole == str(tmp_path)
    (tmp_path / "test").rename(tmp_path / "val")
    found = look(tmp_path)
    assert found.source.name == f"{tmp_path / 'train'} (80 %, split seed 0)"  # without what `finetune` tests on
    assert found.evaluated == (str(tmp_path / "train"), str(tmp_path / "val"))
    assert counts_of(found).divided is False
    shutil.rmtree(tmp_path / "val")
    found = look(tmp_path)
    assert found.whole == str(tmp_path / "train")
    assert found.evaluated[1] == f"{tmp_path / 'train'} (20 %, split seed 0)"


def test_a_table_of_labels(labelled_folder, tmp_path):
    files = sorted(path.relative_to(labelled_folder) for path in labelled_folder.rglob("*.png"))[:30]
    rows = "".join(f"{file},{'ab'[number % 2]}\n" for number, file in enumerate(files))
    table = tmp_path / "labels.csv"
    table.write_text(f"file,label\n{rows}")
    found = look(labelled_folder, table)
    assert found.source.name == str(labelled_folder)
    assert found.source.count == 60  # those without a label too
    assert found.labels.train.count + found.labels.test.count == 30
    assert found.evaluated is None
    table.write_text("file,label\n" + "".join(f"{file},a\n" for file in files))
    with pytest.raises(UserError, match="1 classes to learn"):
        look(labelled_folder, table)
    with pytest.raises(UserError, match=r"nowhere\.csv cannot be read"):
        look(labelled_folder, tmp_path / "nowhere.csv")


def test_one_class_is_none(tmp_path):
    write(tmp_path / "cats", 16)
    found = look(tmp_path)
    assert (found.labels, found.source.count) == (None, 16)
    assert "all are in one folder, cats" in str(found)


@pytest.mark.parametrize(
    ("count", "says"), [(0, "no picture in"), (1, "has 1 picture to pretrain on; expected 16 at least"), (15, "15 pic")]
)
def test_too_few_pictures(tmp_path, count, says):
    write(tmp_path, count)
    with pytest.raises(UserError, match=says):
        look(tmp_path)


def test_broken_pictures(tmp_path):
    write(tmp_path, 19)
    (tmp_path / "torn.png").write_bytes((tmp_path / "000.png").read_bytes()[:20])
    with pytest.raises(UserError, match=r"1 of 20 pictures .* more than --max-broken 0\.01 allows"):
        look(tmp_path)
    assert "left out: 1 of 20 that cannot be read" in str(look(tmp_path, max_broken=0.05))


def test_what_is_no_pictures(tmp_path):
    for given, says in (
        (tmp_path / "nowhere", "nowhere does not exist"),
        (np.zeros([16, 32, 32, 3], np.uint8), "ndarray is given as PHOTOS"),
        ("toy:clips(count=16, size=32, seconds=1.2)", "quickstart takes pictures"),
    ):
        with pytest.raises(UserError, match=says):
            look(given)
    for name in ("Train", "holdout"):
        write(tmp_path / name / "cats", 2)
    with pytest.raises(UserError, match="are these splits or classes"):
        look(tmp_path)


def test_classes_that_cannot_be_divided(tmp_path):
    for number in range(16):
        write(tmp_path / f"class{number}", 1, first=number)
    with pytest.raises(UserError, match="has no labelled picture"):
        look(tmp_path)
