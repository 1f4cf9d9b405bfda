"""What came of trained networks, on disk: what one evaluation trained, the next one reads, and resumes where it ended.

Beside the features of `feature_cache`, which says how much there is, and empties both.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfssl.base.files import cache_folder
from tfssl.evaluation.feature_cache import CHOSEN, NETWORKS
from tfssl.training.callbacks import Stopped

KEPT = (CHOSEN, "test.npz")
"""What is left of a network that was measured: its answers."""
LOCK = "lock"


def is_known(key: str) -> bool:
    """Say whether a network was measured, so that it need not be trained."""
    return (_root() / key / CHOSEN).is_file()


@contextlib.contextmanager
def folder_of(key: str, keep: bool) -> Iterator[Path]:
    """Open the folder of a network: a kept one, or one that is removed where nothing is kept or another has it.

    At the end its answers alone are left.

    Args:
      key: tells apart all that answers depend on.
      keep: whether it may be a kept one.

    Raises:
      KeyboardInterrupt: in place of `Stopped` where nothing is saved.
    """
    folder = _root() / key
    with contextlib.ExitStack() as stack:
        kept = keep and folder.is_absolute() and _lock(folder, stack)
        if not kept:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfssl-")))
        try:
            yield folder
        except Stopped:
            if kept:
                raise
            raise KeyboardInterrupt from None
        for path in folder.iterdir():
            if path.name not in (*KEPT, LOCK):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lock(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Make a folder and hold it; say whether it could be: another process may train the same, and disks be full."""
    try:
        import fcntl  # of Unix alone

        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_WRONLY)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _root() -> Path:
    return cache_folder() / NETWORKS
