"""Labels of folders and of tables, and the parts of data."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.downstream.data import few, joined, open_parts
from tfssl.downstream.labels import read_labels
from tfssl.pipelines.sources.any_source import open_splits


def opened(data, labels=None, groups=None, seed=0):
    return open_parts(data, labels, groups, seed, 0.01)


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_class_folders_are_divided_and_names_keep_their_spelling(labelled_folder):
    parts = opened(labelled_folder)
    assert parts.classes == ("10", "2", "Été")
    assert not parts.several
    assert parts.val is None
    assert parts.train.count + parts.test.count == 60
    assert not set(parts.train.source.paths) & set(parts.test.source.paths)
    for part in (parts.train, parts.test):
        folders = [Path(path).parent.name for path in part.source.paths]
        assert [parts.classes[number] for number in part.labels] == folders
    assert opened(labelled_folder, seed=1).test.source.paths != parts.test.source.paths
    train, val = parts.train.divided(0)
    assert train.count + val.count == parts.train.count
    assert np.all(val.targets.sum(0) > 0)


def test_parts_are_those_of_evaluate():
    """Also where classes are not in the order of their names, as in the toy world."""
    data = "toy:images(count=60, size=16)"
    parts, (train, test, _) = opened(data), open_splits(data)
    assert list(parts.classes) != sorted(parts.classes)
    assert parts.train.source.paths == train.paths
    assert parts.test.source.paths == test.paths
    np.testing.assert_array_equal(parts.test.labels, test.labels)


@pytest.mark.parametrize("given", [("train", "val", "test"), ("train", "test"), ("train", "val")])
def test_parts_that_are_there_are_taken(labelled_folder, tmp_path, given):
    for part in given:
        shutil.copytree(labelled_folder, tmp_path / part)
    parts = opened(tmp_path)
    assert (parts.val is None) == ("val" not in given)
    inside = {
        name: {Path(path).relative_to(tmp_path).parts[0] for path in part.source.paths}
        for name, part in (("train", parts.train), ("test", parts.test))
    }
    assert inside == {"train": {"train"}, "test": {"test" if "test" in given else "train"}}
    assert parts.train.count == (60 if "test" in given else 60 - parts.test.count)


def test_a_test_part_with_fewer_classes_keeps_their_numbers(labelled_folder, tmp_path):
    shutil.copytree(labelled_folder, tmp_path / "train")
    shutil.copytree(labelled_folder / "2", tmp_path / "test" / "2")
    assert set(opened(tmp_path).test.labels) == {1}
    (tmp_path / "test" / "2").rename(tmp_path / "test" / "3")
    with pytest.raises(UserError, match="class '3', which training lacks"):
        opened(tmp_path)


def test_tables_of_labels(labelled_folder, tmp_path):
    names = sorted(str(path.relative_to(labelled_folder)) for path in labelled_folder.rglob("*.png"))
    rows = [f"{name},{'red' if number % 2 else 'ü; blue '}" for number, name in enumerate(names[:40])]
    path = table(tmp_path, "label,file\n".replace("label,file", "file,label") + "\n".join(rows) + f"\n{names[40]},\n")
    parts = opened(labelled_folder, path)
    assert parts.classes == ("blue", "red", "ü")
    assert parts.several
    assert parts.unlabelled == 20
    whole = {
        path: row
        for part in (parts.train, parts.test)
        for path, row in zip(part.source.paths, part.targets.tolist(), strict=True)
    }
    assert {str(Path(path).relative_to(labelled_folder)): row for path, row in whole.items()} == {
        name: [0, 1, 0] if number % 2 else [1, 0, 1] for number, name in enumerate(names[:40])
    }
    assert not read_labels(table(tmp_path, "a.png,cat\nb.png,dog")).several


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no row"),
        ("file,label\na.png", "row 1 is 'a.png'"),
        ("a.png,cat\na.png,dog", "names a.png twice, as 'cat' and 'dog'"),
        ("nowhere.png,cat", "names no picture"),
        ("END,cat\nFIRST,dog", "twice, with different labels"),
    ],
)
def test_a_wrong_table_gives_one_line(labelled_folder, tmp_path, text, said):
    first = sorted(labelled_folder.glob("10/*.png"))[0]
    text = text.replace("FIRST", f"10/{first.name}").replace("END", first.name)
    with pytest.raises(UserError, match=said) as problem:
        opened(labelled_folder, table(tmp_path, text))
    assert "\n" not in str(problem.value)


def test_groups_stay_together(labelled_folder):
    parts = opened(labelled_folder, groups=r"(\d)\.png$")
    ends = [{Path(path).stem[-1] for path in part.source.paths} for part in (parts.train, parts.test)]
    assert not ends[0] & ends[1]
    assert joined(np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7])).tolist() == [0, 0, 0, 1]


def test_few_labels_are_so_many_of_each_class(labelled_folder):
    train = opened(labelled_folder).train
    three, again, other = few(train, 3, None, 0, 0), few(train, 3, None, 0, 0), few(train, 3, None, 0, 1)
    assert three.targets.sum(0).tolist() == [3, 3, 3]
    assert three.source.paths == again.source.paths != other.source.paths
    assert few(train, 1000, None, 0, 0).count == train.count
    half = few(train, None, 0.5, 0, 0)
    np.testing.assert_allclose(half.targets.sum(0), train.targets.sum(0) / 2, atol=0.5)


def test_a_table_may_name_the_ends_of_paths(labelled_folder, tmp_path):
    names = sorted(path.relative_to(labelled_folder) for path in labelled_folder.rglob("*.png"))
    rows = [f"{path.name},{'red' if number % 2 else 'blue'}" for number, path in enumerate(names)]
    parts = opened(labelled_folder, table(tmp_path, "\n".join([*rows, "gone.png,red"])))
    assert parts.train.count + parts.test.count == 60
    assert "1 row of" in parts.note
    label = {str(path): number % 2 for number, path in enumerate(names)}
    inside = [str(Path(path).relative_to(labelled_folder)) for path in parts.test.source.paths]
    assert parts.test.labels.tolist() == [label[path] for path in inside]
    for place in ("a", "b"):
        shutil.copytree(labelled_folder / "2", tmp_path / "twice" / place)
    name = next((tmp_path / "twice" / "a").iterdir()).name
    with pytest.raises(UserError, match=rf"{name} could be of several files"):
        opened(tmp_path / "twice", table(tmp_path, f"{name},red"))
