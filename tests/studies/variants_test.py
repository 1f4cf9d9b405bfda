"""Variants of tasks in braces, names of their folders, samples of labelled pictures, lengths of epochs."""

import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.pipelines.sources import subsets
from tfssl.pipelines.sources.any_source import open_source
from tfssl.studies import progress, trials, variants


@pytest.mark.smoke
def test_braces():
    assert variants.expand_braces("jigsaw(classes={4,16, 64}), rotation") == [
        "jigsaw(classes=4), rotation",
        "jigsaw(classes=16), rotation",
        "jigsaw(classes=64), rotation",
    ]
    assert variants.expand_braces("a(x={1,2}, y={3,4})") == [f"a(x={x}, y={y})" for x in (1, 2) for y in (3, 4)]
    assert variants.expand_braces("{a(x=1, y=(2, 3)),b}") == ["a(x=1, y=(2, 3))", "b"]
    assert variants.expand_braces("rotation") == ["rotation"]
    for wrong, says in (
        ("a(x={1,2)", "not closed"),
        ("a}", "not opened"),
        ("{a,{b}}", "in each other"),
        ("{a,}", "is empty"),
    ):
        with pytest.raises(UserError, match=says):
            variants.expand_braces(wrong)


def test_what_tells_variants_apart():
    assert variants.label_variants(["rotation(rotations=2)", "rotation"]) == ["rotations=2", "rotations=4"]
    assert variants.label_variants(["rotation(rotations=2, dropout=0.5)", "rotation"]) == [
        "rotations=2, dropout=0.5",
        "rotations=4, dropout=0.0",
    ]
    assert variants.label_variants(["rotation", "rotation, inpainting"]) == ["rotation", "rotation, inpainting"]
    assert variants.label_variants(["rotation(rotations=2)"]) == ["rotation(rotations=2)"]
    assert variants.watched_task(["inpainting, rotation(rotations=2)", "inpainting, rotation"]) == "rotation"
    assert variants.watched_task(["rotation, inpainting", "inpainting"]) == "inpainting"
    with pytest.raises(UserError, match="none in common"):
        variants.watched_task(["rotation", "inpainting"])


def test_names_of_folders():
    assert (
        trials.slug("rotation(rotations=8, dropout=0.5), inpainting") == "rotation_rotations=8_dropout=0.5+inpainting"
    )
    long = [trials.slug(f"rotation(rotations={'1' * 200}{end})") for end in (1, 2)]
    assert len(set(long)) == 2
    assert max(map(len, long)) <= 100


def test_a_sample_is_balanced_where_classes_are_large_enough():
    source = open_source("toy:images(count=200, size=32)")
    odd = source.subset(np.flatnonzero((source.labels > 1) | (np.arange(200) < 30)), "odd")
    counts = np.bincount(odd.labels)
    assert counts[:2].max() < 6 < counts[2:].min()
    found = subsets.limited(odd, 60, balanced=True, seed=0)
    assert found.count == 60
    taken = np.bincount(found.labels)
    np.testing.assert_array_equal(taken[:2], counts[:2])
    assert taken[2:].max() - taken[2:].min() <= 1
    assert len(set(found.paths)) == 60
    assert subsets.limited(odd, 60, balanced=True, seed=0).fingerprint == found.fingerprint
    assert "class-balanced sample of 60 of the" in found.name
    assert subsets.limited(odd, 1000, balanced=True, seed=0) is odd
    assert subsets.limited(odd, 50, balanced=False, seed=0).count == 50


def test_epochs_are_of_equal_length():
    for steps in (1, 7, 40, 100, 2000, 2001, 1999):
        assert steps % trials.epochs_of(steps) == 0
    assert [trials.epochs_of(steps) for steps in (4, 100, 2000, 2001, 1999)] == [1, 5, 10, 3, 1]


def test_durations():
    assert [progress.duration(seconds) for seconds in (0.2, 25, 700, 11_100)] == ["1 s", "25 s", "12 min", "3 h 05 min"]
