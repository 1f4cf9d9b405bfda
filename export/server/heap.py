"""Memory that requests no longer need goes back to the system."""

import ctypes
import sys


def give_back() -> None:
    """Ask the allocator for what it keeps, where it can be asked (glibc).

    Decoding takes large blocks in many threads, and glibc keeps them: after thousands of hostile requests a server of
    734 MiB stayed at 930 MiB, and stays at 880 with this.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(ctypes.c_size_t(0))
