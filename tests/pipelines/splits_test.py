"""Folders named as splits are no classes, whoever reads them; what is not understood is said in a line."""

import numpy as np
import pytest
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.embedding.inputs import open_inputs
from tfssl.pipelines.clips import listing
from tfssl.pipelines.sources import splits
from tfssl.pipelines.sources.any_source import open_source, open_splits
from tfssl.pipelines.sources.sounds import read_sounds


def pictures(folder, count=2, classes="ab"):
    for label in classes:
        for number in range(count):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, sum(map(ord, label)) % 256, len(str(folder)) % 256)).save(path)


@pytest.mark.parametrize(
    ("names", "flat", "expected"),
    [
        ("Train validation", "", {"train": "Train", "val": "validation"}),
        ("TRAINING VALID TESTING", "", {"train": "TRAINING", "val": "VALID", "test": "TESTING"}),
        ("train dev test annotations", "", {"train": "train", "val": "dev", "test": "test"}),
        ("train test", "train test", {"train": "train", "test": "test"}),
        ("train", "", {"train": "train"}),
        ("cat dog", "cat dog", {}),
        ("bicycle boat train", "bicycle boat train", {}),  # of CIFAR-100, COCO and VOC
        ("valid invalid", "valid invalid", {}),
        ("bullet_train test_tube cat dog eel", "", {}),  # ImageNet's
        ("Train holdout", "", "Train holdout"),
        ("Train holdout", "Train holdout", "Train holdout"),
        ("bicycle boat train", "bicycle boat", "train bicycle boat"),
        ("cat dog test", "cat dog test", "test cat dog"),  # of which test may be without labels
        ("train Training test", "", "train Training test"),
        ("seg_train seg_test seg_pred", "", "seg_train seg_test"),
        ("train2017 val2017", "", "train2017 val2017"),
        ("training_set test_set", "", "training_set test_set"),
        ("trainA trainB testA testB", "", "trainA trainB testA testB"),
    ],
)
def test_what_folders_are(names, flat, expected):
    layout = splits.layout_of(names.split(), flat.split().__contains__)
    assert layout.splits == (expected if isinstance(expected, dict) else {})
    assert layout.unclear == (tuple(expected.split()) if isinstance(expected, str) else ())


def test_parts_of_a_folder(tmp_path):
    for name, count in (("Train", 4), ("validation", 3)):
        pictures(tmp_path / name, count)
    train, test, note = open_splits(tmp_path)
    assert (train.count, test.count, train.classes) == (8, 6, ("a", "b"))
    assert note == f"trained on {tmp_path}/Train, tested on {tmp_path}/validation, as there is no test part"
    pictures(tmp_path / "TEST", 2)
    train, test, note = open_splits(tmp_path)
    assert (train.count, test.count) == (8, 4)
    assert note == f"trained on {tmp_path}/Train, tested on {tmp_path}/TEST; {tmp_path}/validation is kept for choices"
    other = tmp_path.with_name("other")
    pictures(other, 5)
    assert [part.count for part in open_splits(tmp_path, other)[:2]] == [8, 10]
    assert [part.count for part in open_splits(other, tmp_path)[:2]] == [10, 4]


def test_labels_stand_below_splits(tmp_path):
    """For all that read labels of a whole folder: embed, neighbours."""
    pictures(tmp_path / "Train", 2)
    pictures(tmp_path / "validation", 1)
    source = open_source(tmp_path)
    assert source.classes == ("a", "b")
    assert [source.classes[number] for number in source.labels] == [path.split("/")[-2] for path in source.paths]
    assert open_inputs(tmp_path, False, 0.01).labels == ["a", "a", "b", "b", "a", "b"]
    (tmp_path / "validation").rename(tmp_path / "holdout")
    assert open_source(tmp_path).labels is None


