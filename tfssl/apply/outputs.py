"""What commands write for their users: PNG, and progress through a film."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.files import atomic_write
from tfssl.pipelines.clips import video_files


def write_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 1] or [H, W, 3], whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(tf.io.encode_png(image).numpy())


def frame_bar(verbose: int) -> video_files.Progress:
    """Make a progress bar over the frames of a film, which appears with the first one; none where `verbose` is 0."""
    import keras

    bars: list[Any] = []

    def progress(done: int, count: int | None) -> None:
        if not bars:
            bars.append(keras.utils.Progbar(count, verbose=verbose, unit_name="frame"))
        bars[0].update(done)

    return progress
