"""Evaluations as a run's folder holds them, with figures that are made up."""

import dataclasses

from tfssl.runs.beside import Difference, Rival
from tfssl.runs.dense_scores import FROZEN, TUNED, DenseMeasured, DenseScore
from tfssl.runs.evaluation import Evaluation, ProtocolFacts, Score
from tfssl.runs.per_class import PerClass
from tfssl.runs.spread import Spread

DENSE = DenseMeasured(
    title="surface normals",
    target="normals",
    headline="mean angle",
    unit="degrees",
    lower=True,
    names=(),
    subject="run",
    data="a kitchen",
    train=80,
    held_out=16,
    test=20,
    trained={
        FROZEN: DenseScore(25.0, 24.0, 26.0, 24.5, {"mean angle": 25.0, "within 30 degrees": 0.7}, ("step 90",)),
        TUNED: DenseScore(20.0, 19.0, 21.0, 19.5, {"mean angle": 20.0, "within 30 degrees": 0.8}, ("step 80",)),
    },
    random={
        FROZEN: DenseScore(30.0, 29.0, 31.0, 29.5, {"mean angle": 30.0}, ("step 70",), ahead=Difference(5.0, 4.0, 6.0)),
        TUNED: DenseScore(22.0, 21.0, 23.0, 21.5, {"mean angle": 22.0}, ("step 60",), ahead=Difference(2.0, 1.0, 3.0)),
    },
    notes=("Learned from 80 pictures.",),
    details={"data": "0"},
)
"""What an evaluation found of places in the picture."""

EVALUATION = Evaluation(
    trained={
        "linear": {"stage1": Score(0.65, 0.6), "stage2": Score(0.728, 0.7), "stage3": Score(0.7, 0.6)},
        "linear_pooled": {"stage1": Score(0.45, 0.4), "stage2": Score(0.55, 0.5), "stage3": Score(0.605, 0.6)},
    },
    random={"linear": {"stage1": Score(0.54, 0.5), "stage2": Score(0.56, 0.5), "stage3": Score(0.5, 0.4)}},
    train_images=50_000,
    test_images=10_000,
    classes=tuple("abcdefghij"),
    largest_class=0.1,
    notes=("Names may hold <b>markup</b>.",),
    details={"random_batch_norm": {"linear": {"stage1": "own", "stage2": "precise"}}},
)
RANKS = {"trained": {"stage1": Spread(7.25, 16, 24, -1.5)}, "random": {"stage1": Spread(3.5, 16, 24, -0.5)}}
SAME_STAGES = Rival(
    "net.keras",
    {"linear": {"stage1": Score(0.5, 0.4), "stage2": Score(0.6, 0.5), "stage3": Score(0.55, 0.4)}},
    {"linear": Difference(0.128, 0.1, 0.15)},
)
OTHER_STAGES = Rival("mobilenet", {"linear": {"a": Score(0.5, 0.4), "b": Score(0.62, 0.5)}}, {})
PER_CLASS = PerClass(
    labels=(900, 800, 700, 600, 500, 400, 300, 200, 100, 9),
    tested=(1000,) * 9 + (0,),
    trained=(0.9, 0.8, 0.75, 1.0, 0.6, 0.5, 0.55, 0.35, 0.085, None),
    random=(0.7, 0.8, 0.65, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, None),
)
LOWSHOT = {f"lowshot(labels={count})": count for count in (16, 4, 1)}


def _few_labels(share: float) -> dict[str, dict[str, Score]]:
    return {
        name: {"stage2": Score(share + 0.01 * count, 0.5, over_draws=0.02, held_out=0.4)}
        for name, count in LOWSHOT.items()
    }


FULL = dataclasses.replace(
    EVALUATION,
    trained=EVALUATION.trained
    | {"linear": EVALUATION.trained["linear"] | {"stage2": Score(0.728, 0.7, 0.7, None, (0.9, 0.7, 0.5))}}
    | _few_labels(0.3),
    random=EVALUATION.random | _few_labels(0.2),
    protocols=EVALUATION.protocols
    | {name: ProtocolFacts(f"low-shot probe (labels={count})", "low-shot probe", 1) for name, count in LOWSHOT.items()},
    beside=(SAME_STAGES, OTHER_STAGES),
    ranks=RANKS,
    per_class=PER_CLASS,
)
"""With all that a page of a run shows."""
