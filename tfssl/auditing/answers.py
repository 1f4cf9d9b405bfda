"""Are the answers balanced?"""

from collections.abc import Iterable

import numpy as np

from tfssl.auditing.prediction import margin
from tfssl.auditing.results import LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Made
from tfssl.task import PretextTask

SIGNIFICANCE = 1e-3


def probe(task: PretextTask, made: Iterable[Made]) -> Probe:
    """Chi-square of the answers' counts against even ones. The figure is what the commonest answer alone would get."""
    from scipy.stats import chisquare

    name = "answers balanced"
    if task.choices is None:
        return Probe(task=str(task), name=name, verdict=NONE, note="the answer is no choice")
    right = np.concatenate([np.asarray(task.questions(batch.puzzle, batch.answer)[1]) for batch in made])
    counts = np.bincount(right, minlength=task.choices)
    chance, share = 1 / task.choices, counts.max() / counts.sum()
    value = float(chisquare(counts).pvalue) if len(counts) == task.choices else 0.0
    verdict = OK if value >= SIGNIFICANCE else LEAK if share > chance + margin(task.choices) else WEAK
    exactly = ", exactly even" if counts.min() == counts.max() else ""
    note = f"share of the commonest; chi-square p = {value:.2g}{exactly}"
    return Probe(task=str(task), name=name, verdict=verdict, found=float(share), chance=chance, note=note)
