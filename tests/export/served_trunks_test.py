"""Served equals probed, for every trunk: a SavedModel on encoded pictures, beside the pipeline of the probes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.export.signatures.encoder import encoder_signatures
from tfssl.export.signatures.saving import write_saved_model
from tfssl.models.trunks import TRUNKS, make_encoder, make_trunk
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source

SMALL = {
    "alexnet": ("alexnet(width=4)", 40),
    "mobilenet_v3_small": ("mobilenet_v3_small(width=0.5)", 33),
    "nin": ("nin(width=8)", 32),
    "resnet10": ("resnet10(width=4)", 32),
    "resnet18": ("resnet18(width=4)", 32),
    "resnet34": ("resnet34(width=4)", 32),
    "resnet50": ("resnet50", 32),
}


def test_every_trunk_is_here():
    assert {*SMALL, "plain"} == set(TRUNKS)  # the one of the tests


@pytest.fixture(scope="module")
def source():
    return open_source("toy:images(count=8, size=48)")


@pytest.mark.parametrize("name", SMALL)
def test_served_is_probed(name, source, tmp_path):
    text, size = SMALL[name]
    keras.utils.set_random_seed(0)
    encoder = make_encoder(make_trunk(text, size), size)
    parts = [batch["image"] for batch in batches.plain(source, size, 5)]
    images = tf.concat(parts, 0)
    for layer in encoder._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    encoder(images, training=True)  # statistics as after training: otherwise pictures hardly differ
    expected = np.concatenate([encoder(part, training=False).numpy() for part in parts])
    (default, _) = encoder_signatures(encoder, size)
    write_saved_model([default], tmp_path / "1")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    found = served(image_bytes=tf.constant([source.encoded[number] for number in range(8)]))
    assert found["valid"].numpy().all()
    scale = np.abs(expected).max()
    assert np.abs(expected - expected.mean(0)).max() > 1e-3 * scale  # pictures do differ
    # What rounding does grows with the network, and with the processor: it is held against one grey level of one pixel.
    changed = images.numpy()
    changed[:, size // 2, size // 2] ^= 1
    one_level = np.abs(encoder(changed, training=False).numpy() - expected).max(1).min()
    assert np.abs(found["embedding"] - expected).max() < one_level / 100
