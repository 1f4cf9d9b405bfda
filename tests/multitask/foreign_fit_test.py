"""The encoder and the puzzles inside of somebody else's `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.models.batch_norm import BatchNormalization
from tfssl.pipelines import toy_world


@pytest.fixture(scope="module")
def labelled():
    scenes = toy_world.scenes(64, 32, seed=9)
    return scenes.image, scenes.label % 2


def classifier(encoder: keras.Model, images: keras.KerasTensor, training: bool | None) -> keras.Model:
    model = keras.Model(images, keras.layers.Dense(2)(encoder(images, training=training)))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def encoders(toy_run, toy_export):
    return {
        "run": lambda: toy_run.encoder("stage3"),
        "encoder.keras": lambda: keras.models.load_model(toy_export / "1" / "encoder.keras"),
    }


@pytest.mark.parametrize("kind", ["run", "encoder.keras"])
@pytest.mark.parametrize("frozen", [True, False])
def test_first_layer_of_somebody_elses_model(toy_run, toy_export, labelled, kind, frozen):
    keras.utils.set_random_seed(0)
    encoder = encoders(toy_run, toy_export)[kind]()
    encoder.trainable = not frozen
    model = classifier(encoder, keras.Input((32, 32, 3), dtype="uint8"), training=False if frozen else None)
    before = encoder.get_weights()
    losses = model.fit(*labelled, batch_size=16, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    same = [np.array_equal(old, new) for old, new in zip(before, encoder.get_weights(), strict=True)]
    if frozen:
        assert all(same)  # batch norm statistics included
    else:
        assert not any(same)


def test_puzzles_in_a_plain_fit():
    """A small network of Keras's own layers learns which way is up."""
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3), dtype="uint8", name="rotation")
    features = keras.layers.Rescaling(1 / 127.5, -1)(images)
    for width in (16, 32):
        features = keras.layers.Conv2D(width, 3, 2, activation="relu")(features)
    logits = keras.layers.Dense(4)(keras.layers.Flatten()(features))
    model = keras.Model({"rotation": images}, {"rotation": logits})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), {"rotation": loss}, weighted_metrics={"rotation": ["accuracy"]})
    dataset = tfssl.puzzles("toy:images(count=400, size=32)", "rotation", size=32, batch_size=16, seed=0)
    model.fit(dataset, steps_per_epoch=120, verbose=0, shuffle=False)
    other = tfssl.puzzles("toy:images(count=200, size=32, seed=1)", "rotation", size=32, batch_size=50, seed=0)
    accuracy = model.evaluate(other, steps=4, return_dict=True, verbose=0)["accuracy"]
    # 800 puzzles: chance is 0.25, with a standard deviation of 0.015.
    assert accuracy > 0.4
    assert isinstance(other, tf.data.Dataset)


def test_the_batch_norm_of_a_run_is_the_fast_one_and_that_of_an_export_is_stock(toy_run, toy_export):
    found = {}
    for kind, make in encoders(toy_run, toy_export).items():
        found[kind] = {type(layer) for layer in make()._flatten_layers() if "norm" in layer.name}
    assert found == {"run": {BatchNormalization}, "encoder.keras": {keras.layers.BatchNormalization}}
