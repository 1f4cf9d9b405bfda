"""What commands write for their users: PNG, and progress through a film."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.base.files import atomic_write
from tfssl.pipelines.clips import video_files
from tfssl.pipelines.progress import Progress


def write_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 1] or [H, W, 3], whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(tf.io.encode_png(image).numpy())


@contextlib.contextmanager
def frame_progress(film: Path, verbose: int) -> Iterator[video_files.Progress]:
    """Say how far a film is, frame by frame; nothing where `verbose` is 0."""
    with Progress("frames drawn", str(film), None, verbose) as progress:

        def say(done: int, count: int | None) -> None:
            progress.count = count
            progress.add(1)

        yield say
