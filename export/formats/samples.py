"""Rows of a run's own data, as its encoders take them."""

from collections.abc import Iterator

import numpy as np

from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource


def sample(kind: str, source: AnySource, length: int, count: int, batch_size: int) -> Iterator[np.ndarray]:
    """Make batches of what an encoder takes, drawn from a source by seed 0.

    Args:
      kind: "pixels", uint8 [n, length, length, 3] of whole pictures, or "waveform", float32 [n, length] of clips.
      source: for "waveform" one of clips.
      length: pixels of a side, or samples of a window.
      count: rows at most.
      batch_size: rows of a batch at most; n is less where pictures are broken.
    """
    chosen = batches.sample(source, count, 0)
    if kind == "pixels":
        for batch in batches.plain(chosen, length, batch_size):
            valid = batch["valid"].numpy()
            if valid.any():
                yield batch["image"].numpy()[valid]
    elif chosen.has_sound.any():
        for batch in batches.plain_sound(chosen, length, batch_size):
            yield batch["sound"].numpy()
