"""Precise batch norm of networks with random weights: statistics of plain pictures, as a trained network got them."""

import keras
import tensorflow as tf

from tfssl.frozen import features
from tfssl.models import batch_norm
from tfssl.models.trunks import Trunk
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource

PRECISE_STEPS = 64  # batches for the batch norm statistics of the random trunk, as many as the trained one got


def estimate_batch_norm(model: keras.Model, source: AnySource, size: int, batch_size: int, seed: int) -> bool:
    """Give a `stage_model` the batch norm statistics of pictures of the source, drawn by the seed.

    Returns:
        Whether it has a batch norm.
    """
    batch_size = min(batch_size, source.count)
    stream = batches.plain(batches.sample(source, PRECISE_STEPS * batch_size, seed), size, batch_size)
    images = stream.map(lambda batch: tf.boolean_mask(batch["image"], batch["valid"]))
    return batch_norm.estimate(model, images, PRECISE_STEPS)


def with_precise_batch_norm(trunk: Trunk, source: AnySource, size: int, batch_size: int, seed: int) -> Trunk:
    """Give a trunk with random weights the batch norm statistics of pictures of a source, and return it."""
    estimate_batch_norm(features.stage_model(trunk, size), source, size, batch_size, seed)
    return trunk
