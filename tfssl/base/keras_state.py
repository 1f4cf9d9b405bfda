"""Keras and TensorFlow as this library needs them, whatever its caller has set; the caller's settings stay as they are.

A notebook sets mixed precision in its first cell, a keras.json says channels_first: Keras would build every network by
that. So what builds or runs networks for the caller does it inside of `on_its_own`.
"""

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from tfssl.base.errors import UserError

BACKEND = "tensorflow"
KNOWN_WARNINGS = ("__array__ implementation doesn't accept a copy keyword",)
"""Beginnings of deprecations that TensorFlow 2.21 and Keras 3.15 cause themselves, and nobody else can mend."""


def choose_backend() -> None:
    """Let Keras run on TensorFlow, whatever the environment and keras.json say; it asks once, when it is imported."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = BACKEND


@contextlib.contextmanager
def plain_keras(policy: str = "float32") -> Iterator[None]:
    """Let Keras build networks by its own defaults and a dtype policy; also a decorator.

    Its dtype policy, float type, image format, epsilon and limits of `fit` are set for the block, and afterwards are
    what they were. Deprecations that nobody can mend here are not said, and do not end it under `python -W error`.

    Raises:
      UserError: Keras was imported before this library, with another backend.
    """
    import keras

    # The public `dtype_policy` makes a policy that nobody set a fixed one, which a later `set_floatx` does not change.
    from keras.src.backend.common import global_state

    config = keras.config
    if config.backend() != BACKEND:
        raise UserError(
            f"Keras runs on {config.backend()} here, and tfssl needs TensorFlow; set KERAS_BACKEND={BACKEND}, or import"
            " tfssl before keras and tensorflow"
        )
    before = global_state.get_global_attribute("dtype_policy")
    settings: list[tuple[Any, Any, Any]] = [
        (config.set_floatx, config.floatx(), "float32"),
        (config.set_image_data_format, config.image_data_format(), "channels_last"),
        (config.set_epsilon, config.epsilon(), 1e-7),
        (config.set_max_epochs, config.max_epochs(), None),
        (config.set_max_steps_per_epoch, config.max_steps_per_epoch(), None),
    ]
    for assign, _, needed in settings:
        assign(needed)
    config.set_dtype_policy(policy)
    try:
        with warnings.catch_warnings():
            for known in KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", known, DeprecationWarning)
            yield
    finally:
        for assign, value, _ in settings:
            assign(value)
        global_state.set_global_attribute("dtype_policy", before)


@contextlib.contextmanager
def on_its_own() -> Iterator[None]:
    """Do as `plain_keras`, and leave the scope of a `tf.distribute` strategy for the block; also a decorator.

    Inside of a scope every variable would be mirrored, those too that no replica computes with.
    """
    import tensorflow as tf

    with plain_keras(), contextlib.ExitStack() as outside:
        if tf.distribute.has_strategy():
            # A scope belongs to the default graph, in eager mode too.
            outside.enter_context(_outer_graph().as_default())
            outside.enter_context(tf.__internal__.eager_context.eager_mode())
        yield


@functools.cache
def _outer_graph() -> Any:
    """Return one graph for the whole process: functions that are traced in it ask for it when they are called later."""
    import tensorflow as tf

    return tf.Graph()
