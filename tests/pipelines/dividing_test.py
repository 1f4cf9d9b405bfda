"""How labelled data is divided: by class, by groups, the same for one seed."""

import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.pipelines.sources import dividing

ALONE = np.arange(200)


def labels_of(seed, classes=7, count=200):
    return np.random.default_rng(seed).integers(-1, classes, count)


@pytest.mark.smoke
@pytest.mark.parametrize("seed", [0, 5])
def test_pictures_of_their_own_are_divided_within_each_class(seed):
    labels = labels_of(seed)
    train, test = dividing.divide(labels, ALONE, seed)
    rng, expected = np.random.default_rng(seed), []
    for label in np.unique(labels):
        numbers = rng.permutation(np.flatnonzero(labels == label))
        expected += numbers[round(0.8 * len(numbers)) :].tolist()
    assert test.tolist() == sorted(expected)
    assert sorted([*train, *test]) == ALONE.tolist()
    assert dividing.divide(labels, ALONE, seed + 1)[1].tolist() != test.tolist()


@pytest.mark.parametrize("seed", range(8))
def test_groups_stay_together_and_classes_keep_their_shares(seed):
    rng = np.random.default_rng(seed)
    label_of = rng.integers(0, 4, 120)  # of groups
    groups = rng.permutation(np.repeat(np.arange(120), rng.integers(1, 9, 120)))
    labels = label_of[groups]
    train, test = dividing.divide(labels, groups, seed)
    assert not set(groups[train]) & set(groups[test])
    assert sorted([*train, *test]) == list(range(len(groups)))
    for label in range(4):
        share = np.mean(labels[test] == label) * len(test) / np.sum(labels == label)
        assert abs(share - 0.2) * np.sum(labels == label) <= 4  # half of the largest group
    fold_of = dividing.folds(labels, groups, 5, seed)
    assert all(len(np.unique(fold_of[groups == group])) == 1 for group in range(120))
    for label in range(4):
        counts = np.bincount(fold_of[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 2
    again = dividing.divide(labels, groups, seed)
    np.testing.assert_array_equal(test, again[1])


@pytest.mark.parametrize(
    ("sizes", "tested"),
    [
        ([10, 10], {10}),  # two films: one is tested, although it is half of all
        ([50] + [1] * 10, {10}),  # never the long one
        ([9, 9, 9, 1], {9, 10}),
        ([2], {0}),  # one film can only be trained on
        ([1, 1], {1}),
    ],
)
def test_large_groups(sizes, tested):
    """Of one class, beside one of pictures of their own."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.append(np.zeros(len(groups), int), np.ones(10, int))
    groups = np.append(groups, 100 + np.arange(10))
    found = {int(np.sum(labels[dividing.divide(labels, groups, seed)[1]] == 0)) for seed in range(20)}
    assert found <= tested
    assert len(dividing.divide(labels, groups, 0)[1]) >= 2


def test_a_group_of_several_classes_is_not_divided():
    groups = np.repeat(np.arange(20), 5)
    labels = np.tile([0, 0, 1, 0, 1], 20)
    labels[50:] = 1 - labels[50:]
    train, test = dividing.divide(labels, groups, 0)
    assert not set(groups[train]) & set(groups[test])
    assert sorted({int(group) // 10 for group in groups[test]}) == [0, 1]  # of both kinds
    assert len(test) == 20


def test_folds_of_sounds_of_their_own_are_as_equal_as_can_be():
    labels = labels_of(3)
    fold_of = dividing.folds(labels, ALONE, 5, 3)
    rng = np.random.default_rng(3)
    for label in np.unique(labels):
        numbers = np.flatnonzero(labels == label)
        expected = np.empty(len(numbers), int)
        expected[rng.permutation(len(numbers))] = np.arange(len(numbers)) % 5
        np.testing.assert_array_equal(fold_of[numbers], expected)


def test_groups_of_names():
    names = ["a-7.wav", "a-8.wav", "b-7.wav", "odd.wav"]
    assert dividing.groups_of_names(names, r"-(\d)") == ["7", "8", "7", "odd.wav"]
    assert dividing.groups_of_names(names, "^[ab]") == ["a", "a", "b", "odd.wav"]
    assert dividing.groups_of_names(names, "(x)?") == names
    with pytest.raises(UserError, match=r"--groups '\(' is no regular expression"):
        dividing.groups_of_names(names, "(")


@pytest.mark.parametrize("whole", ["photos", "toy:images(count=40, size=32)", "a (80 %, split seed 3)"])
def test_names_of_parts(whole):
    for training in (True, False):
        name = dividing.name_of_part(whole, training, 17)
        assert dividing.parse_part(name) == (whole, training, 17)
    assert dividing.name_of_part("photos", True, 0) == "photos (80 %, split seed 0)"
    assert dividing.parse_part("photos (50 %, split seed 0)") is None
    assert dividing.parse_part("photos") is None