def test_classes_named_as_splits_and_splits_inside_of_classes(tmp_path):
    """Divided as class folders are; the sentence says what was not read as a split."""
    pictures(tmp_path / "vehicles", 5, ["bus", "car", "train"])
    pictures(tmp_path / "inside", 5, ["cat/train", "cat/test", "dog/train", "dog/test"])
    assert open_splits(tmp_path / "vehicles")[2].endswith("by split seed 0; train/ is taken for a class")
    assert open_splits(tmp_path / "inside")[2].endswith("by split seed 0; test/, train/ inside of cat/ are no splits")


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (("Train", "holdout"), r"has Train/, holdout/: are these splits or classes\? Call splits train/"),
        (("Train",), "has neither test/ nor val/ beside .*Train; add one, or give what to test on as --test DATA"),
        (("val", "test"), "has no train/ beside .*val"),
        (("training_set", "test_set"), "has test_set/, training_set/: are these splits"),
    ],
)
def test_folders_that_are_not_understood(tmp_path, folders, says):
    for name in folders:
        pictures(tmp_path / name)
    with pytest.raises(UserError, match=says):
        open_splits(tmp_path)


def test_splits_without_classes_have_no_labels(tmp_path):
    for name in ("train", "test"):
        pictures(tmp_path, 2, [name])
    with pytest.raises(UserError, match="train has no labels"):
        open_splits(tmp_path)


def test_a_class_in_one_split_only(tmp_path):
    pictures(tmp_path / "train", 3, "abc")
    pictures(tmp_path / "test", 2, "bd")
    train, test, note = open_splits(tmp_path)
    assert train.classes == test.classes == ("a", "b", "c", "d")
    assert [test.classes[number] for number in test.labels] == ["b", "b", "d", "d"]
    np.testing.assert_array_equal(train.labels, np.repeat([0, 1, 2], 3))
    assert note.endswith(
        "/test; classes in training only: a, c; classes in the test only: d, so that 2 of its pictures are wrong"
    )
    pictures(tmp_path / "other", 2, "xy")
    with pytest.raises(UserError, match=r"have no class in common \(a, b, c and x, y\)"):
        open_splits(tmp_path / "train", tmp_path / "other")


def test_films_and_sounds(tmp_path):
    names = [f"{split}/{label}/{label}.mp4" for split in ("Test", "Train", "dev") for label in ("x", "y")]
    label_of, group_of = listing.read_labels(tmp_path, names, None, None)
    assert list(label_of.values()) == ["x", "y"] * 3
    on_disk = listing.splits_on_disk(tmp_path, names)
    assert listing.choose_splits(names, group_of, 0.2, 0, on_disk) == {
        "train": names[2:4],
        "val": names[4:],
        "test": names[:2],
    }
    with pytest.raises(UserError, match="files of one source, x, are in two splits"):
        listing.choose_splits(names, dict.fromkeys(names, "x"), 0.2, 0, on_disk)
    with pytest.raises(UserError, match=r"has Test/, Train/, dev/, and extra/a.mp4 beside"):
        listing.splits_on_disk(tmp_path, [*names, "extra/a.mp4"])
    assert listing.splits_on_disk(tmp_path, ["cat/a.mp4", "dog/b.mp4"]) == {}
    unclear = ["test/a.mp4", "holiday/b.mp4"]
    with pytest.raises(UserError, match=r"are these splits or classes\? .*, or --labels"):
        listing.splits_on_disk(tmp_path, unclear)
    assert listing.splits_on_disk(tmp_path, unclear, "labels.csv") == {}
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.wav").write_bytes(b"")
    with pytest.raises(UserError, match="has test/, train/, which are splits"):
        read_sounds(tmp_path, 16000)
    assert open_inputs(tmp_path, True, 0.01).labels is None


def test_a_link_in_a_circle_beside_splits_hides_none(tmp_path):
    """`os.DirEntry.is_dir` raises at it, and train and test were taken for classes."""
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    (tmp_path / "circle").symlink_to("circle")
    assert splits.on_disk(tmp_path).splits == {"train": "train", "test": "test"}
