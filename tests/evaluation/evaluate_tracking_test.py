"""`evaluate_tracking`: masks and points followed through the toy world."""

import numpy as np
import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation.tracking import jaccard, located, splat


def test_points_are_found_where_they_were_put():
    points = np.random.default_rng(3).uniform(6, 58, (2, 5, 2))
    shares = splat(points, 64, 16).numpy()
    np.testing.assert_allclose(shares.sum((1, 2)), 1, atol=1e-5)
    middles = 4 * np.arange(16) + 2
    np.testing.assert_allclose(np.einsum("nyxp,y->np", shares, middles), points[..., 0], atol=1e-4)
    assert np.abs(located(shares, 64) - points).max() <= 2  # half a cell, as small shares are left out
    peak = np.zeros((1, 16, 16, 1))
    peak[0, 3, 10] = 0.2
    np.testing.assert_allclose(located(peak, 64), [[[14, 42]]])


def test_jaccard():
    one, other = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    one[0, :2], other[0, 1:3] = True, True
    one[1, 0] = True
    np.testing.assert_allclose(jaccard(one, other), [1 / 3, 0, 1])


def test_the_toy_world_is_followed(tracking_run):
    data = "toy:clips(count=10, seconds=1.2, seed=20180)"
    scores = tfssl.evaluate_tracking(tracking_run, data)
    assert set(scores.ways) == {"trained", "random", "stays", "cells"}
    assert scores.frames == 14
    assert 0.6 < scores.ways["cells"].jaccard < 1
    assert 0.2 < scores.ways["stays"].jaccard < scores.ways["cells"].jaccard
    assert 0 < scores.ways["random"].jaccard < scores.ways["cells"].jaccard
    assert tfssl.evaluate_tracking(tracking_run, data) == scores
    assert "Jaccard" in str(scores)


def test_other_clips_have_other_scores(tracking_run):
    """`start` and `seed` say which clips, and how to follow changes what is found."""
    first = tfssl.evaluate_tracking(tracking_run, "toy:clips(count=3, seconds=0.4, seed=3)")
    later = tfssl.evaluate_tracking(tracking_run, "toy:clips(count=3, seconds=0.4, seed=3, start=2)")
    assert first.ways["stays"] != later.ways["stays"]
    sharp = tfssl.evaluate_tracking(tracking_run, "toy:clips(count=3, seconds=0.4, seed=3)", temperature=0.01, most=1)
    assert sharp.ways["stays"] == first.ways["stays"]
    assert sharp.ways["trained"] != first.ways["trained"]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("toy:images(count=6)", "images.count=6. is given, expected 'toy:clips"),
        ("toy:clips(seconds=0.1)", "clips of 0.1 s, expected two frames or more, 0.16 s"),
        ("clips", "clips is given, expected 'toy:clips"),
    ],
)
def test_other_data_is_refused(tracking_run, data, line):
    with pytest.raises(UserError, match=line):
        tfssl.evaluate_tracking(tracking_run, data)


def test_a_run_without_tracking(toy_run):
    with pytest.raises(UserError, match="has no tracking, its tasks are: rotation"):
        tfssl.evaluate_tracking(toy_run)
