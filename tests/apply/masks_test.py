"""Masks that users give."""

from pathlib import Path

import numpy as np
import pytest

from tfssl.apply import masks
from tfssl.base.errors import UserError
from tfssl.pipelines.ops.windows import Box


def test_boxes_are_read():
    assert masks.parse_box(" 1, 2,30 ,4") == Box(1, 2, 30, 4)
    assert masks.parse_box("-1,0,3,4") == Box(-1, 0, 3, 4)
    for other in ("1,2,3", "1,2,3,4,5", "mask.png", "1,2,3,x", "centre"):
        assert masks.parse_box(other) is None


def test_a_box_is_a_mask():
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:7] = True
    np.testing.assert_array_equal(masks.of_box(Box(1, 2, 3, 5), Path("film.mp4"), (6, 8, 3)), expected)
    assert masks.of_box(Box(0, 0, 6, 8), Path("film.mp4"), (6, 8)).all()
    for outside in (Box(-1, 0, 2, 2), Box(0, 0, 7, 1), Box(0, 4, 1, 5), Box(0, 0, 0, 3)):
        with pytest.raises(UserError, match=r"is not inside of film\.mp4, which is 6 pixels high and 8 wide"):
            masks.of_box(outside, Path("film.mp4"), (6, 8))


def test_white_counts_by_the_mean_of_the_colours():
    image = np.array([[[127, 127, 127], [128, 128, 128], [255, 255, 0], [255, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(masks.of_picture(image), [[False, True, True, False]])


def test_a_mask_has_the_shape_of_its_picture():
    inside = np.ones((3, 4), bool)
    assert masks.check_size(inside, Path("m.png"), Path("p.png"), (3, 4, 3)) is inside
    with pytest.raises(UserError, match=r"m\.png is 3 pixels high and 4 wide, but p\.png is 4 high and 3 wide"):
        masks.check_size(inside, Path("m.png"), Path("p.png"), (4, 3))
