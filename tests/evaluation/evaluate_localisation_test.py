"""`evaluate_localisation`: the pointing game on the toy world."""

import numpy as np
import pytest

import tfssl
from tfssl.apply.localise import Localiser
from tfssl.base.errors import UserError
from tfssl.evaluation import localisation


def test_the_largest_value_is_found_in_pixels():
    maps = np.zeros((3, 4, 4), "f4")
    maps[0, 1, 2], maps[1, 0, 0], maps[2, 3, 1] = 5, 1, -1
    maps[2][maps[2] == 0] = -2
    places = localisation.largest(maps, 32)
    for place, (row, column) in zip(places, ((1, 2), (0, 0), (3, 1)), strict=True):
        assert np.abs(place - (8 * np.array([row, column]) + 4)).max() <= 5


def test_boxes_are_those_around_masks():
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 1, 2] = masks[0, 3, 4] = masks[1, 5, 0] = True
    expected = np.zeros_like(masks)
    expected[0, 1:4, 2:5] = expected[1, 5, 0] = True
    np.testing.assert_array_equal(localisation._boxes(masks), expected)


def test_a_map_that_knows_the_object_points_at_it(localising_run, monkeypatch):
    """In place of the network: brightness of the mask that it cannot know, and its opposite."""
    case, seen = localisation._case, []

    def remembered(*arguments):
        found = case(*arguments)
        if found is not None:
            seen.append(found[2])
        return found

    monkeypatch.setattr(localisation, "_case", remembered)
    monkeypatch.setattr(localisation, "_random", lambda *_: lambda images, sounds: -np.array(seen, "f4"))
    monkeypatch.setattr(Localiser, "__call__", lambda self, images, sounds: np.array(seen, "f4"))
    found = tfssl.evaluate_localisation(localising_run, "toy:clips(count=12, seconds=1.2, seed=9)")
    assert (found.clips, found.trained, found.on_object) == (len(seen), 1.0, 1.0)
    assert found.random < 1
    assert 0 < found.chance < 0.6
    assert found.interval[0] < 1 == found.interval[1]


def test_the_pointing_game_is_played_on_the_toy_world(localising_run):
    found = tfssl.evaluate_localisation(localising_run, "toy:clips(count=6, seconds=1.2, seed=9)")
    assert 0 < found.clips <= 6
    assert 0 <= found.on_object <= found.trained <= 1
    assert "points at the box" in str(found)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("toy:clips(frames=2)", "frames"),
        ("toy:clips(count=2, seconds=0.3)", "of sound"),
        ("toy:clips(count=0)", "a count of at least 1"),
        ("toy:images(count=6)", "images.count=6. is given, expected 'toy:clips"),
        ("film.mp4", "film.mp4 is given, expected 'toy:clips"),
    ],
)
def test_other_data_is_refused(localising_run, data, line):
    with pytest.raises(UserError, match=line):
        tfssl.evaluate_localisation(localising_run, data)


def test_a_run_without_localisation(toy_run):
    with pytest.raises(UserError, match="localise needs one that was trained on"):
        tfssl.evaluate_localisation(toy_run)
