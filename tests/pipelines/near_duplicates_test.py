"""Near-duplicates: grey, small, without their mean; the same in numpy."""

import io

import numpy as np
from PIL import Image

from tfssl.pipelines.batches import plain
from tfssl.pipelines.ops.near_duplicates import ALIKE, patterns
from tfssl.pipelines.sources.any_source import open_source


def pictures(count: int) -> np.ndarray:
    (batch,) = plain(open_source(f"toy:images(count={count}, size=64)"), 64, count)
    return batch["image"].numpy()


def changed(image: np.ndarray, quality: int, scale: float) -> np.ndarray:
    """As JPEG of 40 pixels a side, brighter, and back."""
    file = io.BytesIO()
    small = Image.fromarray(np.clip(image * scale, 0, 255).astype(np.uint8)).resize((40, 40))
    small.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).resize((64, 64)))


def test_as_in_numpy():
    images = pictures(3)
    grey = images.astype(np.float64) @ [0.2989, 0.5870, 0.1140]
    small = grey.reshape(3, 16, 4, 16, 4).mean((2, 4)).reshape(3, 256)
    small -= small.mean(1, keepdims=True)
    expected = small / np.linalg.norm(small, axis=1, keepdims=True)
    np.testing.assert_allclose(patterns(images), expected, atol=1e-5)


def test_changed_pictures_are_near_duplicates_and_others_are_not():
    images = pictures(24)
    copies = np.stack([changed(image, 40, 0.8) for image in images])
    cosines = patterns(images).numpy() @ patterns(copies).numpy().T
    np.testing.assert_array_equal(cosines >= ALIKE, np.eye(24, dtype=bool))


def test_flat_pictures_are_no_near_duplicates():
    noise = np.random.default_rng(0).integers(0, 2, (2, 64, 64, 3))
    noise[1] = noise[0]  # the same, but less than a grey level of it is left in the mean of 16 pixels
    images = (np.array([[[[100]]], [[[200]]]]) + noise).astype(np.uint8)
    assert (patterns(images).numpy() @ patterns(images).numpy().T < 0.1).all()
