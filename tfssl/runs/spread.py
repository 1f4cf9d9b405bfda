"""How many directions features fill: needs no labels, and says whether they have collapsed."""

import dataclasses
from collections.abc import Mapping

from tfssl.base.tables import aligned


@dataclasses.dataclass(frozen=True)
class Spread:
    """How many directions the features of a stage fill, and how evenly: needs no labels.

    Attributes:
      rank: RankMe, the effective rank, 1 .. `numbers`.
      numbers: how many numbers a picture has.
      pictures: how many were measured.
      uniformity: 0 where all have one direction; the lower, the more even.
    """

    rank: float
    numbers: int
    pictures: int
    uniformity: float


Ranks = Mapping[str, Mapping[str, Spread]]
"""Of "trained" and "random" weights: stage -> spread, first stage first; {} where it was not asked for. And where that
was asked for, of each "projection".
"""
COLLAPSED = 1.5
"""An effective rank below this is called a collapse; 1 is one direction for all pictures."""


def higher(own: Mapping[str, Spread], precise: Mapping[str, Spread]) -> dict[str, Spread]:
    """Return the one of larger rank of each stage, of random weights with two batch norm statistics."""
    return {stage: max(each, precise[stage], key=lambda one: one.rank) for stage, each in own.items()}


def sentences(ranks: Ranks) -> list[str]:
    """Say the rank of the last stage beside random weights, and which stages have collapsed."""
    trained, random = ranks.get("trained", {}), ranks.get("random", {})
    if not trained:
        return []
    last, spread = list(trained.items())[-1]
    beside = f" (random weights {random[last].rank:.1f})" if last in random else ""
    said = [
        f"The effective rank of {last}, the last stage, is {spread.rank:.1f} of {spread.numbers}{beside}: its features"
        " spread as they would over so many directions of equal strength."
    ]
    said += [
        f"Behind the projection head, {stage}, it is {each.rank:.1f} of {each.numbers}."
        for stage, each in ranks.get("projection", {}).items()
    ]
    if collapsed := [stage for stage, each in trained.items() if each.rank < COLLAPSED]:
        said.append(
            f"COLLAPSED: features of {', '.join(collapsed)} have nearly one direction for all pictures (effective rank"
            " near 1), and tell little of them."
        )
    return said


def rows(ranks: Ranks) -> list[tuple[str, ...]]:
    """Return the cells of a table, a row a stage: name, numbers, rank and uniformity, each beside random weights."""
    trained, random = ranks.get("trained", {}), ranks.get("random", {})
    made: list[tuple[str, ...]] = []
    for stage, spread in trained.items():
        rival = random.get(stage)
        made.append(
            (
                stage,
                str(spread.numbers),
                f"{spread.rank:.1f}",
                f"{rival.rank:.1f}" if rival else "-",
                f"{spread.uniformity:.2f}",
                f"{rival.uniformity:.2f}" if rival else "-",
            )
        )
    return made


def table(ranks: Ranks) -> list[str]:
    """Return lines of a table, trained beside random weights; none where nothing was measured."""
    trained = ranks.get("trained", {})
    if not trained:
        return []
    pictures = max(spread.pictures for spread in trained.values())
    size = (
        f"Effective rank (RankMe) and uniformity of the mean over all places, of {pictures:,} images, without labels;"
        " uniformity is 0 where all have one direction, and the lower the more even."
    )
    head = ("stage", "numbers", "effective rank", "random", "uniformity", "random")
    return [*aligned([head, *rows(ranks)], texts=(0,)), "", size]
