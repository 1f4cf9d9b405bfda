"""`inside`: what a network sees in pictures, on one page: first filters, maps as colours, what is like a place."""

import base64
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import text_of
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.base.words import counted
from tfssl.evaluation.config import InsideSettings
from tfssl.evaluation.inside.maps import Places, drawn_filters, filters_of, places_of
from tfssl.evaluation.neighbours.networks import open_first, stage_of
from tfssl.frozen.precise import estimate_batch_norm
from tfssl.frozen.subjects import Subject
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import headers
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.report.gallery import as_uri
from tfssl.report.page import write_page
from tfssl.runs.evaluation import percent

SHOWN = 224
"""Pixels of a picture of the page."""


@dataclasses.dataclass(frozen=True)
class Stage(Result):
    """A stage of the page.

    Attributes:
      name: its name.
      places: height and width of its map.
      channels: of it.
      explained: share of the variance over places that the three colours have, 0..1.
      error: how far cosines on the page are off at most, of 2,000 pairs of places.
    """

    name: str
    places: tuple[int, int]
    channels: int
    explained: float
    error: float


@dataclasses.dataclass(frozen=True)
class Seen(Result):
    """What `inside` drew.

    Attributes:
      page: the file.
      subject: the network.
      pictures: names of the pictures.
      filters: how many first filters, and their height and width in pixels; None where there are none to read.
      stages: first to last.
    """

    page: Path
    subject: str
    pictures: tuple[str, ...]
    filters: tuple[int, int, int] | None
    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        pictures = counted(len(self.pictures), "picture")
        return "\n".join([f"{self.page}: inside {self.subject}, {pictures}", *self.sentences])

    @property
    def sentences(self) -> list[str]:
        """Say what is shown."""
        said = "No first filters: an export, or a network without a convolution of colours."
        if self.filters is not None:
            count, height, width = self.filters
            said = f"{count} first filters of {height} x {width} pixels."
        stages = ", ".join(
            f"{each.name} {each.places[0]} x {each.places[1]} ({percent(each.explained)})" for each in self.stages
        )
        return [said, f"Places of each stage, and what three colours show of how they vary: {stages}."]


@on_its_own()
def inside(
    subject: Any,
    pictures: Any,
    to: str | Path,
    *,
    stage: str | Iterable[str] = (),
    count: int = 8,
    size: int | None = None,
    seed: int = 0,
) -> Seen:
    """Draw what a frozen network sees in some pictures, as a page that needs no other file and no network.

    Its first filters as pictures. Each stage's maps as colours: the three directions in which the places of all
    pictures together vary most are red, green and blue (as of DINOv2, Oquab et al. 2023, arXiv 2304.07193), so that one
    colour is one thing in all of them. And what is like a place: one clicks, or goes with the keys, and all places of
    all pictures are as bright as they are alike, by the cosine of their features.

    Args:
      subject: what `evaluate` takes: a run or its folder, an export (which has one place a picture, and no filters), a
        .keras file or a Keras model, a trunk's name with weights or without.
      pictures: files of pictures; or one thing that `open_source` takes, of which some are drawn by the seed. The
        largest centred square of each is seen.
      to: FILE.html.
      stage: one of the subject, or several, as text with commas between them; "best" for what `evaluate` found of a
        run. All where none is given.
      count: largest number of pictures.
      size: pixels of a side where the subject does not say it, 96 where None.
      seed: of the pictures, and of random weights where the subject is no run.

    Raises:
      UserError: no such subject, stage or picture; features that are the same at all places, or not finite; a file
        that cannot be written.
    """
    settings = InsideSettings(**locals())
    source = _open(settings)
    opened = open_first(settings.subject, settings.size, settings.seed)
    names = list(dict.fromkeys(stage_of(opened, each) for each in settings.stage)) or list(opened.network.output)
    if opened.is_random:
        estimate_batch_norm(opened.network, source, opened.size, opened.batch_size, settings.seed)
    images, shown = (_squares(source, side) for side in (opened.size, SHOWN))
    maps = opened.network(tf.constant(images), training=False)
    places = [places_of(name, np.asarray(tf.cast(maps[name], tf.float32)), settings.seed) for name in names]
    filters = _filters(opened)
    seen = Seen(
        page=settings.to,
        subject=opened.name,
        pictures=tuple(source.paths),
        filters=None if filters is None else filters.shape[:3],
        stages=tuple(
            Stage(each.stage, (each.height, each.width), each.channels, each.explained, each.error) for each in places
        ),
    )
    _draw(seen, shown, places, filters)
    return seen


def _open(settings: InsideSettings) -> AnySource:
    """Open the pictures, and draw some where there are more than `count`."""
    given = list(settings.pictures)
    if not given:
        raise UserError("no pictures are given; name some, or a folder of them")
    one = given[0] if len(given) == 1 else None
    if one is None or (isinstance(one, (str, Path)) and Path(one).is_file()):
        for each in given:
            _require_picture(each)
        source = open_source(given)
    else:
        source = open_source(one)
    if "image" not in source.holds:
        raise UserError(f"{source.name} holds no pictures; expected pictures, or clips with frames")
    if source.count > settings.count:
        drawn = np.random.default_rng(settings.seed).permutation(source.count)[: settings.count]
        source = source.subset(np.sort(drawn), source.name)
    return source


def _require_picture(path: Any) -> None:
    """Raise UserError where a file is no picture, which `open_source` would count as one of the broken."""
    if isinstance(path, (str, Path)) and Path(path).is_file():
        problem = int(headers.read_headers(tf.constant([Path(path).read_bytes()])).problem[0])
        if problem:
            raise UserError(f"{path} {headers.PROBLEMS[problem]}; give a picture")


def _squares(source: AnySource, size: int) -> np.ndarray:
    (batch,) = batches.plain(source, size, source.count)
    for path, valid in zip(source.paths, batch["valid"].numpy(), strict=True):
        if not valid:
            raise UserError(f"{path} cannot be decoded to its end; give another picture")
    return batch["image"].numpy()


def _filters(subject: Subject) -> np.ndarray | None:
    if subject.embedding is not None:
        return None
    trunk = subject.random if subject.trained is None else subject.trained
    return filters_of([trunk.body])


def _draw(seen: Seen, shown: np.ndarray, places: list[Places], filters: np.ndarray | None) -> None:
    stages = [
        {
            "name": each.stage,
            "height": each.kept.shape[1],
            "width": each.kept.shape[2],
            "numbers": each.kept.shape[3],
            "kept": base64.b64encode(each.kept.tobytes()).decode(),
        }
        for each in places
    ]
    names = [text_of(Path(name).name) for name in seen.pictures]
    contents = {
        "title": f"Inside {seen.subject}",
        "subtitle": "",
        "sentences": seen.sentences,
        "tiles": (),
        "settings": {},
        "seen": seen,
        "filters": [] if filters is None else [_png(each) for each in drawn_filters(filters)],
        "pictures": [(name, as_uri(image)) for name, image in zip(names, shown, strict=True)],
        "coloured": [
            (stage, [_png(image) for image in each.colours]) for stage, each in zip(seen.stages, places, strict=True)
        ],
        "data": {"names": names, "stages": stages},
    }
    write_page(seen.page, "inside.html.jinja", contents)


def _png(image: np.ndarray) -> str:
    """Return a small picture, uint8 [H, W, 3], as a data URI, pixel by pixel."""
    return "data:image/png;base64," + base64.b64encode(tf.io.encode_png(image).numpy()).decode()
