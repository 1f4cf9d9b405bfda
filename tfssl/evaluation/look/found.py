"""What `look` found, in words."""

import dataclasses
from pathlib import Path

import numpy as np

from tfssl.base.result import Result
from tfssl.base.statistics import wilson
from tfssl.base.words import counted
from tfssl.evaluation.look.findings import Findings
from tfssl.runs.evaluation import percent


@dataclasses.dataclass(frozen=True)
class Outlier:
    """A picture far from all others: its file, and its mean distance to its nearest, 0..2."""

    file: str
    distance: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How many pictures of a class its nearest neighbours take for another one."""

    label: str
    taken_for: str
    count: int


@dataclasses.dataclass(frozen=True)
class Looked(Result):
    """What `look` wrote and found.

    Attributes:
      folder: where index.html and the tables are.
      data, subject, stage: what was looked at, and through what.
      pictures: that were looked at.
      whole: pictures in DATA.
      broken: how many could not be decoded.
      mapped, layout: how many are on the map, and how they were placed: "umap" or "pca".
      neighbours: how many of the nearest a distance is the mean over, and vote.
      groups, duplicates: groups of near-duplicates, and pictures in them.
      leaked: pictures of the other parts that have a near-duplicate in training; None without such parts.
      outliers: the farthest, the first one first.
      selected: what to label, the first one first.
      labelled: how many have a label so far; of a table of labels.
      right: share of pictures with a label whose nearest neighbours vote for it, with its 95 % interval; None without
        labels.
      commonest: share of the commonest class.
      confusions: the commonest first.
    """

    folder: Path
    data: str
    subject: str
    stage: str
    pictures: int
    whole: int
    broken: int
    mapped: int
    layout: str
    neighbours: int
    groups: int
    duplicates: int
    leaked: int | None
    outliers: tuple[Outlier, ...]
    selected: tuple[str, ...]
    labelled: int
    right: tuple[float, float, float] | None
    commonest: float | None
    confusions: tuple[Confusion, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.folder / 'index.html'}: {self.opening}", *self.sentences])

    @property
    def opening(self) -> str:
        """Say what was looked at."""
        said = f"{counted(self.pictures, 'picture')} of {self.data} through {self.subject}, {self.stage}"
        if self.pictures + self.broken < self.whole:
            said += f"; drawn by the seed from {self.whole:,}, --limit takes more"
        return said + (f"; cannot be decoded: {self.broken:,}" if self.broken else "")

    @property
    def sentences(self) -> list[str]:
        """Say what was found, one thing a sentence."""
        return [each for each in (*self.of_duplicates, self.of_outliers, self.of_classes, self.of_selected) if each]

    @property
    def of_duplicates(self) -> list[str]:
        """Of near-duplicates, and whether training knows what is tested on."""
        if not self.groups:
            said = "No two pictures are near-duplicates."
        else:
            near = counted(self.duplicates, "picture is a near-duplicate", "pictures are near-duplicates")
            said = f"{near} of others, in {counted(self.groups, 'group')}."
        if self.leaked is None:
            return [said]
        leak = "A leak: " if self.leaked else ""
        has = counted(self.leaked, "picture of test or validation has", "pictures of test or validation have")
        return [said, f"{leak}{has} a near-duplicate in training."]

    @property
    def of_outliers(self) -> str:
        """Of outliers."""
        first = self.outliers[0]
        away = f"{first.distance:.3f} in the mean to its {self.neighbours} nearest"
        return f"Farthest from all others is {first.file}: {away}."

    @property
    def of_classes(self) -> str:
        """Of the vote of nearest neighbours; "" without labels."""
        if self.right is None or self.commonest is None:
            return ""
        share, low, high = self.right
        said = (
            f"The {self.neighbours} nearest neighbours name {percent(share)} right (95 % interval {100 * low:.1f} to"
            f" {percent(high)}); the commonest class is {percent(self.commonest)}."
        )
        if self.confusions:
            most = self.confusions[0]
            said += f" Most often confused: {most.label} is taken for {most.taken_for}, {most.count} times."
        return said

    @property
    def of_selected(self) -> str:
        """Of what to label first; "" where that was not asked for."""
        if not self.selected:
            return ""
        beside = f", beside {self.labelled:,} labelled so far" if self.labelled else ""
        return (
            f"{counted(len(self.selected), 'picture')} to label first{beside}, in {self.folder / 'selected.csv'}: fill"
            " its column label, and give it to `tfssl finetune --labels`."
        )


def said_of(findings: Findings, folder: Path) -> Looked:
    """Return what people and programs are told."""
    collection, votes = findings.collection, findings.votes
    own = votes.answers[votes.known]
    right = own == votes.guesses[votes.known]
    share = float(right.mean()) if len(own) else None
    return Looked(
        folder=folder,
        data=collection.data,
        subject=collection.subject,
        stage=collection.stage,
        pictures=collection.count,
        whole=collection.whole,
        broken=collection.broken,
        mapped=len(findings.shown),
        layout=findings.layout,
        neighbours=findings.neighbours,
        groups=len(findings.duplicates),
        duplicates=sum(map(len, findings.duplicates)),
        leaked=findings.leaked,
        outliers=tuple(Outlier(collection.names[each], float(findings.away[each])) for each in findings.outliers),
        selected=tuple(collection.names[each] for each in findings.chosen),
        labelled=int(collection.labelled.sum()),
        right=None if share is None else (share, *wilson(share, len(own))),
        commonest=None if share is None else float(np.bincount(own).max() / len(own)),
        confusions=tuple(Confusion(votes.classes[a], votes.classes[b], count) for a, b, count in votes.confused()),
    )
