"""`look`: a collection seen through an encoder, as a page and as tables."""

from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.statistics import wilson
from tfssl.evaluation.config import LookSettings
from tfssl.evaluation.look import closeness, drawn, placing, selection, tables
from tfssl.evaluation.look.collection import Collection, open_collection
from tfssl.evaluation.look.found import Confusion, Looked, Outlier
from tfssl.pipelines.sources import splits

OUTLIERS = 24
"""The farthest, which are shown."""


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
    collection = open_collection(settings)
    numbers, distances = closeness.nearest(collection.features)
    groups = closeness.groups_of(collection.patterns)
    away = distances.mean(1)
    farthest = np.argsort(-away, kind="stable")
    chosen = _selected(collection, settings)
    shown = _shown(collection, [*chosen, *farthest[:OUTLIERS]], settings)
    places, method = placing.places(collection.features[shown], settings.layout, settings.seed)
    classes, answers = _classes(collection)
    shares = closeness.votes(numbers, distances, groups, answers, max(1, len(classes)))
    known = np.flatnonzero((answers >= 0) & (shares.sum(1) > 0))
    guesses = shares.argmax(1)
    duplicates = closeness.several(groups)
    if len(classes) < 2:
        known = known[:0]
    found = Looked(
        folder=settings.to,
        data=collection.data,
        subject=collection.subject,
        stage=collection.stage,
        pictures=collection.count,
        whole=collection.whole,
        broken=collection.broken,
        mapped=len(shown),
        layout=method,
        neighbours=numbers.shape[1],
        groups=len(duplicates),
        duplicates=sum(map(len, duplicates)),
        leaked=_leaked(collection, groups),
        outliers=tuple(Outlier(collection.names[each], float(away[each])) for each in farthest[:OUTLIERS]),
        selected=tuple(collection.names[each] for each in chosen),
        labelled=int(collection.labelled.sum()),
        right=_right(answers[known] == guesses[known]),
        commonest=float(np.bincount(answers[known]).max() / len(known)) if len(known) else None,
        confusions=tuple(
            Confusion(classes[own], classes[other], count)
            for own, other, count in closeness.confused(answers[known].tolist(), guesses[known].tolist())
        )
        if len(known)
        else (),
    )
    tables.write(found, collection, shown, places, duplicates, farthest, away, chosen)
    examples = drawn.Examples(known, answers, guesses, shares, classes)
    drawn.draw(found, collection, shown, places, duplicates, farthest[:OUTLIERS], chosen, examples)
    return found


def _selected(collection: Collection, settings: LookSettings) -> list[int]:
    """Return the numbers of what to label, in the order in which it was chosen."""
    if settings.select is None:
        return []
    rows = np.flatnonzero(collection.to_label)
    chosen = selection.select(collection.features[rows], collection.labelled[rows], settings.select, settings.seed)
    return rows[chosen].tolist()


def _shown(collection: Collection, first: list[int], settings: LookSettings) -> np.ndarray:
    """Return the numbers of what is on the map, int [n]: these, and others by the seed."""
    others = np.random.default_rng([settings.seed, 2]).permutation(collection.count)
    order = list(dict.fromkeys([*(int(each) for each in first), *others.tolist()]))
    return np.sort(order[: settings.mapped])


def _classes(collection: Collection) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the classes, and that of each as a number, -1 where it has none."""
    classes = tuple(sorted({label for label in collection.labels if label is not None}))
    place = {name: number for number, name in enumerate(classes)}
    return classes, np.array([-1 if label is None else place[label] for label in collection.labels])


def _leaked(collection: Collection, groups: np.ndarray) -> int | None:
    """Return how many of the other parts are in a group with a training picture; None where there is no such part."""
    train = np.array([collection.part_of(number) == splits.TRAIN for number in range(collection.count)])
    if train.all() or not train.any():
        return None
    return int(np.isin(groups[~train], groups[train]).sum())


def _right(right: np.ndarray) -> tuple[float, float, float] | None:
    return None if not len(right) else (share := float(right.mean()), *wilson(share, len(right)))
