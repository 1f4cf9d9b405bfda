"""What tests share: a quiet TensorFlow, and the real data where there is any."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that TFSSL_DATA names; the test is skipped where it names none."""
    folder = os.environ.get("TFSSL_DATA", "")
    if not folder:
        pytest.skip("TFSSL_DATA names no folder of real data")
    if not Path(folder).is_dir():
        pytest.fail(f"TFSSL_DATA={folder} is no folder; unpack the real data there, or unset it")
    return Path(folder)
