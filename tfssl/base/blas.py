"""Threads of BLAS, which numpy, scipy and scikit-learn multiply matrices with."""

import functools
from contextlib import AbstractContextManager
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS multiplies on one thread.

    Threads that wait for each other on busy cores take several times as long as one where products are small.
    """
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> Any:
    """Find the libraries, once: that takes tens of milliseconds, longer than a small fit."""
    import scipy.linalg  # noqa: F401, so that what it brings beside numpy's is among them
    from threadpoolctl import ThreadpoolController  # which scikit-learn brings

    return ThreadpoolController()
