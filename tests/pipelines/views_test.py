"""Crops, colours and blur of random views against independent computations, picture by picture."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from tfssl.pipelines.ops import blur, boxes, colour_jitter, packed, views

SEED = tf.constant([3, 4])


@pytest.fixture(scope="module")
def images():
    """Smooth pictures, and one of noise."""
    noise = np.random.default_rng(0).uniform(0, 255, (6, 40, 40, 3))
    noise[1:] = ndimage.gaussian_filter(noise[1:], (0, 3, 3, 0)) * 6 - 640
    return np.clip(np.round(noise), 0, 255).astype(np.uint8)


def test_packed_and_back(images):
    pixels = packed.pack(tf.constant(images))
    assert (pixels.shape, pixels.dtype) == ((6, 40, 40), tf.uint32)
    red, green, blue = images.astype(np.uint32).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(pixels, red + 256 * green + 65536 * blue)
    np.testing.assert_array_equal(packed.unpack(pixels), images)


def test_boxes_are_enlarged_as_tensorflow_resizes_their_cut_parts(images):
    given = np.array([[0, 0, 40, 40], [5, 7, 20, 31], [39, 0, 1, 40], [20, 20, 20, 20], [3, 0, 13, 8], [0, 1, 2, 39]])
    row_of = np.array([0, 0, 2, 5, 1, 3])
    mirrored = np.array([False, True, False, True, False, True])
    found = packed.unpack(
        boxes.enlarge(packed.pack(tf.constant(images)), tf.constant(given, tf.int32), mirrored, row_of)
    )
    for one, (top, left, height, width), row, flip in zip(found.numpy(), given, row_of, mirrored, strict=True):
        part = images[row, top : top + height, left : left + width]
        wanted = tf.image.resize(part, [40, 40]).numpy()
        wanted = wanted[:, ::-1] if flip else wanted
        assert np.abs(one - wanted).max() <= 2, (top, left)
        assert np.abs(one - wanted).mean() < 0.4  # rounded twice
    np.testing.assert_array_equal(found[0], images[0])  # the whole picture is itself


def jittered(image, brightness, contrast, saturation, hue, order, is_grey):
    """The same with explicit steps, in floats from 0 to 1, hue by TensorFlow's YIQ."""
    x = image / 255.0

    def grey(x):
        return x @ [0.299, 0.587, 0.114]

    for step in order:
        if step == 0:
            x = brightness * x
        elif step == 1:
            x = contrast * x + (1 - contrast) * grey(x).mean()
        elif step == 2:
            x = saturation * x + (1 - saturation) * grey(x)[..., None]
        else:
            luma, *chroma = np.moveaxis(tf.image.rgb_to_yiq(x).numpy(), -1, 0)
            turned = (chroma[0] + 1j * chroma[1]) * np.exp(2j * np.pi * hue)
            x = tf.image.yiq_to_rgb(np.stack([luma, turned.real, turned.imag], -1)).numpy()
        x = np.clip(x, 0, 1)
    return 255 * (np.repeat(grey(x)[..., None], 3, -1) if is_grey else x)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_colours_change_as_told_step_by_step_in_every_order(images, strength):
    count = 48
    many = np.tile(images, (8, 1, 1, 1))
    factors, _, is_grey = colour_jitter.draw(count, SEED, strength, 0.9, 0.2)
    order = np.arange(count) % 24
    assert sorted(colour_jitter.ORDERS) == sorted(itertools.permutations(range(4)))
    found = packed.unpack(
        colour_jitter.jitter(packed.pack(tf.constant(many)), factors, tf.constant(order, tf.int32), is_grey)
    ).numpy()
    for one, image, factor, step, grey in zip(found, many, factors.numpy(), order, is_grey.numpy(), strict=True):
        wanted = jittered(image, *factor.astype(float), colour_jitter.ORDERS[step], grey)
        # A level for the digits that either has of YIQ: near black and white clipping makes them a little larger.
        assert np.abs(one - wanted).max() < 2
        assert np.abs(one - wanted).mean() < 0.4


