"""Student's interval, which means over folds, over seeds and over batches share."""

import numpy as np
import pytest

from tfssl.base.statistics import paired, student
from tfssl.evaluation.sound import FoldScore
from tfssl.studies.statistics import over_seeds

# Of printed tables: the 97.5 % points for 1 to 19 degrees of freedom.
TABLE = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
TABLE += [2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093]


@pytest.mark.smoke
@pytest.mark.parametrize("count", range(2, 21))
def test_intervals_of_2_to_20_values_are_those_of_the_table(count):
    assert student(count - 1) == pytest.approx(TABLE[count - 2], abs=6e-4)
    values = tuple(np.random.default_rng(count).uniform(0.4, 0.6, count).tolist())
    half = TABLE[count - 2] * np.std(values, ddof=1) / np.sqrt(count)
    assert FoldScore(values).half == pytest.approx(half, rel=3e-4)
    assert over_seeds(values).half == pytest.approx(half, rel=3e-4)


def test_other_confidence():
    assert student(5, 0.99) == pytest.approx(4.032, abs=6e-4)


def test_the_paired_interval_is_that_of_a_bootstrap():
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=400)
    one, other = (hard + rng.normal(0, 0.1, 400) < share for share in (0.7, 0.6))
    rows = rng.integers(0, 400, (4000, 400))
    means = one[rows].mean(1) - other[rows].mean(1)
    mean, low, high = paired(one.astype(float).tolist(), other.astype(float).tolist())
    assert mean == pytest.approx(one.mean() - other.mean())
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.004)
    assert paired([0.5] * 3, [0.5] * 3) == (0, 0, 0)
