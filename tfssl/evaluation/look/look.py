"""`look`: a collection seen through an encoder, as a page and as tables."""

from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.evaluation.config import LookSettings
from tfssl.evaluation.look import drawn, placing, tables
from tfssl.evaluation.look.collection import open_collection
from tfssl.evaluation.look.findings import find
from tfssl.evaluation.look.found import Looked, said_of


@on_its_own()
def look(
    data: Any,
    subject: Any,
    to: str | Path,
    *,
    select: int | None = None,
    labels: str | Path | None = None,
    test: Any = None,
    layout: str = "umap",
    mapped: int = 2500,
    stage: str | None = None,
    size: int | None = None,
    limit: int = 50_000,
    batch_size: int = 256,
    max_broken: float = 0.01,
    seed: int = 0,
) -> Looked:
    """Look at a collection of pictures through a frozen network, and write what there is to see.

    `index.html`, one file that needs no other and no network, has a map of the pictures to move about in, those to
    label first, near-duplicates, outliers and what is confused. Beside it lie tables: `map.csv`, `duplicates.csv`,
    `outliers.csv`, `confusions.csv` where there are labels, and `selected.csv` where some are selected.

    Features are means over all places of a stage, of length 1. Near-duplicates are known by pixels and not by features,
    see `pipelines.ops.near_duplicates`; groups are what a chain of them joins. Outliers have the largest mean distance
    to their 10 nearest neighbours (Angiulli and Pizzuti 2002; of features of length 1 as Sun et al. 2022, arXiv
    2204.06507). Where there are labels, these neighbours vote for the class of each, and the commonest mistakes are
    shown. What to label first is chosen by TypiClust (Hacohen et al. 2022, arXiv 2202.02794), of training pictures
    where DATA has parts: see `selection.select`.

    Memory is taken for the features, 4 bytes a number: 0.1 GB for 50,000 pictures of 512 numbers. Comparing all pairs
    takes time by the square of the pictures, about two minutes for 50,000 on two cores.

    Args:
      data: anything that `open_source` takes; a folder of train/ and test/ (or val/) is looked at as a whole.
      subject: what `evaluate` takes: a run or its folder, an export, a .keras file or a Keras model, a trunk's name
        with weights or without.
      to: the folder to write.
      select: how many pictures to choose to be labelled first; none where None.
      labels: labels.csv of what is labelled so far, as of `finetune`: these are not chosen again.
      test: other pictures, which should not be among `data`.
      layout: how pictures are placed: "umap", or "pca".
      mapped: largest count of pictures on the map, which has what is selected, the outliers, and others by the seed.
      stage: a stage of the subject, "best" for what `evaluate` found of a run; the last one where None.
      size: pixels of a side where the subject does not say it, 96 where None.
      limit: largest count of pictures to look at, drawn by the seed.
      batch_size: pictures that go through the network at once.
      max_broken: the largest share of pictures that may fail to decode, 0..1.
      seed: of what is drawn, of the map, of k-means, and of random weights where the subject is no run.

    Raises:
      UserError: no such subject, data or stage; fewer than 3 pictures, or than are to be selected; features that are
        all the same; UMAP without umap-learn; a folder that cannot be written.
    """
    settings = LookSettings(**locals())
    if settings.to.exists() and not settings.to.is_dir():
        raise UserError(f"--to {settings.to} is a file, expected a folder to write; choose another")
    if settings.layout == "umap":
        placing.require_umap()
    findings = find(open_collection(settings), settings)
    looked = said_of(findings, settings.to)
    tables.write(looked, findings)
    drawn.draw(looked, findings)
    return looked
