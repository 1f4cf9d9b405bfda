"""Which part of a picture is cut, and what a batch of pictures of all kinds becomes."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.support.encoded import assert_close, crops, decoded, encoded, smooth, traced
from tfssl.pipelines.decoding import headers, picture_crops, random_crops


def test_centre_box():
    for height, width, expected in [(5, 9, [0, 2, 5, 5]), (8, 3, [2, 0, 3, 3]), (1, 1, [0, 0, 1, 1])]:
        assert random_crops.centre_box(tf.constant(height), tf.constant(width)).numpy().tolist() == expected


def test_random_boxes_lie_inside_and_follow_their_distribution():
    count = 4000
    box = random_crops.random_box(tf.fill([count], 300), tf.fill([count], 400), tf.constant([1, 2])).numpy()
    top, left, height, width = box.T
    assert np.all((top >= 0) & (left >= 0) & (top + height <= 300) & (left + width <= 400))
    area = height * width / 120000
    assert area.min() >= 0.345
    assert abs(area.mean() - 0.675) < 0.01
    ratio = width / height
    assert ratio.min() >= 0.74
    assert ratio.max() <= 1.35
    # Every place is as likely as another: the free room is divided evenly, on average.
    room = (300 - height) > 20
    assert abs(np.mean(top[room] / (300 - height[room])) - 0.5) < 0.03
    again = random_crops.random_box(tf.fill([count], 300), tf.fill([count], 400), tf.constant([1, 2]))
    np.testing.assert_array_equal(box, again)


def test_random_boxes_of_odd_pictures():
    for height, width in [(1, 1), (1, 500), (500, 1), (3, 1000), (2, 2)]:
        box = random_crops.random_box(tf.fill([200], height), tf.fill([200], width), tf.constant([3, 4])).numpy()
        assert box[:, 2:].min() >= 1
        assert np.all(box[:, :2] >= 0)
        assert np.all(box[:, :2] + box[:, 2:] <= [height, width])


def test_training_crop_of_small_pictures_is_a_reflected_shift():
    picture = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
    data = encoded(Image.fromarray(picture), "PNG")
    padded = np.pad(picture, [[4, 4], [4, 4], [0, 0]], "reflect")
    windows = {padded[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(9) for x in range(9)}
    places = [windows[crop.tobytes()] for crop in crops([data] * 400, 1, 32)]
    assert len(set(places)) > 75  # of 81
    assert np.abs(np.mean(places, axis=0) - 4).max() < 0.5


def test_training_crop_of_large_pictures_is_a_random_box():
    rows, columns = np.mgrid[0:200, 0:240].astype(np.uint8)  # a pixel says where it stands
    picture = np.stack([rows, columns, np.zeros_like(rows)], -1)
    header = headers.Header(*(tf.fill([50], n) for n in (headers.PNG, 200, 240, 1, 0)))
    seed = tf.constant([0, 7])
    boxes = random_crops.random_box(header.height, header.width, tf.random.split(seed, 2)[0]).numpy()
    found = crops([encoded(Image.fromarray(picture), "PNG")] * 50, 7, 64)
    for crop, (top, left, height, width) in zip(found, boxes, strict=True):
        assert_close(crop[0, 0, :2], [top + height / 128, left + width / 128], 2)
        assert_close(crop[-1, -1, :2], [top + height - height / 128, left + width - width / 128], 2)
    data = [encoded(Image.fromarray(picture), "PNG")] * 50
    np.testing.assert_array_equal(found, crops(data, 7, 64))
    assert (found != crops(data, 8, 64)).any()


def test_mixed_sizes_and_orientations_in_one_batch():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = [encoded(smooth(30, 40), "JPEG"), encoded(smooth(90, 70), "JPEG", exif=exif), encoded(smooth(40, 30), "PNG")]
    images, valid = traced(24)(tf.constant(data))
    assert valid.numpy().all()
    for image, one in zip(images.numpy(), data, strict=True):
        np.testing.assert_array_equal(image, decoded(one, 24))


@pytest.mark.smoke
def test_same_in_eager_function_dataset_and_saved_model(tmp_path):
    data = tf.constant([encoded(smooth(60, 80), "JPEG"), b"", encoded(smooth(), "GIF"), encoded(smooth(), "PNG")])
    expected, valid = picture_crops.pictures(data, 24)

    module = tf.Module()
    module.serve = tf.function(lambda data: picture_crops.pictures(data, 24, 2), [tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve.get_concrete_function())
    served = tf.saved_model.load(str(tmp_path)).serve(data)
    (mapped,) = tf.data.Dataset.from_tensors(data).map(lambda data: picture_crops.pictures(data, 24))
    for images, good in (module.serve(data), served, mapped):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(good, valid)
    assert valid.numpy().tolist() == [True, False, True, True]


def test_photos_agree_with_pillow(real_data):
    files = sorted((real_data / "photos").rglob("*.JPEG"))[::10]
    images, valid = traced(64)(tf.constant([file.read_bytes() for file in files]))
    assert valid.numpy().all()
    for file, image in zip(files, images.numpy(), strict=True):
        expected = ImageOps.fit(Image.open(file).convert("RGB"), (64, 64), Image.Resampling.BOX)
        assert np.corrcoef(image.ravel(), np.asarray(expected).ravel())[0, 1] > 0.85, file