def test_the_order_matters(images):
    """A bright picture made paler and then brighter is another than one made brighter first."""
    factors = tf.constant([[1.4, 0.6, 1.0, 0.0]] * 2)
    pair = packed.pack(tf.constant(images[:1].repeat(2, 0)))
    orders = [colour_jitter.ORDERS.index(order) for order in ((0, 1, 2, 3), (1, 0, 2, 3))]
    one, other = packed.unpack(colour_jitter.jitter(pair, factors, tf.constant(orders), tf.constant([False, False])))
    assert np.abs(one.numpy().astype(int) - other.numpy()).mean() > 10


def test_colours_are_drawn_evenly_and_independently():
    factors, order, grey = (each.numpy() for each in colour_jitter.draw(20000, SEED, 0.5, 0.8, 0.2))
    still = (factors == [1, 1, 1, 0]).all(1)
    assert still.mean() == pytest.approx(0.2, abs=0.015)
    assert grey.mean() == pytest.approx(0.2, abs=0.015)
    for column, (middle, reach) in zip(factors[~still].T, [(1, 0.4)] * 3 + [(0, 0.1)], strict=True):
        assert stats.kstest((column - middle + reach) / (2 * reach), "uniform").pvalue > 1e-3
    assert stats.chisquare(np.bincount(order, minlength=24)).pvalue > 1e-3
    together = np.corrcoef(np.column_stack([factors[~still], order[~still], grey[~still]]).T)
    assert np.abs(together - np.eye(6)).max() < 0.04
    assert (colour_jitter.draw(2000, SEED, 2.0, 1.0, 0.0)[0].numpy()[:, :3] >= 0).all()  # no negative pictures


@pytest.mark.parametrize("size", [40, 96])
def test_blur_is_a_gaussian_of_its_own_width(size):
    pictures = np.random.default_rng(1).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    deviation = np.array([0.0, 0.1, 0.5, 2 * size / 224], np.float32)
    found = packed.unpack(blur.blur(packed.pack(tf.constant(pictures)), tf.constant(deviation))).numpy()
    radius = int(np.ceil(6 * size / 224))
    for one, picture, width in zip(found, pictures, deviation, strict=True):
        wanted = picture.astype(float)
        if width:
            wanted = ndimage.gaussian_filter(wanted, (width, width, 0), mode="reflect", radius=(radius, radius, 0))
        assert np.abs(one - wanted).max() <= 1.01
        assert np.abs(one - wanted).mean() < 0.4  # rounded twice


def test_blur_is_drawn_for_a_share_of_each_batch():
    often, widths = np.zeros(40), []
    for seed in range(200):
        chosen, width = (each.numpy() for each in blur.draw(40, 96, tf.constant([1, seed]), 0.3))
        assert len(set(chosen)) == len(chosen) == len(width) == 12
        often[chosen] += 1
        widths.append(width * 224 / 96)
    # Of 200 batches each is in about 60; drawn without putting back, its count is binomial.
    assert stats.chisquare(often).pvalue > 1e-3
    assert stats.kstest((np.concatenate(widths) - 0.1) / 1.9, "uniform").pvalue > 1e-3


@pytest.mark.smoke  # where XLA optimizes what it compiles
@pytest.mark.parametrize("at_once", [views.AT_ONCE, 5 * 96 * 96])
def test_only_the_chosen_are_blurred_however_many_are_made_at_once(at_once, monkeypatch):
    """XLA compiles for pieces of 12, 4 and 8 views, or of 5, 2, 4 and 3: some seconds."""
    monkeypatch.setattr(views, "AT_ONCE", at_once)
    noise = tf.constant(np.random.default_rng(2).integers(0, 256, (6, 96, 96, 3), dtype=np.uint8))
    plain = {"strength": 0.0, "grey": 0.0, "area": 1.0}
    sharp, found = (views.draw(noise, 2, SEED, **plain, blurred=share).numpy() for share in (0.0, 0.3))
    chosen, width = blur.draw(12, 96, tf.random.split(SEED, 4)[3], 0.3)
    others = np.delete(np.arange(12), chosen)
    np.testing.assert_array_equal(found[others], sharp[others])
    wanted = packed.unpack(blur.blur(packed.pack(tf.constant(sharp[chosen])), width)).numpy().astype(int)
    assert np.abs(found[chosen] - wanted).max() <= 1  # compiled for another number of pictures
    assert np.abs(sharp[chosen] - wanted).max() > 10


