"""Warping and matching, beside the same in numpy."""

import numpy as np
import tensorflow as tf
from scipy.ndimage import map_coordinates

from tfssl.tasks.parts.warping import MatchedDisplacement, WarpedBetween, warp

HEIGHT, WIDTH = 7, 9


def looked_up(picture, flow):
    """[H, W, C] at the places that flow points to, by scipy."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] + np.moveaxis(flow, -1, 0)
    channels = [map_coordinates(each, [rows, columns], order=1, mode="nearest") for each in np.moveaxis(picture, -1, 0)]
    return np.stack(channels, -1)


def test_warped_is_bilinear_and_keeps_to_the_picture():
    generator = np.random.default_rng(0)
    pictures = generator.normal(size=(3, HEIGHT, WIDTH, 2)).astype(np.float32)
    flow = generator.normal(0, 3, (3, HEIGHT, WIDTH, 2)).astype(np.float32)
    flow[2] = np.round(flow[2])
    expected = [looked_up(*each) for each in zip(pictures, flow, strict=True)]
    np.testing.assert_allclose(warp(pictures, flow), expected, atol=1e-5)
    np.testing.assert_allclose(tf.function(warp, jit_compile=True)(pictures, flow), expected, atol=1e-5)


def test_gradient_says_where_to_look():
    ramp = np.arange(WIDTH, dtype=np.float32)[None, None, :, None] * np.ones((1, HEIGHT, 1, 1), np.float32)
    flow = tf.Variable(tf.fill([1, HEIGHT, WIDTH, 2], 0.25))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(warp(ramp, flow))
    found = tape.gradient(total, flow).numpy()[0]
    np.testing.assert_allclose(found[..., 0], 0, atol=1e-6)
    np.testing.assert_allclose(found[:, :-1, 1], 1, atol=1e-6)  # a step to the right is one level more
    np.testing.assert_allclose(found[:, -1, 1], 0)  # and there is none beyond the border


def test_frames_are_warped_and_blended():
    generator = np.random.default_rng(1)
    frames = generator.integers(0, 256, (2, 2, HEIGHT, WIDTH, 3), np.uint8)
    numbers = generator.normal(size=(2, HEIGHT, WIDTH, 5)).astype(np.float32)
    pixels = np.array([HEIGHT, WIDTH]) / 32
    share = 1 / (1 + np.exp(-numbers[..., 4:]))
    expected = [
        counts * looked_up(first, pixels * flows[..., :2]) + (1 - counts) * looked_up(second, pixels * flows[..., 2:4])
        for (first, second), flows, counts in zip(frames / 127.5 - 1, numbers, share, strict=True)
    ]
    np.testing.assert_allclose(WarpedBetween()([frames, numbers]), expected, atol=1e-5)


def test_matching_weighs_displacements_by_similarity():
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 1, HEIGHT, WIDTH, 4)).astype(np.float32)
    found = MatchedDisplacement(2)([first, second]).numpy()[0]
    first, second = (each[0] / np.sqrt((each[0] ** 2).sum(-1, keepdims=True) + 1e-3) for each in (first, second))
    first, second = (np.pad(each, ((2, 2), (2, 2), (0, 0)), "symmetric") for each in (first, second))
    for row, column in np.ndindex(HEIGHT, WIDTH):
        y, x = row + 2, column + 2
        moves = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
        similar = np.array([first[y - i, x - j] @ second[y + i, x + j] for i, j in moves])
        shares = np.exp(10 * similar) / np.exp(10 * similar).sum()
        np.testing.assert_allclose(found[row, column, :2], shares @ np.array(moves), atol=1e-4)
        assert abs(found[row, column, 2] - (similar[12] - shares @ similar)) < 1e-4


def test_what_moves_evenly_is_found_in_the_middle():
    # A pattern that moves by (2, -4) places between the two frames moves by (1, -2) from each to the middle.
    pattern = np.random.default_rng(3).normal(size=(30, 30, 16)).astype(np.float32)
    first, second = pattern[5:21, 5:21], pattern[3:19, 9:25]
    found = MatchedDisplacement(2)([first[None], second[None]]).numpy()[0, 4:-4, 4:-4]
    assert np.abs(found[..., :2] - [1, -2]).max() < 0.5
    assert np.abs(found[..., :2] - [1, -2]).mean() < 0.05
    assert found[..., 2].max() < 0


def test_a_map_of_one_place_is_matched_with_itself():
    one = np.ones((2, 1, 1, 3), np.float32)
    np.testing.assert_allclose(MatchedDisplacement(2)([one, one]), 0, atol=1e-6)
