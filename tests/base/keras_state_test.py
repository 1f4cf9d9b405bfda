"""What a caller has set in Keras changes nothing, and is as it was afterwards."""

import contextlib
import inspect
import os
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.keras_globals import set_otherwise, state
from tfssl.base import keras_state
from tfssl.base.keras_state import on_its_own, plain_keras
from tfssl.export import saved_model
from tfssl.pipelines.batches import plain
from tfssl.pipelines.sources.any_source import open_source
from tfssl.report import report

TOY = "toy:images(count=24, size=32)"


def made():
    """Dtype of what is computed and of the weights, and format, of a layer."""
    layer = keras.layers.Conv2D(1, 1)
    layer.build((None, 2, 2, 3))
    return layer.compute_dtype, layer.kernel.dtype, layer.data_format


def test_layers_are_plain_inside_and_as_the_caller_wants_them_afterwards():
    with set_otherwise("mixed_float16"):
        before = state()
        with plain_keras():
            assert made() == ("float32", "float32", "channels_last")
            with plain_keras("mixed_bfloat16"):
                assert made() == ("bfloat16", "float32", "channels_last")
            assert keras.losses.MeanSquaredError().dtype == "float32"
        assert state() == before
        with contextlib.suppress(ZeroDivisionError), plain_keras():
            raise ZeroDivisionError
        assert state() == before
        assert keras.layers.Dense(1).compute_dtype == "float16"
    assert made() == ("float32", "float32", "channels_last")


def test_a_policy_that_nobody_set_still_follows_the_float_type():
    from keras.src.backend.common import global_state

    before = keras.config.dtype_policy()
    global_state.set_global_attribute("dtype_policy", None)
    try:
        with plain_keras():
            keras.layers.Dense(1)
        keras.config.set_floatx("float64")
        assert keras.layers.Dense(1).compute_dtype == "float64"
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(before)


def test_a_deprecation_of_keras_ends_nothing():
    weight = keras.Variable(np.ones((2,), np.float32))
    with warnings.catch_warnings(action="error"):
        with plain_keras():
            np.array(weight)
            with pytest.raises(DeprecationWarning):
                warnings.warn("another one", DeprecationWarning, stacklevel=1)
        with pytest.raises(DeprecationWarning, match="copy"):
            np.array(weight)


def test_a_scope_is_left_and_entered_again(replicas):
    with replicas.scope():
        with on_its_own():
            alone = tf.Variable(1.0)
            assert not tf.distribute.has_strategy()
            assert tf.executing_eagerly()
            twice = tf.function(lambda: 2 * alone)
            assert twice() == 2
        assert tf.distribute.get_strategy() is replicas
        assert len(replicas.experimental_local_results(tf.Variable(1.0))) == 2
    assert len(tf.distribute.get_strategy().experimental_local_results(alone)) == 1
    alone.assign(2.0)
    assert twice() == 4


def test_backend_is_chosen_before_keras_is_imported(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras_state.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"  # too late, and not ours to change for others
    monkeypatch.delitem(sys.modules, "keras")
    keras_state.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_another_backend_is_one_line(toy_run, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    for call in (toy_run.encoder, lambda: tfssl.embed(toy_run, TOY, "a.npz")):
        with pytest.raises(tfssl.UserError, match=r"^Keras runs on jax here, .* set KERAS_BACKEND=tensorflow"):
            call()


def test_every_public_function_that_computes_is_on_its_own():
    others = {
        "cache": "computes nothing",
        "compare": "calls pretrain and evaluate",
        "index": "no TensorFlow",
        "ingest": "no variables",
        "load_run": "builds nothing",
        "pretrain": "asks for the caller's strategy first",
        "serve": "lives as long as its process",
        "sweep": "calls pretrain and evaluate",
    }
    functions = {name: value for name in tfssl.__all__ if inspect.isfunction(value := getattr(tfssl, name))}
    functions |= {"export": saved_model.export, "report": report.report}
    guarded = {name for name, value in functions.items() if inspect.unwrap(value) is not value}
    assert guarded == set(functions) - set(others)


def test_embeddings_are_the_same_whatever_the_caller_has_set(toy_run, replicas, tmp_path):
    with set_otherwise("mixed_float16"), replicas.scope():
        made = tfssl.embed(toy_run, TOY, tmp_path / "a.npz", verbose=0)
    with np.load(made.file) as inside:
        pictures = next(iter(plain(open_source(TOY), 32, 24)))["image"]
        np.testing.assert_allclose(inside["embedding"], toy_run.encoder()(pictures), rtol=1e-5, atol=1e-6)
