"""Encoded pictures of the tests' own, and `pixels` at work on them."""

import functools
import io
from collections.abc import Container

import numpy as np
import tensorflow as tf
from PIL import Image

from tfssl.pipelines.decoding import headers, picture_crops


def encoded(picture: Image.Image, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def with_stray(jpeg: bytes, stray: bytes, segments: Container[int]) -> bytes:
    """A JPEG with bytes that belong nowhere in front of some of its segments: 1 is the second one."""
    position, number, parts = 2, 0, [jpeg[:2]]
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        parts += [stray if number in segments else b"", jpeg[position:end]]
        position, number = end, number + 1
    return b"".join([*parts, stray if number in segments else b"", jpeg[position:]])


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def smooth(height: int = 48, width: int = 48, seed: int = 0) -> Image.Image:
    """A picture without detail, so that JPEG and scaled decoding keep it within a few grey levels."""
    small = np.random.default_rng(seed).integers(0, 256, [4, 5, 3], np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@functools.cache
def traced(size: int, parallel: int | None = None):
    """`pixels.pictures`, traced once for each size: in eager mode each call would trace anew."""
    return tf.function(lambda data: picture_crops.pictures(data, size, parallel), [tf.TensorSpec([None], tf.string)])


@functools.cache
def traced_box(size: int):
    def decode(data, box):
        return picture_crops.decode_boxes(
            lambda one: one, data[None], headers.read_headers(data[None]), box[None], size
        )

    return tf.function(decode, [tf.TensorSpec([], tf.string), tf.TensorSpec([4], tf.int32)])


@functools.cache
def traced_crops(size: int):
    def crop(data, seed):
        return picture_crops.training_crops(lambda one: one, data, headers.read_headers(data), seed, size)

    return tf.function(crop, [tf.TensorSpec([None], tf.string), tf.TensorSpec([2], tf.int32)])


def box_of(data: bytes, box: list[int], size: int) -> np.ndarray:
    images, valid = traced_box(size)(tf.constant(data), tf.constant(box))
    assert valid.numpy().tolist() == [True]
    return images[0].numpy()


def crops(data: list[bytes], seed: int, size: int) -> np.ndarray:
    images, valid = traced_crops(size)(tf.constant(data), tf.constant([0, seed]))
    assert valid.numpy().all()
    return images.numpy()


def decoded(data: bytes, size: int) -> np.ndarray:
    images, valid = traced(size)(tf.constant([data]))
    assert valid.numpy().tolist() == [True]
    return images[0].numpy()


def is_broken(data: bytes, size: int = 16) -> bool:
    images, valid = traced(size)(tf.constant([data]))
    assert images.numpy().any() == valid.numpy()[0]
    return not valid.numpy()[0]


def assert_close(found, expected, worst, mean=None):
    difference = np.abs(np.asarray(found, np.int32) - np.asarray(expected, np.int32))
    assert difference.max() <= worst
    assert difference.mean() <= (worst if mean is None else mean)
