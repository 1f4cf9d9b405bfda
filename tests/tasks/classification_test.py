"""The last layer of heads that choose: it begins at chance, and learns alike whatever the width."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.tasks.parts import classification, regression


def test_it_begins_at_chance():
    inputs = keras.Input((64,))
    model = keras.Model(inputs, classification.logits(inputs, 5, "mine"))
    np.testing.assert_array_equal(model(np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)), 0)


def test_curvature_does_not_grow_with_the_width():
    """The largest eigenvalue of the loss's Hessian, of features that are all 1: between two answers E|x|^2 / 2."""
    found = []
    for channels in (16, 256):
        inputs = keras.Input((channels,))
        model = keras.Model(inputs, classification.logits(inputs, 2, "mine"))
        kernel = model.trainable_weights[0].value
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                logits = model(np.ones((1, channels), np.float32))
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits([0], logits)[0]
            gradient = inner.gradient(loss, kernel)
        hessian = outer.jacobian(gradient, kernel)
        found.append(np.linalg.eigvalsh(tf.reshape(hessian, [2 * channels, -1]).numpy()).max())
    assert found == pytest.approx([classification.SCALE**2 / 2] * 2, rel=1e-4)


def test_weights_of_unscaled_features_give_what_they_gave():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(64, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    inputs = keras.Input((64,))
    model = keras.Model(inputs, classification.logits(inputs, 5, "mine"))
    model.set_weights([kernel, bias])
    classification.unscale(model)
    numbers = keras.Model(inputs, regression.numbers(keras.ops.reshape(inputs, (-1, 8, 8, 1)), 2, 1, "numbers"))
    before = numbers.get_weights()
    classification.unscale(numbers)  # was scaled in the first format too
    np.testing.assert_array_equal(numbers.get_weights()[0], before[0])
    rows = rng.normal(size=(3, 64)).astype(np.float32)
    np.testing.assert_allclose(model(rows), rows @ kernel + bias, rtol=1e-4, atol=1e-5)


def written_as(run, folder, number):
    """A copy of a run whose run.json says this format; none where that is None."""
    shutil.copytree(run.folder, folder)
    content = json.loads((folder / "run.json").read_text())
    content.pop("format")
    (folder / "run.json").write_text(json.dumps(content | ({} if number is None else {"format": number})))
    return folder


def test_heads_of_runs_before_features_were_scaled_answer_as_they_did(toy_run, tmp_path):
    old = tfssl.load_run(written_as(toy_run, tmp_path / "old", None))
    puzzle = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    solver = toy_run.solver("rotation")
    features = keras.Model(solver.input, solver.get_layer("rotation_pool").output)(puzzle, training=False)
    kernel, bias = solver.get_layer("rotation_logits").get_weights()
    np.testing.assert_allclose(
        old.solver("rotation")(puzzle, training=False), features @ kernel + bias, rtol=1e-4, atol=1e-5
    )


def test_runs_of_other_formats_are_refused_in_a_line(toy_run, tmp_path):
    with pytest.raises(tfssl.UserError, match="has format 99, this version of tfssl reads up to"):
        tfssl.load_run(written_as(toy_run, tmp_path / "new", 99))
    begun = written_as(toy_run, tmp_path / "begun", None)
    (begun / "result.json").unlink()
    with pytest.raises(tfssl.UserError, match="an older version of tfssl began"):
        tfssl.pretrain("toy:images(count=72, size=32)", out=begun, size=32, trunk="plain(width=4)", batch_size=8)
