"""Random weights, measured so that they do not lose by batch norm statistics that suit them less."""

from collections.abc import Callable, Mapping
from typing import Any

from tfssl.evaluation.data import Data
from tfssl.evaluation.probes import Measured, Probes
from tfssl.frozen import features
from tfssl.frozen.precise import estimate_batch_norm
from tfssl.models.trunks import Trunk
from tfssl.runs import spread

OWN, PRECISE = "own", "precise"
"""The batch norm statistics that random weights are measured with: those that they began with, precise batch norm."""


def measure_random(
    probes: Probes, trunk: Trunk, data: Data, batch_size: int, seed: int
) -> tuple[Measured, dict[str, dict[str, str]]]:
    """Measure random weights at their better of two: with the batch norm that they began with, and with a precise one.

    By precise batch norm alone, deep stages of random weights were up to 3.5 points worse than by mean 0 and variance
    1, which batch norm begins with (Caltech-101, 64 px).

    Args:
        trunk: with random weights; it ends with the statistics of training pictures.
        batch_size: pictures of a batch that statistics are estimated on.
        seed: of which pictures these are.

    Returns:
        What it was measured at, the larger rank of each stage; and which of the two each score is of: see `better_of`.
    """
    model = features.stage_model(trunk, probes.size)
    own = probes.measure(model, data)
    if not estimate_batch_norm(model, data.train, probes.size, batch_size, seed):
        return own, {}
    precise = probes.measure(model, data)
    scores, which = better_of(own.scores, precise.scores, lambda score: score.choice)
    return own._replace(scores=scores, ranks=spread.higher(own.ranks, precise.ranks)), which


def better_of(own: Mapping, precise: Mapping, figure: Callable[[Any], float]) -> tuple[dict, dict]:
    """Return the better figure of each protocol and stage, of random weights measured with two batch norm statistics.

    Args:
        own, precise: protocol -> stage -> score.
        figure: of a score, what is chosen by, the larger the better; its own counts where they are level.

    Returns:
        The same of the better ones; and which each is, `OWN` or `PRECISE`.
    """
    which = {
        protocol: {
            stage: PRECISE if figure(precise[protocol][stage]) > figure(score) else OWN
            for stage, score in stages.items()
        }
        for protocol, stages in own.items()
    }
    scores = {
        protocol: {stage: (own if each == OWN else precise)[protocol][stage] for stage, each in stages.items()}
        for protocol, stages in which.items()
    }
    return scores, which
