"""What is done to pictures and labels before they are learned from, against NumPy."""

import numpy as np
import tensorflow as tf

from tfssl.downstream import stream

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
SEED = tf.constant([3, 5])


def test_flip_mirrors_about_half_and_leaves_the_rest():
    many = np.repeat(IMAGES[:1], 400, 0)
    flipped = stream.flip(tf.constant(many), SEED).numpy()
    mirrored = (flipped == many[:, :, ::-1]).all((1, 2, 3))
    np.testing.assert_array_equal(flipped[~mirrored], many[~mirrored])
    assert 160 < mirrored.sum() < 240


def test_mixup_is_that_of_numpy():
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    images, mixed = stream.mix(tf.constant(IMAGES), tf.constant(labels), 0.4, SEED)
    share = mixed.numpy()[np.arange(6), labels.argmax(1)]  # neighbours differ in their labels
    following = np.roll(np.arange(6), -1)
    wanted = share[:, None, None, None] * IMAGES.astype(float) + (1 - share[:, None, None, None]) * IMAGES[following]
    assert np.abs(images.numpy() - wanted).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(mixed, share[:, None] * labels + (1 - share[:, None]) * labels[following], atol=1e-6)
    many = stream.mix(tf.zeros([20000, 1, 1, 3], tf.uint8), tf.tile(tf.constant(labels[:2]), [10000, 1]), 0.4, SEED)[1]
    shares = many.numpy()[np.arange(20000), np.arange(20000) % 2]
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert abs(shares.mean() - 0.5) < 0.01
    assert abs(shares.var() - 1 / (4 * 1.8)) < 0.004


def test_jitter_is_that_of_numpy():
    jittered = stream.jitter(tf.constant(IMAGES), 0.5, SEED).numpy()
    draw = tf.random.stateless_uniform([3, 6, 1, 1, 1], SEED, 0.5, 1.5).numpy()
    grey = np.array([0.299, 0.587, 0.114])
    for row, image in enumerate(IMAGES.astype(float)):
        x = np.clip(image * draw[0, row], 0, 255)
        mean = (x @ grey).mean()
        x = np.clip(mean + (x - mean) * draw[1, row], 0, 255)
        grey_of = (x @ grey)[..., None]
        x = np.clip(grey_of + (x - grey_of) * draw[2, row], 0, 255)
        assert np.abs(jittered[row] - x).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(stream.jitter(tf.constant(IMAGES), 0.0, SEED), IMAGES)


def test_class_weights_make_all_classes_count_the_same():
    targets = np.eye(4, dtype=np.float32)[[0] * 6 + [1] * 3 + [2]]
    weights = stream.class_weights(targets, True)
    rows = stream.row_weights(targets, weights)
    counts = [rows[targets[:, label] > 0].sum() for label in range(3)]
    np.testing.assert_allclose(counts, [10 / 3] * 3, rtol=1e-6)
    assert weights[3] == 0
    assert rows.mean() == np.float32(1)
    np.testing.assert_array_equal(stream.class_weights(targets, False), 1)
