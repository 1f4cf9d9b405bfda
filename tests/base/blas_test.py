"""Threads of BLAS."""

import time

from threadpoolctl import threadpool_info

from tfssl.base import blas


def counts():
    return {each["filepath"]: each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_one_thread_inside_and_as_many_as_before_outside():
    with blas.one_thread():
        inside = counts()
    before = counts()
    with blas.one_thread():
        assert set(counts().values()) == set(inside.values()) == {1}
    assert counts() == before
    assert len(before) >= 1


def test_what_is_entered_for_each_small_fit_costs_next_to_nothing():
    with blas.one_thread():  # finds the libraries
        pass
    begun = time.process_time()
    for _ in range(100):
        with blas.one_thread():
            pass
    entered = time.process_time() - begun
    begun = time.process_time()
    for _ in range(10):
        threadpool_info()  # finds the libraries each time, as threadpoolctl's own context does
    assert entered / 100 < (time.process_time() - begun) / 10 / 10
