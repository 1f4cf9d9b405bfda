"""Which pictures choices are made on."""

import numpy as np

from tfssl.evaluation.data import Data, Division, Fold
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.any_source import open_source


def test_broken_pictures_do_not_change_the_division():
    """Rows that cannot be decoded are missing from their part; no other row changes sides."""
    train = open_source("toy:images(count=1200, size=32)")
    data = Data(train, train, None, 3)
    learn, held_out = dividing.divide(train.labels, train.groups, 3)
    np.testing.assert_array_equal(data.division.held_out, held_out)
    decoded = np.setdiff1d(np.arange(1200), [held_out[1], learn[0], learn[7]])
    (among,) = data.division.among(decoded).folds
    np.testing.assert_array_equal(decoded[among.learn], np.setdiff1d(learn, learn[[0, 7]]))
    np.testing.assert_array_equal(decoded[among.held_out], np.delete(held_out, 1))


def test_where_there_is_a_validation_part_training_is_not_divided():
    train = open_source("toy:images(count=60, size=32)")
    assert Data(train, train, train, 0).division is None
    folds = Fold(np.array([0, 2]), np.array([1])), Fold(np.array([1, 2]), np.array([0]))
    (fold,) = Division(folds).among(np.array([1, 2])).folds  # nothing is left to choose on in the second
    assert (fold.learn.tolist(), fold.held_out.tolist()) == ([1], [0])
