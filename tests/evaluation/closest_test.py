"""What is closest in a stream is what a sort of all of it finds."""

import numpy as np
import pytest

from tfssl.frozen.closest import NONE, Closest


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_the_best_of_each_key_as_a_sort_of_everything_finds_them(batch):
    rng = np.random.default_rng(batch)
    scores = rng.normal(size=(9, 60)).round(1)  # rounded, so that some are level
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    numbers, keys = rng.permutation(1000)[:60], rng.integers(0, 12, 60)
    closest = Closest(9, 5)
    for start in range(0, 60, batch):
        part = slice(start, start + batch)
        closest.add(scores[:, part], numbers[part], keys[part])
    for question in range(9):
        found, seen = [], set()
        for place in np.argsort(-scores[question], kind="stable"):
            if keys[place] not in seen and np.isfinite(scores[question, place]):
                seen.add(keys[place])
                found.append(place)
        np.testing.assert_array_equal(closest.numbers[question], numbers[found[:5]])
        np.testing.assert_allclose(closest.similarity[question], scores[question, found[:5]], rtol=1e-6)


def test_fewer_than_were_asked_for():
    closest = Closest(1, 3)
    closest.add(np.array([[0.5, -np.inf, 0.7]]), np.array([4, 5, 6]), np.array([0, 1, 0]))
    assert closest.numbers.tolist() == [[6, NONE, NONE]]
    assert closest.similarity[0].tolist() == pytest.approx([0.7, -np.inf, -np.inf])
