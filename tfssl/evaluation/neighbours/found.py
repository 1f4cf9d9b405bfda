"""What `neighbours` found, and what it comes to."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfssl.base.result import Result
from tfssl.base.statistics import paired
from tfssl.frozen.closest import NONE
from tfssl.runs.beside import Difference
from tfssl.runs.evaluation import percent


@dataclasses.dataclass(frozen=True)
class Place:
    """A picture, a frame of a clip, or a patch of a picture.

    Attributes:
      path: of the picture or clip.
      label: its class; None where that is unknown.
      frame: number of the frame in the clip, from 0; None of a picture.
      box: top, left, height, width of the patch in the picture, upright, in pixels; None of a whole picture.
    """

    path: str
    label: str | None
    frame: int | None
    box: tuple[int, int, int, int] | None


@dataclasses.dataclass(frozen=True)
class Neighbour(Place):
    """One that was found, with its cosine to the query, -1..1."""

    similarity: float


@dataclasses.dataclass(frozen=True)
class Query(Place):
    """One that was asked for.

    Attributes:
      left_out: how many near-duplicates and copies of it were left out.
      found: under each network, in their order, its neighbours, the most similar first.
    """

    left_out: int
    found: tuple[tuple[Neighbour, ...], ...]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that was asked, and what its neighbours agree on; figures are of the sample of DATA.

    Attributes:
      name: as `evaluate` names it.
      stage: whose mean over all places was compared.
      alike: share of neighbours with the query's class, with its 95 % interval over the queries; None without labels.
      ahead: how far the first network is ahead of it in that, paired.
      shared: share of its neighbours that are among those under the first network, too; None of the first.
    """

    name: str
    stage: str
    alike: tuple[float, float, float] | None
    ahead: Difference | None
    shared: float | None

    @property
    def title(self) -> str:
        """Its name and stage."""
        return f"{self.name}, {self.stage}"


@dataclasses.dataclass(frozen=True)
class Neighbours(Result):
    """What `neighbours` drew and counted.

    Attributes:
      file: the gallery.
      data: name of the data.
      unit: what was compared: "pictures", "frames", "patches".
      items: pictures or clips that were looked through.
      broken: how many could not be decoded.
      count: neighbours of each query.
      sampled: how many of DATA were asked for to count by.
      left_out: how many near-duplicates and copies of these, and of the queries, were left out; None where they count.
      chance: share of neighbours at random that have the query's class; None without labels.
      networks: SUBJECT first.
      queries: the rows of the gallery.
    """

    file: Path
    data: str
    unit: str
    items: int
    broken: int
    count: int
    sampled: int
    left_out: int | None
    chance: float | None
    networks: tuple[Network, ...]
    queries: tuple[Query, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.file}: {self.opening}", *self.sentences])

    @property
    def opening(self) -> str:
        """Say what was looked through."""
        items = "clips" if self.unit == "frames" else "pictures"
        said = f"{len(self.queries)} {self.unit}, and the {self.count} nearest to each in {self.items:,} {items} of"
        said += f" {self.data}"
        if self.left_out:
            said += f"; near-duplicates of what was asked for, left out: {self.left_out:,}"
        return said + (f"; cannot be decoded: {self.broken:,}" if self.broken else "")

    @property
    def sentences(self) -> list[str]:
        """Say what the neighbours agree on, a sentence for each network, beside chance."""
        said = []
        which = f"the {self.count} nearest of each of {self.sampled:,} {self.unit}"
        for number, network in enumerate(self.networks):
            parts = []
            if network.alike is not None:
                share, low, high = network.alike
                whose = " come from a picture of its class" if self.unit == "patches" else " have its class"
                parts.append(f"{percent(share)} of {which}{whose} (95 % interval {100 * low:.1f} to {percent(high)})")
            if network.ahead is not None:
                parts.append(f"{self.networks[0].name} is {network.ahead}")
            if network.shared is not None:
                of = "of them" if parts else f"of {which}"
                parts.append(f"{percent(network.shared)} {of} are also among those of {self.networks[0].name}")
            if number == 0 and self.chance is not None:
                parts.append(f"at random {percent(self.chance)} would")
            if parts:
                said.append(f"{network.title}: {'; '.join(parts)}.")
        return said


def alike(numbers: np.ndarray, places: int, labels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return of each query the share of its neighbours that have its class; not a number where it has none.

    Args:
      numbers: int [Q, k], row times places plus place of each; `NONE` where there is none.
      places: of an item.
      labels: int [N] of the items, -1 unknown.
      own: int [Q], of the queries.
    """
    there = numbers != NONE
    right = there & (labels[numbers // places] == own[:, None])
    with np.errstate(invalid="ignore"):
        share = right.sum(1) / there.sum(1)
    return np.where(own >= 0, share, np.nan)


def chance(labels: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> float:
    """Return the share of the query's class among neighbours at random: of any other group, any item of it.

    Args:
      labels, groups: int [N], of the items; -1 an unknown label.
      rows: int [Q], of which items the queries are; those without a label do not count.
    """
    rows = rows[labels[rows] >= 0]
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / sizes[group]
    known = labels >= 0
    of_class = np.bincount(labels[known], weights[known])
    members: dict[int, list[int]] = {}
    for row, number in enumerate(group):
        members.setdefault(int(number), []).append(row)
    own = [sum(weights[each] for each in members[int(group[row])] if labels[each] == labels[row]) for row in rows]
    return float(((of_class[labels[rows]] - own) / (len(sizes) - 1)).mean())


def shared(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the neighbours `other`, int [Q, k], that are among `one`, of the same queries."""
    there = other != NONE
    among = (other[:, :, None] == one[:, None]).any(2) & there
    return float(among.sum() / max(1, there.sum()))


def interval(shares: np.ndarray) -> tuple[float, float, float] | None:
    """Return the mean of shares that are numbers, and its 95 % interval over them; None where there are none."""
    known = shares[np.isfinite(shares)].tolist()
    if not known:
        return None
    mean, low, high = paired(known, [0.0] * len(known))
    return mean, max(0.0, low), min(1.0, high)


def ahead(one: np.ndarray, other: np.ndarray) -> Difference | None:
    """Return how far the mean of `one` is ahead of that of `other`, paired; None where there are no numbers."""
    known = np.isfinite(one) & np.isfinite(other)
    return Difference(*paired(one[known].tolist(), other[known].tolist())) if known.any() else None


def summaries(
    names: Sequence[tuple[str, str]], numbers: Sequence[np.ndarray], shares: Sequence[np.ndarray]
) -> tuple[Network, ...]:
    """Say of each network what its neighbours agree on.

    Args:
      names: name and stage of each.
      numbers: int [S, k] of each, its neighbours of the sample, as of `alike`.
      shares: float [S] of each, of `alike`.
    """
    return tuple(
        Network(
            name,
            stage,
            interval(share),
            ahead(shares[0], share) if place else None,
            shared(numbers[0], found) if place else None,
        )
        for place, ((name, stage), found, share) in enumerate(zip(names, numbers, shares, strict=True))
    )
