"""Intervals of figures over seeds, and what may be claimed of them."""

import numpy as np
import pytest

from tests.support.study_rows import row
from tfssl.studies import claims, statistics, table

# Statistics


@pytest.mark.smoke
def test_interval_is_students():
    from scipy import stats

    values = [0.31, 0.352, 0.334]
    found = statistics.over_seeds(values, 1000)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high), abs=1e-9)
    assert found.half == pytest.approx((high - low) / 2)


def test_one_share_has_the_interval_of_its_test_pictures():
    found = statistics.over_seeds([0.75], 100)
    assert (round(found.low, 4), round(found.high, 4)) == (0.6570, 0.8245)  # R: prop.test(75, 100, correct = FALSE)
    assert statistics.over_seeds([0.75, 0.75], 100) == statistics.Estimate(0.75, found.low, found.high, (0.75, 0.75))
    assert statistics.over_seeds([0.75]).half is None


def test_differences_are_paired():
    from scipy import stats

    one, other = {0: 0.41, 1: 0.45, 2: 0.44, 7: 0.9}, {2: 0.41, 1: 0.44, 0: 0.39}
    found = statistics.difference(one, other, 1000)
    expected = stats.ttest_rel([0.41, 0.45, 0.44], [0.39, 0.44, 0.41]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.mean == pytest.approx(0.02)
    single = statistics.difference({0: 0.5}, {0: 0.4}, 400)
    assert single.half == pytest.approx(1.959964 * np.sqrt(0.25 / 400 + 0.24 / 400), rel=1e-6)
    same = statistics.difference({0: 0.5, 1: 0.6}, {0: 0.4, 1: 0.5}, 400)
    assert same.half == pytest.approx(1.959964 * np.sqrt((0.55 * 0.45 + 0.45 * 0.55) / 400), rel=1e-6)
    assert statistics.difference({0: 0.5}, {1: 0.5}, 400) is None


# Claims


def verdicts(*rows: table.Row) -> list[tuple[str, str, str]]:
    found = claims.check_claims(rows, 1000)
    return [(claim.rival, claim.verdict, claim.sentence) for claim in found if claim.protocol == "linear"]


ROTATION = row("rotation", {0: 0.40, 1: 0.42, 2: 0.41})
INPAINTING = row("inpainting", {0: 0.35, 1: 0.36, 2: 0.37})


@pytest.mark.smoke
def test_a_claim_holds_where_every_interval_is_above_0():
    joint = row("rotation, inpainting(weight=0.5)", {0: 0.45, 1: 0.465, 2: 0.46})
    ((rival, verdict, sentence),) = verdicts(ROTATION, INPAINTING, joint)
    assert (rival, verdict) == ("rotation", "holds")
    assert "linear probe 4.8 points ahead of rotation, the best of its tasks alone (95 % interval" in sentence
    assert sentence.endswith("over 3 seeds, paired): the claim holds.")


def test_a_claim_is_not_shown_or_wrong():
    near = row("rotation, inpainting", {0: 0.42, 1: 0.42, 2: 0.415})
    assert verdicts(ROTATION, INPAINTING, near)[0][1:] == (
        "not shown",
        "rotation, inpainting: linear probe 0.8 points ahead of rotation, the best of its tasks alone (95 % interval "
        "-1.8 to +3.4 points, over 3 seeds, paired): the claim is NOT shown.",
    )
    behind = row("rotation, inpainting", {0: 0.36, 1: 0.381, 2: 0.37})
    assert verdicts(ROTATION, INPAINTING, behind)[0][1] == "does not hold"
    assert "NOT hold, it is behind" in verdicts(ROTATION, INPAINTING, behind)[0][2]
    # Ahead of the best one, but of a worse one that is all over the place not surely.
    wild = row("inpainting", {0: 0.20, 1: 0.52, 2: 0.30})
    joint = row("rotation, inpainting", {0: 0.45, 1: 0.465, 2: 0.46})
    assert verdicts(ROTATION, wild, joint)[0][:2] == ("rotation", "not shown")
    assert "NOT shown against every one of its tasks" in verdicts(ROTATION, wild, joint)[0][2]


def test_what_cannot_be_claimed_is_not():
    joint = row("rotation, inpainting", {0: 0.45, 1: 0.465, 2: 0.46})
    assert verdicts(ROTATION, joint) == []
    assert verdicts(ROTATION, INPAINTING, row("rotation, inpainting", {5: 0.45})) == []
    assert verdicts(ROTATION, row("inpainting(hole='centre')", {0: 0.3}), joint) == []


def test_against_random_weights():
    random = row("random weights", {0: 0.3, 1: 0.32, 2: 0.30})
    assert verdicts(ROTATION, random)[0][:2] == ("random weights", "holds")
    assert verdicts(ROTATION, random)[0][2].endswith("it is ahead.")
    single = verdicts(row("rotation", {0: 0.31}), row("random weights", {0: 0.3}))[0]
    assert single[1] == "not shown"
    assert "over the draw of test pictures only" in single[2]
