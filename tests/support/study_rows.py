"""Rows of a table of a study, made up."""

from tfssl.studies import statistics, table
from tfssl.studies.trials import PROTOCOLS


def row(tasks: str, tops: dict[int, float], count: int = 1000) -> table.Row:
    found = table.Downstream(statistics.over_seeds(list(tops.values()), count), tops, ("stage2",) * len(tops))
    return table.Row(tasks, tuple(tops), dict.fromkeys(PROTOCOLS, found), {}, {}, None)
