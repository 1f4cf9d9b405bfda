"""What a comparison shows, in plain sentences: does several tasks on one trunk beat each of them alone?"""

import dataclasses
from collections.abc import Sequence

from tfssl.studies.statistics import Estimate, difference, spreads
from tfssl.studies.table import RANDOM, Row
from tfssl.studies.trials import PROTOCOLS
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import PretextTask

HOLDS, UNCLEAR, FAILS = "holds", "not shown", "does not hold"


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row ahead of others, by one protocol.

    Attributes:
      tasks: of the row.
      rival: the best of the others.
      protocol: of those of a study.
      ahead: top-1 of the row less that of the rival, a fraction, with its interval.
      verdict: "holds" where the row is ahead of every one of the others and no interval reaches 0; "does not hold"
        where the interval against the rival lies below 0; else "not shown".
      sentence: all this in words.
    """

    tasks: str
    rival: str
    protocol: str
    ahead: Estimate
    verdict: str
    sentence: str


def check_claims(rows: Sequence[Row], test_images: int) -> list[Claim]:
    """Compare every set of several tasks with each of its tasks alone, then every set with random weights.

    Args:
      rows: of a comparison; "random weights" among them.
      test_images: how many pictures a top-1 was measured on.
    """
    trained = [row for row in rows if row.tasks != RANDOM]
    claims = []
    for row in trained:
        parts = parse_tasks(row.tasks)
        if len(parts) < 2:
            continue
        alone = [other for other in trained if any(_same(other.tasks, part) for part in parts)]
        if len(alone) == len(parts):
            what = "the best of its tasks alone"
            claims += [_claim(row, alone, protocol, what, test_images) for protocol in PROTOCOLS]
    for untrained in (row for row in rows if row.tasks == RANDOM):
        claims += [_claim(row, [untrained], protocol, "", test_images) for row in trained for protocol in PROTOCOLS]
    return [claim for claim in claims if claim is not None]


def _same(text: str, part: PretextTask) -> bool:
    """Return whether a row is this task alone; its weight and share of the batch matter only beside others."""
    (first, *rest) = parse_tasks(text)
    return not rest and dataclasses.replace(first, weight=1.0, batch=0) == dataclasses.replace(
        part, weight=1.0, batch=0
    )


def _claim(row: Row, others: Sequence[Row], protocol: str, what: str, test_images: int) -> Claim | None:
    def mean(other: Row) -> float:
        return other.downstream[protocol].estimate.mean

    mine = row.downstream[protocol].by_seed
    ahead = [difference(mine, other.downstream[protocol].by_seed, test_images) for other in others]
    if any(one is None for one in ahead):
        return None
    sure = [one for one in ahead if one is not None and one.low is not None and one.low > 0]
    place = max(range(len(others)), key=lambda number: mean(others[number]))
    rival, best = others[place], ahead[place]
    assert best is not None
    assert best.low is not None
    assert best.high is not None
    verdict = HOLDS if len(sure) == len(others) else FAILS if best.high < 0 else UNCLEAR
    points = 100 * best.mean
    way = f"{points:.1f} points ahead of" if points >= 0 else f"{-points:.1f} points behind"
    seeds = len(best.values)
    over = f"over {seeds} seeds, paired" if spreads(best.values, test_images) else "over the draw of test pictures only"
    sentence = (
        f"{row.tasks}: {PROTOCOLS[protocol]} {way} {rival.tasks}{f', {what}' if what else ''} "
        f"(95 % interval {100 * best.low:+.1f} to {100 * best.high:+.1f} points, {over}): "
    )
    sentence += {
        HOLDS: "the claim holds" if what else "it is ahead",
        FAILS: "the claim does NOT hold, it is behind" if what else "training has made it worse",
        UNCLEAR: "the claim is NOT shown" if what else "no gain from training is shown",
    }[verdict]
    if verdict == UNCLEAR and best.low > 0:
        sentence += " against every one of its tasks"
    return Claim(row.tasks, rival.tasks, protocol, best, verdict, sentence + ".")
