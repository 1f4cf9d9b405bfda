"""`neighbours`: what is most alike under a network, beside random weights and others: the lecture's figure."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.words import counted
from tfssl.evaluation.config import NeighboursSettings
from tfssl.evaluation.neighbours import drawn as drawing
from tfssl.evaluation.neighbours import found as measures
from tfssl.evaluation.neighbours.asked import Looks, open_asked
from tfssl.evaluation.neighbours.found import Neighbours, Query
from tfssl.evaluation.neighbours.networks import open_networks
from tfssl.evaluation.neighbours.search import look_through
from tfssl.frozen import features
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, open_source
from tfssl.report.page import write_report


@on_its_own()
def neighbours(
    subject: Any,
    data: Any,
    to: str | Path,
    *,
    query: str | Path | Iterable[str | Path] = (),
    count: int = 5,
    queries: int = 6,
    beside: Any = (),
    random: bool = True,
    patches: bool = False,
    box: Any = (),
    frames: int = 5,
    duplicates: bool = False,
    stage: str | None = None,
    size: int | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    max_broken: float = 0.01,
    seed: int = 0,
    report: bool = False,
) -> Neighbours:
    """Draw pictures, patches or frames of clips, each with those that are nearest in features, a row each.

    Under the subject, under random weights and under other networks, side by side, as in Fig. 4 of Doersch et al. 2015
    (arXiv 1505.05192). Features are means over all places of a stage, similarity is the cosine. Random weights are
    those of `evaluate`, their batch norm estimated on pictures of `data`; weights that a run began with stand beside
    them.

    Of each recording, and of pictures that are equal byte for byte, only what is most similar counts, and of the
    query's own nothing does: frames of one film are alike whatever was learned. Nor do near-duplicates of the query,
    by pixels and not by features: see `pipelines.ops.near_duplicates`. They are counted.

    Patches are squares of a third of the picture's side that overlap by half, and go through the network alone, as in
    the paper: a place of the last map has seen most of the picture, and a box around it would not be what was compared.
    Of each picture one patch counts, of the query's own none.

    Where there are labels, up to 500 of `data`, drawn by the seed, are asked for to count how many neighbours have the
    query's class, each network beside the others and chance. Features are made in batches and not kept: memory does
    not grow with `data`, but for its names.

    Args:
      subject: what `evaluate` takes: a run or its folder, an export, a .keras file or a Keras model, a trunk's name
        with weights or without.
      data: anything that `open_source` takes, better none that was trained on.
      to: a page (html), or a picture file (png, svg, pdf, jpg).
      query: a picture, several, or folders of them; some of `data` where there is none.
      count: neighbours of each.
      queries: how many of `data` are asked for, drawn by the seed, where no `query` is given.
      beside: other networks, one or several; as text with commas between them. Those that do not say their size get
        that of the subject.
      random: whether random weights are asked too.
      patches: whether patches are compared, and not whole pictures.
      box: with `patches`, top, left, height and width in pixels of the patch of each `query`, as "10,20,64,64" or four
        numbers; the square around it is taken. Patches are drawn by the seed where none is given.
      frames: of a clip, spread evenly over it, to choose from; a query is the one in the middle.
      duplicates: whether near-duplicates and what is of the query's own recording or picture count, too; of each
        recording all do.
      stage: a stage of the subject, and of those beside it that have one of this name; the last one of others, and
        where None. "best" is what `evaluate` found of a run.
      size: pixels of a side where the subject does not say it, 96 where None.
      limit: largest count of pictures or clips to look through, drawn by the seed.
      batch_size: pictures that go through a network at once.
      max_broken: the largest share of pictures that may fail to decode, 0..1.
      seed: of what is drawn, and of random weights where the subject is no run.
      report: put the gallery into the page of a run, and write that anew; the page keeps it until the next one comes.

    Raises:
      UserError: no such subject, data or stage; `report` of what is no run; a query that is no picture; a box outside
        of it; data with too few recordings or pictures.
    """
    settings = NeighboursSettings(**locals())
    source, looks = _open(settings)
    asked = open_asked(settings, source, looks)
    networks = open_networks(settings, source)
    run = networks[0].run if report else None
    if report and run is None:
        raise UserError(f"--report is given, but {networks[0].name} is no run, which has a page; leave it out")
    closest, left_out, broken = look_through(settings, asked, networks)
    features.check_broken(source, broken, max_broken)

    shown = np.arange(len(asked.files)) if asked.files else np.arange(min(queries, len(asked.rows)))
    sample = slice(len(asked.files), None)
    labels = np.full(source.count, -1) if source.labels is None else np.asarray(source.labels)
    numbers = [each.numbers[sample] for each in closest]
    shares = [measures.alike(each, looks.places, labels, labels[asked.rows]) for each in numbers]
    found = Neighbours(
        file=settings.to,
        data=source.name,
        unit="patches" if patches else "frames" if source.moving else "pictures",
        items=source.count,
        broken=broken,
        count=count,
        sampled=len(asked.rows),
        left_out=None if duplicates else sum(map(len, left_out)),
        chance=measures.chance(labels, source.groups, asked.rows) if np.isfinite(shares[0]).any() else None,
        networks=measures.summaries([(each.name, each.stage) for each in networks], numbers, shares),
        queries=tuple(
            Query(
                **drawing.place_of_query(asked, number),
                left_out=len(left_out[number]),
                found=tuple(drawing.neighbours_of(asked, each, number) for each in closest),
            )
            for number in shown.tolist()
        ),
    )
    drawing.draw(found, asked, closest, shown.tolist(), None if run is None else run.folder)
    if run is not None:
        write_report(run)
    return found


def _open(settings: NeighboursSettings) -> tuple[AnySource, Looks]:
    """Open the data. Raise UserError where it holds no pictures, or not enough to choose among."""
    source = open_source(settings.data, settings.max_broken)
    if "image" not in source.holds:
        raise UserError(f"{source.name} holds no pictures; expected pictures, or clips with frames")
    if source.moving:
        if settings.patches:
            raise UserError(f"--patches is given, but {source.name} holds clips; give pictures, or leave it out")
        source = source.subset(np.flatnonzero(source.frame_counts > 0), source.name)
    if settings.limit is not None and source.count > settings.limit:
        source = batches.sample(source, settings.limit, settings.seed)
    looks = Looks(settings.frames if source.moving else 1, settings.patches)
    units = len(np.unique(source.groups))
    have = source.count * looks.places if settings.duplicates else units
    if have <= settings.count:
        what = f"{counted(units, source.unit)}"
        least = "" if have == 1 else f", or --count {have - 1} at most"
        raise UserError(f"{source.name} has {what}, too few for --count {settings.count}: give more{least}")
    return source, looks
