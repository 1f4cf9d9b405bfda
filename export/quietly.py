"""Without what TensorFlow and converters say that is nothing to a user."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def only_errors_logged() -> Iterator[None]:
    """Hide TensorFlow's lines of where assets are written and that sessions, which its own server runs, are old."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hide what the converter prints from C++ and Python, which no Python setting stops."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    logger = logging.getLogger("absl")
    level = logger.level
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        logger.setLevel(logging.ERROR)
        # Progress bars are Python's, and `tfssl` itself has another file for Python's standard error than 2.
        with (
            warnings.catch_warnings(),
            open(os.devnull, "w") as bars,
            contextlib.redirect_stderr(bars),
            contextlib.redirect_stdout(bars),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        logger.setLevel(level)
        for number, place in zip((1, 2), kept, strict=True):
            os.dup2(place, number)
            os.close(place)
        os.close(nowhere)
