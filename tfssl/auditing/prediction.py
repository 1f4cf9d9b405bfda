"""Is the answer predictable from what should not tell? A linear model on each nuisance, tested on other pictures.

What legitimately tells must be told apart from leaks. A photo's own border tells which way is up (sky), a patch alone
tells something of where it lay (sky above), even a photo's noise has directions. So there are two worlds:

- Neutral pictures (`samples.neutral`) have no up and no middle. There every nuisance, and each part alone, must be at
  chance; above it is a LEAK, as only the task itself can have put it there: a resize after turning, sharpening of one
  part, brightness drawn with the seed of the answer.
- Pictures as they are. Whatever is the same in a picture however turned (colours, noise level, sharpness) must be at
  chance in tasks that show a whole picture. What no scene shows (the phase of JPEG's blocks, mirrored edges) must be at
  chance in all tasks. Above it is a LEAK, which may come with the pictures or with their crops. Everything else is
  content: the figure is printed, and no verdict given.

Questions about one picture, one batch and one recording are never both in the training part and in the tested part.
"""

import warnings
from collections.abc import Iterable

import numpy as np

from tfssl.auditing import nuisances, statistics
from tfssl.auditing.pieces import is_cut, put_right, seen_by_place
from tfssl.auditing.results import CONTENT, LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Made
from tfssl.base import blas
from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts.classification import ChoiceTask

MOST_PARTS = 2
"""Parts of a question whose nuisances are looked at side by side; of more their mean is, and each `piece alone`."""

Questions = tuple[np.ndarray, np.ndarray, np.ndarray]  # nuisances float [Q, n, F], right answers [Q], batches [Q]


def margin(choices: int) -> float:
    """Say how far above chance a leak is: 2 points, or half of chance where there are many choices."""
    return min(0.02, 0.5 / choices)


