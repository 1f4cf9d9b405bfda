"""Batches to learn from: crops with their labels, flipped, jittered and mixed in the graph; all from (seed, step)."""

import numpy as np
import tensorflow as tf

from tfssl.downstream.config import Learning
from tfssl.downstream.data import Labelled
from tfssl.downstream.network import INPUT, OUTPUT
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource

GREY = (0.299, 0.587, 0.114)
HELD = 1 << 28
"""Bytes of plain pictures that are kept decoded: those of validation are read again and again."""

Batch = tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor]]


def class_weights(targets: np.ndarray, balanced: bool) -> np.ndarray:
    """Return what each class counts, float32 [classes]: 1, or as much that all count the same, 1 in the mean of rows.

    A class of no picture counts nothing.
    """
    counts = targets.sum(0)
    if not balanced:
        return np.ones(len(counts), np.float32)
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0).astype(np.float32)


def row_weights(targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what each row counts, float [N]: the mean of what its labels count."""
    return targets @ weights / np.maximum(targets.sum(1), 1e-9)


def learning_batches(
    part: Labelled,
    size: int,
    batch_size: int,
    settings: Learning,
    start: int,
    broken: batches.BrokenPictures | None = None,
    verbose: int = 0,
) -> tf.data.Dataset:
    """Make an endless stream of batches from step `start` on.

    Returns:
      {"pixels": uint8 [B, S, S, 3]}, {"label": float32 [B, classes]}, {"label": weights float32 [B]}.
    """
    targets = tf.constant(part.targets)
    counts = tf.constant(class_weights(part.targets, settings.class_weights))

    def make(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> Batch:
        flip_seed, colour_seed, mix_seed = tf.unstack(tf.random.split(seed, 3))
        images, labels = batch["image"], tf.gather(targets, batch["index"])
        if settings.flip:
            images = flip(images, flip_seed)
        if settings.colour:
            images = jitter(images, settings.colour, colour_seed)
        if settings.mixup:
            images, labels = mix(images, labels, settings.mixup, mix_seed)
        weights = tf.linalg.matvec(labels, counts) / tf.maximum(tf.reduce_sum(labels, 1), 1e-9)
        return {INPUT: images}, {OUTPUT: labels}, {OUTPUT: weights}

    return batches.training(
        part.source, size, batch_size, settings.seed, start, make, broken, verbose=verbose, crop=settings.crop
    )


def plain_pictures(source: AnySource, size: int, batch_size: int) -> tf.data.Dataset:
    """Make the plain pictures of a source, as of `batches.plain`; kept decoded where they are few."""
    plain = batches.plain(source, size, batch_size)
    return plain.cache() if source.count * size * size * 3 <= HELD else plain


def flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirror each picture of uint8 [B, S, S, 3] with an even chance."""
    mirrored = tf.random.stateless_uniform([images.shape[0]], seed) < 0.5
    return tf.where(mirrored[:, None, None, None], tf.reverse(images, [2]), images)


def jitter(images: tf.Tensor, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Change brightness, contrast and saturation of each picture of uint8 [B, S, S, 3].

    Each by a factor of its own from 1 - strength to 1 + strength: brightness multiplies, contrast is around the
    picture's mean grey, saturation around the grey of each pixel (as of torchvision's ColorJitter, in this order).
    """
    draw = tf.random.stateless_uniform([3, images.shape[0], 1, 1, 1], seed, 1 - strength, 1 + strength)
    brightness, contrast, saturation = tf.unstack(draw)
    x = tf.clip_by_value(tf.cast(images, tf.float32) * brightness, 0, 255)
    mean = tf.reduce_mean(_grey(x), [1, 2, 3], keepdims=True)
    x = tf.clip_by_value(mean + (x - mean) * contrast, 0, 255)
    grey = _grey(x)
    x = tf.clip_by_value(grey + (x - grey) * saturation, 0, 255)
    return tf.cast(tf.round(x), tf.uint8)


def _grey(images: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(images * tf.constant(GREY), -1, keepdims=True)


def mix(images: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mix each picture with the next one of the batch, and their labels (Zhang et al. 2018, arXiv 1710.09412).

    Args:
      images: uint8 [B, S, S, 3]; so are the mixed ones, rounded.
      labels: float32 [B, classes].
      alpha: the share of the picture itself is drawn from Beta(alpha, alpha).
    """
    draw = tf.random.stateless_gamma([2, images.shape[0]], seed, alpha)
    share = draw[0] / tf.maximum(draw[0] + draw[1], 1e-20)
    of_picture = share[:, None, None, None]
    x = tf.cast(images, tf.float32)
    mixed = of_picture * x + (1 - of_picture) * tf.roll(x, -1, 0)
    targets = share[:, None] * labels + (1 - share[:, None]) * tf.roll(labels, -1, 0)
    return tf.cast(tf.round(mixed), tf.uint8), targets
