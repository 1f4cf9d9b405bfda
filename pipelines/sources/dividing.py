"""How labelled data is divided: class by class, and never through a group (pieces of a recording, equal pictures)."""

import re
from collections.abc import Sequence

import numpy as np

from tfssl.base.errors import UserError

TRAINING = 0.8
"""Share of what has no test part that is trained on; the rest is tested on."""
_PART = re.compile(r"(?P<whole>.+) \((?P<share>\d+) %, split seed (?P<seed>\d+)\)", re.DOTALL)


def divide(
    labels: np.ndarray, groups: np.ndarray, seed: int, training: float = TRAINING
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the training part and of the test part, both rising.

    Of each class its groups are gone through in random order, and go to the test part where that brings the part
    nearer to its share. A class of two groups or more has one at least on both sides; one of a single group is
    trained on. A group with several classes counts as one of its commonest.

    Args:
      labels: int [N].
      groups: int [N]: rows of one group stay together.
      seed: the seed of the order.
      training: share of each class that is trained on.
    """
    rng = np.random.default_rng(seed)
    tested = []
    for members, sizes in _by_class(labels, groups):
        order = rng.permutation(len(members))[::-1]
        missing, chosen = (1 - training) * sizes.sum(), []
        for place in order:
            if sizes[place] < 2 * missing:
                chosen.append(place)
                missing -= sizes[place]
        if not chosen and len(members) > 1:
            chosen.append(order[sizes[order].argmin()])
        tested += [members[place] for place in chosen]
    test = np.isin(groups, tested)
    return np.flatnonzero(~test), np.flatnonzero(test)


def folds(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return which of `count` folds each row is in, int [N]: a group in one, classes divided as equally as can be.

    The largest groups of a class come first, each to the fold that has least of the class. Arguments as of `divide`.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.zeros(len(labels), int)
    for members, sizes in _by_class(labels, groups):
        order = rng.permutation(len(members))
        filled = np.zeros(count, int)
        for place in order[np.argsort(-sizes[order], kind="stable")]:
            fold = int(filled.argmin())
            fold_of[groups == members[place]] = fold
            filled[fold] += sizes[place]
    return fold_of


def _by_class(labels: np.ndarray, groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, of each class, the groups whose commonest class it is, in order of first rows, and the rows of each."""
    names, first, inverse, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    classes, label = np.unique(labels, return_inverse=True)
    # Group and class as one number, counted; of equal counts the smaller class is the commonest.
    pairs, counts = np.unique(inverse * len(classes) + label, return_counts=True)
    order = np.lexsort((pairs, -counts, pairs // len(classes)))
    owner, place = np.unique(pairs[order] // len(classes), return_index=True)
    home = np.empty(len(names), int)
    home[owner] = pairs[order][place] % len(classes)
    by_class = []
    for number in range(len(classes)):
        mine = np.flatnonzero(home == number)
        mine = mine[np.argsort(first[mine])]
        by_class.append((names[mine], sizes[mine]))
    return by_class


def groups_of_names(names: Sequence[str], expression: str) -> list[str]:
    """Return the group of each name: what a regular expression matches (its first group, or all), else the name itself.

    Nothing found, or nothing in what was found, leaves a name alone.

    Raises:
      UserError: it is none.
    """
    try:
        compiled = re.compile(expression)
    except re.error as problem:
        raise UserError(f"--groups {expression!r} is no regular expression ({problem})") from problem
    matches = [compiled.search(name) for name in names]
    texts = [match.group(match.re.groups and 1) if match is not None else None for match in matches]
    return [text or name for text, name in zip(texts, names, strict=True)]


def name_of_part(whole: str, training: bool, seed: int) -> str:
    """Make 'photos (80 %, split seed 0)': what `parse_part` reads, and `open_source` opens."""
    share = TRAINING if training else 1 - TRAINING
    return f"{whole} ({100 * share:.0f} %, split seed {seed})"


def parse_part(name: str) -> tuple[str, bool, int] | None:
    """Invert `name_of_part`; return None where it is the name of something else."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    part = match["whole"], int(match["share"]) == round(100 * TRAINING), int(match["seed"])
    return part if name_of_part(*part) == name else None