def measure(made: Iterable[Made]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Measure all questions of all batches: nuisance -> [Q, n, F], right answers [Q], batch of each [Q]."""
    answers, measures = [], []
    for batch in made:
        questions = batch.questions
        answers.append(questions.right)  # an empty one too: halves are chosen by the numbers of batches
        if not len(questions.right):  # a batch of clips none of which counts
            continue
        of_sound = {} if questions.sound is None else nuisances.of_sound(questions.sound)
        measures.append(nuisances.features(questions.parts) | of_sound)
    if not measures:
        return {}, np.zeros(0, int), np.zeros(0, int)
    right, groups = statistics.join(answers)
    return {name: np.concatenate([one[name] for one in measures]) for name in measures[0]}, right, groups


def probes(
    task: PretextTask, natural: Iterable[Made], neutral: Iterable[Made], side_by_side: int = MOST_PARTS
) -> list[Probe]:
    """Make a probe for each nuisance, and for each part alone, in both worlds.

    Args:
      side_by_side: parts of a question, at most, whose nuisances are looked at side by side.
    """
    if not isinstance(task, ChoiceTask):
        return [
            Probe(task=str(task), name="prediction", verdict=NONE, note="the answer is no choice: see intervention")
        ]
    results = []
    for is_neutral, made in ((False, natural), (True, neutral)):
        measures, right, groups = measure(made)
        if len(np.unique(right)) < 2:
            return [Probe(task=str(task), name="prediction", verdict=NONE, note="no two answers count")]
        for name, values in measures.items():
            flat = values.reshape(len(values), 1, -1) if values.shape[1] <= side_by_side else values
            results.append(_probe(task, name, flat, right, groups, is_neutral, values.shape[1]))
        seen, heard = (
            [values for name, values in measures.items() if (name in nuisances.NUISANCES) == wanted]
            for wanted in (True, False)
        )
        everything = np.concatenate(seen, 2)
        parts = everything.shape[1]
        for part in range(parts) if 1 < parts <= side_by_side else ():
            name = f"part {part + 1} of {parts} alone"
            results.append(_probe(task, name, everything[:, part : part + 1], right, groups, is_neutral))
        for name, together in (("picture alone", seen), ("sound alone", heard)) if heard else ():
            results.append(_probe(task, name, np.concatenate(together, 2), right, groups, is_neutral))
    return results


def piece_alone(task: PretextTask, natural: Iterable[Made], neutral: Iterable[Made]) -> list[Probe]:
    """Probe whether the nuisances of one piece tell its place. Return nothing where the puzzle has no pieces.

    All together, in both worlds; and in pictures as they are those that no scene shows, each alone.
    """
    results = []
    for is_neutral, made in ((False, natural), (True, neutral)):
        values, places, groups = [], [], []
        for group, batch in enumerate(made):
            pieces = put_right(task, batch)
            if pieces is None or not is_cut(pieces):
                return []
            pixels, where = seen_by_place(task, batch, pieces)
            values.append(nuisances.features(pixels[:, None]))
            places.append(where)
            groups.append(np.full(len(where), group))
        right, batches = np.concatenate(places), np.concatenate(groups)
        measures = {name: np.concatenate([one[name] for one in values]) for name in values[0]}
        everything = np.concatenate(list(measures.values()), 2)
        results.append(_probe(task, "place of a piece alone", everything, right, batches, is_neutral))
        for name in nuisances.ARTEFACTS if not is_neutral else ():
            results.append(_probe(task, f"{name} of a piece", measures[name], right, batches, is_neutral))
    return results


def _probe(
    task: PretextTask,
    name: str,
    values: np.ndarray,
    right: np.ndarray,
    groups: np.ndarray,
    is_neutral: bool,
    parts: int = 1,
) -> Probe:
    """Probe nuisances float [Q, n, F] of each part, whose mean counts, or of all `parts` side by side, [Q, 1, n F]."""
    share, bounds, surely = score(values.mean(1), right, groups)
    choices = len(np.unique(right))
    chance = 1 / choices
    may_tell = (
        not is_neutral
        and not name.startswith(nuisances.ARTEFACTS)
        and not (parts == 1 and name in nuisances.LEVELS)
        # Whether sound fits a picture, neither of the two tells alone.
        and "sound" not in task.reads
    )
    verdict = OK
    if bounds[0] > chance + 1e-9 and may_tell:
        verdict = CONTENT
    elif not may_tell and bounds[0] > chance + margin(choices):
        verdict = LEAK
    elif not may_tell and surely > chance + 1e-9:
        verdict = WEAK
    return Probe(
        task=str(task),
        name=f"{name}, neutral" if is_neutral else name,
        verdict=verdict,
        found=share,
        bounds=bounds,
        chance=chance,
        note=f"{values[0].size // parts} numbers a part, {len(right)} answers" if verdict == LEAK else "",
    )


def score(values: np.ndarray, right: np.ndarray, groups: np.ndarray) -> tuple[float, tuple[float, float], float]:
    """Return what part of the answers a linear model predicts: see `hits`.

    Returns:
      The balanced accuracy, its 99 % interval, and the lower end of the interval that makes it sure.
    """
    correct = hits(values, right, groups)
    share, (low, high) = statistics.mean_interval(correct, groups)
    surely = statistics.mean_interval(correct, groups, statistics.SURE)[1][0]
    return share, (max(low, 0.0), min(high, 1.0)), surely


def hits(values: np.ndarray, right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return float [Q], above 0 where a linear model that saw the other half of the batches gives the right answer.

    Their mean is the balanced accuracy, whose chance is one in the answers that occur, however often each does: a hit
    counts 1 where all occur alike, and less the commoner its answer is. Balance is another probe's business.

    Multinomial logistic regression on standardised columns: values float [Q, F], right int [Q], groups int [Q].
    """
    from sklearn.linear_model import LogisticRegression

    values = values.astype(np.float64)  # in float32 L-BFGS looks for its step a hundred times as long
    correct = np.zeros(len(right))
    halves = groups % 2
    for half in (0, 1):
        train, test = halves != half, halves == half
        if len(np.unique(right[train])) < 2 or not test.any():
            continue  # of so few questions nothing can be learned
        centre, scale = values[train].mean(0), values[train].std(0)
        scaled = np.clip((values - centre) / np.where(scale > 1e-4, scale, np.inf), -5, 5)
        with warnings.catch_warnings(), blas.one_thread():
            warnings.simplefilter("ignore", UserWarning)  # a rough optimum tells as much; and of many classes
            model = LogisticRegression(C=0.1, max_iter=60, tol=1e-3, class_weight="balanced").fit(
                scaled[train], right[train]
            )
        correct[test] = model.predict(scaled[test]) == right[test]
    counts = np.bincount(right)
    return correct * len(right) / (np.count_nonzero(counts) * counts[right])
