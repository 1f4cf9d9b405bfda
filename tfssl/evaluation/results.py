"""What an evaluation found: figures, the sentences that follow from them, JSON."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tfssl.evaluation.metrics import wilson

PROTOCOLS = {"linear": "linear probe", "knn": "k-NN"}


@dataclasses.dataclass(frozen=True)
class Score:
    """Of one stage by one protocol, both fractions 0 .. 1: share of test images right, mean average precision."""

    top1: float
    map: float


Scores = Mapping[str, Mapping[str, Score]]  # protocol -> stage -> Score


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Trained features beside those of the same trunk with random weights, stage by stage, first stage first.

    `random` may be empty. `details` is what else was set or counted; it goes into the JSON as it is.
    """

    trained: Scores
    random: Scores
    train_images: int
    test_images: int
    classes: tuple[str, ...]
    broken_files: int = 0
    largest_class: float = 0.0  # share of the commonest class among the test images: what a constant answer gets
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def main(self) -> str:
        """The protocol that decides: linear probe where it was asked for, else k-NN."""
        return "linear" if "linear" in self.trained else next(iter(self.trained))

    @property
    def best_layer(self) -> str:
        """The stage with the largest top-1 by `main`; the earlier of two that are level."""
        return best_stage(self.trained[self.main])

    def interval(self, protocol: str, stage: str, random: bool = False) -> tuple[float, float]:
        """Wilson's 95 % interval of a top-1 (over the draw of test images; another training seed may differ more)."""
        return wilson((self.random if random else self.trained)[protocol][stage].top1, self.test_images)

    def sentences(self) -> list[str]:
        """What came out, in plain words: best layer, against random weights, last layer against the best."""
        scores, name = self.trained[self.main], PROTOCOLS[self.main]
        best, last = self.best_layer, list(scores)[-1]
        share = scores[best].top1
        low, high = self.interval(self.main, best)
        said = [
            f"The best layer is {best}: {name} on its features names {percent(share)} of the "
            f"{self.test_images:,} test images right (95 % interval {100 * low:.1f} to {percent(high)}); always naming "
            f"the commonest of the {len(self.classes)} classes would get {percent(self.largest_class)}."
        ]
        if self.main in self.random:
            said.append(self._beside_random(best, share))
        if scores[last].top1 < share:
            points = 100 * (share - scores[last].top1)
            sure = "" if self._unclear(share, scores[last].top1) is None else ", a difference within the uncertainty"
            said.append(
                f"The last layer, {last}, is worse than {best} by {points:.1f} points{sure}: "
                f"export with --layer {best} where features are wanted."
            )
        return said

    def _unclear(self, one: float, other: float) -> float | None:
        """The half-width of the 95 % interval of a difference where it hides the difference; else None.

        Both are taken as measured on images of their own. They were measured on the same, so this is cautious.
        """
        width = 1.96 * math.sqrt((one * (1 - one) + other * (1 - other)) / self.test_images)
        return width if abs(one - other) <= width else None

    def _beside_random(self, best: str, share: float) -> str:
        rivals = self.random[self.main]
        rival = best_stage(rivals)
        other = rivals[rival].top1
        points = 100 * (share - other)
        what = f"the best layer of the same trunk with random weights ({rival}, {percent(other)})"
        width = self._unclear(share, other)
        if width is None:
            told = "." if points > 0 else ": pretraining has made these features worse."
        else:
            told = f", within the uncertainty of {100 * width:.1f} points: no gain from pretraining is shown."
        if points > 0:
            return f"It is {points:.1f} points ahead of {what}{told}"
        return f"It is NOT ahead of {what} but {f'{-points:.1f} points behind' if points else 'level'}{told}"

    def as_json(self) -> dict[str, Any]:
        """`{"linear": {stage: {"top1", "map"}}, "knn": ..., "random": {"linear": ..., "knn": ...}, "best_layer", ...}`.

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
            "best_layer": self.best_layer,
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
        """The inverse of `as_json`."""

        def scores(part: Mapping[str, Any]) -> dict[str, dict[str, Score]]:
            return {
                protocol: {stage: Score(**score) for stage, score in part[protocol].items()}
                for protocol in PROTOCOLS
                if protocol in part
            }

        return cls(
            trained=scores(data),
            random=scores(data["random"]),
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
                        PROTOCOLS[protocol],
                        stage,
                        self._with_interval(protocol, stage, random=False),
                        self._with_interval(protocol, stage, random=True) if rival else "-",
                        f"{100 * score.map:.1f}",
                        f"{100 * rival.map:.1f}" if rival else "-",
                        "<- best" if protocol == self.main and stage == self.best_layer else "",
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
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", size, *self.notes, *self.sentences()])

    def _with_interval(self, protocol: str, stage: str, random: bool) -> str:
        low, high = self.interval(protocol, stage, random)
        share = (self.random if random else self.trained)[protocol][stage].top1
        return f"{100 * share:.1f} +-{50 * (high - low):4.1f}"


def best_stage(scores: Mapping[str, Score]) -> str:
    """The stage with the largest top-1, the earlier of two that are level."""
    return max(scores, key=lambda stage: scores[stage].top1)


def percent(share: float) -> str:
    """`0.7283` as `72.8 %`."""
    return f"{100 * share:.1f} %"