def test_views_stand_side_by_side_each_of_its_own_draw(images):
    """Seconds go into XLA, which compiles crop, colours and blur for each shape."""
    flat = np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None] * 40, (6, 40, 40, 3))
    plain = {"strength": 0.0, "grey": 0.0, "blurred": 0.0}
    np.testing.assert_array_equal(views.draw(tf.constant(flat), 2, SEED, **plain), flat.repeat(2, 0))
    assert views.draw(tf.constant(images), 3, SEED).shape == (18, 40, 40, 3)
    # Correlation of what was drawn for both views of a picture: brightness of white pictures tells it.
    white = tf.fill([500, 33, 33, 3], tf.constant(200, tf.uint8))
    made = views.draw(white, 2, SEED, grey=0.0, blurred=0.0, strength=0.3).numpy()[:, 0, 0, 0].astype(float)
    assert abs(np.corrcoef(made.reshape(500, 2).T)[0, 1]) < 0.15
    assert made.std() > 20


def test_boxes_and_flips_of_views_are_independent():
    ramps = np.zeros((400, 33, 33, 3), np.uint8)
    ramps[..., 0] = np.arange(33)[:, None] * 7
    ramps[..., 1] = np.arange(33) * 7
    made = views.draw(tf.constant(ramps), 2, SEED, strength=0.0, grey=0.0, blurred=0.0).numpy().astype(float) / 7
    top, bottom = made[:, 0, 16, 0], made[:, -1, 16, 0]
    left, right = made[:, 16, 0, 1], made[:, 16, -1, 1]
    mirrored = left > right
    assert mirrored.mean() == pytest.approx(0.5, abs=0.06)
    height, width = (np.abs(far - near) + 1 for far, near in ((bottom, top), (right, left)))
    area = height * width / 33**2
    assert 0.07 < area.min() < 0.12
    assert stats.kstest((area - 0.08) / 0.92, "uniform").pvalue > 1e-3
    assert (np.abs(np.log(width / height)) < np.log(4 / 3) + 0.15).all()
    drawn = np.stack([top, left, area, mirrored], 1).reshape(400, 8)
    across = np.corrcoef(drawn.T)[:4, 4:]
    assert np.abs(across).max() < 0.2


@pytest.mark.parametrize("size", [32, 80])
def test_small_pictures_are_never_blurred(size):
    noise = tf.cast(tf.random.stateless_uniform([8, size, size, 3], SEED, 0, 256, tf.int32), tf.uint8)
    with_blur, without = (views.draw(noise, 2, SEED, blurred=share).numpy() for share in (1.0, 0.0))
    assert (with_blur == without).all() == (size == 32)


def test_many_sizes_raise_no_warning_of_retracing(caplog):
    for size in range(2, 10):
        packed.unpack(packed.pack(tf.zeros([1, size, size, 3], tf.uint8)))
    assert "retracing" not in caplog.text


@pytest.mark.smoke
def test_eager_equals_tf_data(images):
    """Each compiles for itself, which takes seconds."""
    dataset = tf.data.Dataset.from_tensors(images).map(lambda batch: views.draw(batch, 2, SEED))
    eager = views.draw(tf.constant(images), 2, SEED).numpy()
    np.testing.assert_array_equal(next(iter(dataset)), eager)
    assert (views.draw(tf.constant(images), 2, tf.constant([3, 5])).numpy() != eager).any()
