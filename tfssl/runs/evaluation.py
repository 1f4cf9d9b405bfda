"""What an evaluation found: figures, the sentences that follow from them, JSON."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfssl.base.result import Result
from tfssl.base.statistics import wilson

OWN, PRECISE = "own", "precise"
"""The batch norm statistics that random weights are measured with: those that they began with, precise batch norm."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Score of one stage by one protocol, both fractions 0 .. 1: share of test images right, mean average precision."""

    top1: float
    map: float


Scores = Mapping[str, Mapping[str, Score]]  # protocol -> stage -> Score


@dataclasses.dataclass(frozen=True)
class ProtocolFacts:
    """What an evaluation keeps of a protocol, so that who reads its figures needs not know the protocol.

    Attributes:
      title: as people read it.
      probe: the title where the places that it reads are said beside it.
      pool: to how many places a side a stage was averaged, as `export --pool` gives it; None for a grid of its own.
    """

    title: str
    probe: str
    pool: int | None


EARLIER = {
    "linear": ProtocolFacts("linear probe", "linear probe", None),
    "linear_pooled": ProtocolFacts("pooled linear probe", "linear probe", 1),
    "linear_pooled_2": ProtocolFacts("2x2 pooled linear probe", "linear probe", 2),
    "knn": ProtocolFacts("k-NN", "k-NN", 1),
}
"""The protocols of evaluations that were written before they kept these facts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Result):
    """Trained features beside those of the same trunk with random weights, stage by stage, first stage first.

    The first protocol of `trained` says which stage is best. `random` may be empty; each of its figures is the better
    of two, see `evaluate`. `details` is what else was set or counted; it goes into the JSON as it is.
    """

    trained: Scores
    random: Scores
    protocols: Mapping[str, ProtocolFacts] = dataclasses.field(default_factory=lambda: EARLIER, compare=False)
    train_images: int
    test_images: int
    classes: tuple[str, ...]
    broken_files: int = 0
    largest_class: float = 0.0  # share of the commonest class among the test images: what a constant answer gets
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def main(self) -> str:
        """The protocol that decides: the first one."""
        return next(iter(self.trained))

    @property
    def best_stage(self) -> str:
        """The stage with the largest top-1 by `main`; the earlier of two that are level."""
        return best_stage(self.trained[self.main])

    def stage_to_export(self, pool: int = 1) -> str:
        """Return the stage that is best as `export` gives it, averaged to `pool` x `pool` places; else `best_stage`.

        By the linear probe of exactly that where it was measured, else by k-NN, which reads the mean over all places.
        """
        asked = [protocol for protocol in self.trained if self.protocols[protocol].pool == pool]
        return best_stage(self.trained[asked[0]]) if asked else self.best_stage

    def measured_as_exported(self, stage: str, pool: int = 1) -> tuple[str, ...]:
        """Return the protocols that measured a stage averaged to `pool` x `pool` places; the same probe once.

        The grid of a protocol may happen to be that, or have been fixed to be (`evaluate --grid`).
        """
        facts = {protocol: self.protocols[protocol] for protocol, stages in self.trained.items() if stage in stages}
        pooled = {protocol: each.probe for protocol, each in facts.items() if each.pool == pool}
        gridded = []
        if self.details.get("grid", {}).get(stage) == pool:
            gridded = [name for name, each in facts.items() if each.pool is None and each.probe not in pooled.values()]
        return *gridded, *pooled

    def interval(self, protocol: str, stage: str, random: bool = False) -> tuple[float, float]:
        """Return Wilson's 95 % interval of a top-1.

        It is over the draw of test images; another training seed may differ more.
        """
        return wilson((self.random if random else self.trained)[protocol][stage].top1, self.test_images)

    def sentences(self) -> list[str]:
        """Say the result in plain words: best stage, against random weights, last stage against the best."""
        scores, name = self.trained[self.main], self.protocols[self.main].title
        best, last = self.best_stage, list(scores)[-1]
        share = scores[best].top1
        low, high = self.interval(self.main, best)
        said = [
            f"The best stage is {best}: {name} on its features names {percent(share)} of the "
            f"{self.test_images:,} test images right (95 % interval {100 * low:.1f} to {percent(high)}); always naming "
            f"the commonest of the {len(self.classes)} classes would get {percent(self.largest_class)}."
        ]
        if self.main in self.random:
            said.append(self._beside_random(best, share))
        if scores[last].top1 < share:
            points = 100 * (share - scores[last].top1)
            sure = "" if self._unclear(share, scores[last].top1) is None else ", a difference within the uncertainty"
            said.append(f"The last stage, {last}, is worse than {best} by {points:.1f} points{sure}.")
        return said + self._as_exported()

    def _as_exported(self) -> list[str]:
        """Say in words what `export` gives, and what that was measured at.

        It gives the stage that it takes where none is named.
        """
        said = []
        for pool, what in (
            (1, "What export gives where no --stage is named is the mean over all places of"),
            (2, "With --pool 2 it is 2 x 2 places of"),
        ):
            stage = self.stage_to_export(pool)
            for protocol in self.measured_as_exported(stage, pool)[:1]:
                rivals = self.random.get(protocol, {})
                rival = best_stage(rivals) if rivals else ""
                beside = f" (random weights {percent(rivals[rival].top1)}, {rival})" if rivals else ""
                share = percent(self.trained[protocol][stage].top1)
                said.append(f"{what} {stage}: {self.protocols[protocol].title} {share}{beside}.")
        return said

    def _unclear(self, one: float, other: float) -> float | None:
        """Return the half-width of the 95 % interval of a difference where it hides the difference; else None.

        Both are taken as measured on images of their own. They were measured on the same, so this is cautious.
        """
        width = 1.96 * math.sqrt((one * (1 - one) + other * (1 - other)) / self.test_images)
        return width if abs(one - other) <= width else None

    def _beside_random(self, best: str, share: float) -> str:
        rivals = self.random[self.main]
        rival = best_stage(rivals)
        other = rivals[rival].top1
        points = 100 * (share - other)
        what = f"the best stage of the same trunk with random weights ({rival}, {percent(other)})"
        width = self._unclear(share, other)
        if width is None:
            ending = "." if points > 0 else ": pretraining has made these features worse."
        else:
            ending = f", within the uncertainty of {100 * width:.1f} points: no gain from pretraining is shown."
        if points > 0:
            return f"It is {points:.1f} points ahead of {what}{ending}"
        return f"It is NOT ahead of {what} but {f'{-points:.1f} points behind' if points else 'level'}{ending}"

    def as_json(self) -> dict[str, Any]:
        """Return `{"linear": {stage: {"top1", "map"}}, ..., "random": {...}, "protocols": {}, "best_layer", ...}`.

        Only the protocols that ran are there. All shares are fractions 0 .. 1.
        """
        plain = {
            part: {
                protocol: {stage: dataclasses.asdict(score) for stage, score in stages.items()}
                for protocol, stages in scores.items()
            }
            for part, scores in (("trained", self.trained), ("random", self.random))
        }
        return {
            **plain["trained"],
            "random": plain["random"],
            "protocols": {protocol: dataclasses.asdict(self.protocols[protocol]) for protocol in self.trained},
            "best_layer": self.best_stage,
            "layer_to_export": self.stage_to_export(),
            "top1_interval": {
                protocol: {stage: list(self.interval(protocol, stage)) for stage in stages}
                for protocol, stages in self.trained.items()
            },
            "train_images": self.train_images,
            "test_images": self.test_images,
            "classes": list(self.classes),
            "largest_class": self.largest_class,
            "broken_files": self.broken_files,
            "notes": list(self.notes),
            "summary": self.sentences(),
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Evaluation":
        """Invert `as_json`; of files that do not say it, the protocols are those of `EARLIER`."""
        facts = data.get("protocols")
        protocols = EARLIER if facts is None else {name: ProtocolFacts(**each) for name, each in facts.items()}

        def scores(part: Mapping[str, Any]) -> dict[str, dict[str, Score]]:
            return {
                protocol: {stage: Score(**score) for stage, score in part[protocol].items()}
                for protocol in protocols
                if protocol in part
            }

        return cls(
            trained=scores(data),
            random=scores(data["random"]),
            protocols=protocols,
            details=data["details"],
            classes=tuple(data["classes"]),
            notes=tuple(data["notes"]),
            **{key: data[key] for key in ("train_images", "test_images", "broken_files", "largest_class")},
        )

    def __str__(self) -> str:
        rows = [("protocol", "stage", "top-1", "random", "mAP", "random", "")]
        for protocol, stages in self.trained.items():
            for stage, score in stages.items():
                rival = self.random.get(protocol, {}).get(stage)
                rows.append(
                    (
                        self.protocols[protocol].title,
                        stage,
                        self._with_interval(protocol, stage, random=False),
                        self._with_interval(protocol, stage, random=True) if rival else "-",
                        f"{100 * score.map:.1f}",
                        f"{100 * rival.map:.1f}" if rival else "-",
                        "<- best" if protocol == self.main and stage == self.best_stage else "",
                    )
                )
        widths = [max(len(row[column]) for row in rows) for column in range(7)]
        lines = [
            "  ".join(
                cell.ljust(width) if column in (0, 1, 6) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        size = f"In percent; {self.train_images:,} images to train on, {self.test_images:,} to test; +-: 95 % interval."
        if "random_batch_norm" in self.details:
            size += " Random weights: the better of their own and precise batch norm, stage by stage."
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", size, *self.notes, *self.sentences()])

    def _with_interval(self, protocol: str, stage: str, random: bool) -> str:
        low, high = self.interval(protocol, stage, random)
        share = (self.random if random else self.trained)[protocol][stage].top1
        return f"{100 * share:.1f} +-{50 * (high - low):4.1f}"


def better_of(own: Mapping, precise: Mapping, figure: Callable[[Any], float]) -> tuple[dict, dict]:
    """Return the better figure of each protocol and stage, of random weights measured with two batch norm statistics.

    Chosen on the test data, which is generous to random weights, and so the cautious side.

    Args:
        own, precise: protocol -> stage -> score.
        figure: of a score, the larger the better; its own counts where they are level.

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


def best_stage(scores: Mapping[str, Score]) -> str:
    """Return the stage with the largest top-1, the earlier of two that are level."""
    return max(scores, key=lambda stage: scores[stage].top1)


def percent(share: float) -> str:
    """Format `0.7283` as `72.8 %`."""
    return f"{100 * share:.1f} %"


def evaluation_file(epoch: int | None = None) -> str:
    """Return where in a run's folder the evaluation of the encoder, or of the trunk after an epoch, is written."""
    return "evaluation.json" if epoch is None else f"epochs/{epoch}.json"


def read_evaluation(folder: Path, epoch: int | None = None) -> Evaluation | None:
    """Read what `evaluate` wrote into a run's folder; return None where it did not run."""
    path = folder / evaluation_file(epoch)
    if not path.exists():
        return None
    return Evaluation.from_json(json.loads(path.read_text(encoding="utf-8")))
