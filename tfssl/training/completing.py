"""What a run takes where nothing was given: what its pictures decide, and not the machine, so that runs repeat."""

import math

import numpy as np

from tfssl.pipelines.sources.any_source import AnySource
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.runs.config import STEPS
from tfssl.training.config import Complete, PretrainSettings

USUAL = 96
"""Side of the crops, pixels."""
SMALL = 32
"""Of pictures that are at most half as large: enlarged ones would only be blurred, and cost more. From 64 pixels on
there is something to see at 96, where the stem of a residual network keeps a quarter of the resolution and a step costs
half of what one at 32 does."""
EPOCHS_OF_TEXT = 20
"""A pass over text takes seconds."""


def completed(settings: PretrainSettings, source: AnySource) -> Complete:
    """Return the settings with the size and the epochs, which follow from the source where they were not given."""
    found = {"size": settings.size or size_of(source), "epochs": settings.epochs or epochs_of(settings, source)}
    return Complete(**dict(settings) | found)


def epochs_of(settings: PretrainSettings, source: AnySource) -> int:
    """Return how many epochs make enough steps."""
    if "words" in source.holds:
        return EPOCHS_OF_TEXT
    return math.ceil(STEPS / (settings.steps_per_epoch or max(1, source.count // settings.batch_size)))


def size_of(source: AnySource) -> int:
    """Return the side of the crops that suits the pictures: by the median of their shorter sides."""
    if not isinstance(source, PictureSource):
        return USUAL
    return USUAL if np.median(source.header[:, 1:3].min(1)) >= 2 * SMALL else SMALL
