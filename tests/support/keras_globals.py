"""What a caller may have set in Keras before it calls the library."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

STATE = ("floatx", "image_data_format", "epsilon", "max_epochs", "max_steps_per_epoch")


@contextlib.contextmanager
def set_otherwise(policy: str) -> Iterator[None]:
    """Set all that Keras builds networks by and `fit` ends by, for the block, to what it is not by default."""
    before = state()
    keras.config.set_dtype_policy(policy)
    for name, value in zip(STATE, ("float16", "channels_first", 1e-2, 1, 1), strict=True):
        getattr(keras.config, f"set_{name}")(value)
    try:
        yield
    finally:
        for name, value in before.items():
            getattr(keras.config, f"set_{name}")(value)


def state() -> dict[str, Any]:
    """Return what `set_otherwise` sets, by name."""
    return {name: getattr(keras.config, name)() for name in ("dtype_policy", *STATE)}
