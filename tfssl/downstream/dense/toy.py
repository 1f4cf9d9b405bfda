"""The toy world with all that is known of it, for dense targets."""

import functools
from typing import Any, NamedTuple

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.pipelines.sources.regions import RegionSource
from tfssl.pipelines.sources.toy import ToyImages, open_toy, parse_toy
from tfssl.pipelines.toy_world.layout import draw_layout
from tfssl.pipelines.toy_world.objects import CLASSES
from tfssl.pipelines.toy_world.scenes import Scenes, render


class Toy(NamedTuple):
    """Scenes, their pictures as a source, and all pictures of that name."""

    source: RegionSource
    scenes: Scenes
    origin: PictureSource


def toy_scenes(place: Any, only: str | None = None) -> Toy | None:
    """Draw the scenes that 'toy:images(...)' names; None where it is the name of something else.

    Args:
      only: a class: scenes whose main object is another one are left out.
    """
    text = str(place)
    if not text.startswith("toy:"):
        return None
    settings = parse_toy(text)
    if not isinstance(settings, ToyImages):
        raise UserError(f"{text} is given; expected 'toy:images(...)', whose scenes are known, or a folder")
    return _draw(text, settings, only)


@functools.lru_cache(maxsize=2)
def _draw(text: str, settings: ToyImages, only: str | None) -> Toy:
    layout = draw_layout(settings.count, settings.seed, settings.start)
    numbers = np.arange(settings.count)
    if only is not None:
        numbers = np.flatnonzero(layout.class_ids[:, 0] == CLASSES.index(only))
        if not len(numbers):
            raise UserError(f"{text} has no {only} as a main object; give a count of 10 or more")
    scenes = render(layout.take(numbers), settings.size)
    whole = open_toy(text)
    assert isinstance(whole, PictureSource)
    source = whole if only is None else whole.subset(numbers, f"{text} with a {only}")
    return Toy(RegionSource.of(source), scenes, whole)
