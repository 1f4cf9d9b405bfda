"""Are the answers balanced?"""

from collections.abc import Iterable

import numpy as np

from tfssl.auditing.prediction import margin
from tfssl.auditing.results import LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Made
from tfssl.tasks.base import PretextTask
from tfssl.tasks.parts.classification import ChoiceTask

SIGNIFICANCE = 1e-3


def probe(task: PretextTask, made: Iterable[Made]) -> Probe:
    """Return the chi-square of the answers' counts against those by design (`ChoiceTask.shares`), even unless said.

    The figure is the share of the answer that is furthest above its design: of even ones what it alone would get.
    """
    from scipy.stats import chisquare

    name = "answers balanced"
    if not isinstance(task, ChoiceTask):
        return Probe(task=str(task), name=name, verdict=NONE, note="the answer is no choice")
    right = np.concatenate([batch.questions.right for batch in made])
    if not len(right):
        return Probe(task=str(task), name=name, verdict=NONE, note="no puzzle counts")
    counts = np.bincount(right, minlength=task.choices)
    wanted = np.array(task.shares)
    most = int(np.argmax(counts[: task.choices] / counts.sum() - wanted))
    chance, share = wanted[most], counts[most] / counts.sum()
    value = float(chisquare(counts, wanted * counts.sum()).pvalue) if len(counts) == task.choices else 0.0
    verdict = OK if value >= SIGNIFICANCE else LEAK if share > chance + margin(task.choices) else WEAK
    exactly = ", exactly as designed" if np.allclose(counts, wanted * counts.sum()) else ""
    note = f"share of answer {most}; chi-square p = {value:.2g}{exactly}"
    return Probe(task=str(task), name=name, verdict=verdict, found=float(share), chance=float(chance), note=note)
