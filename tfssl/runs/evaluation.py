"""What an evaluation found: figures, the sentences that follow from them, JSON."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfssl.base.errors import UserError
from tfssl.base.result import Result, plain
from tfssl.base.statistics import wilson
from tfssl.base.tables import aligned
from tfssl.base.words import counted
from tfssl.runs import dense_scores, spread
from tfssl.runs.beside import Difference, Rival
from tfssl.runs.dense_scores import DenseMeasured
from tfssl.runs.per_class import PerClass
from tfssl.runs.spread import Ranks, Spread

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Score:
    """Score of one stage by one protocol; all fractions 0 .. 1.

    Attributes:
      top1, map: share of test images named right, and mean average precision over classes. Where images may have
        several labels, one is named right where the class with the largest score is one of its own.
      map_interval: its 95 % interval over test images, where they may have several labels; None else.
      balanced: the share right of each class, averaged over classes; None in evaluations of earlier versions, and where
        images may have several labels.
      held_out: the share right of what was held out for choices, with several labels its mean average precision; None
        where nothing was.
      thirds: the mean of the share right over the classes of most labels, of fewer, of fewest; None where all classes
        have about as many.
      draws: the share right of each draw of the labels, where there were several; None else.
      over_draws: half of Student's 95 % interval of `top1` where it is the mean over draws of the labels; None else.
      gain: of a network that was trained, how far it is ahead of the same from random weights, -1 .. 1, and the paired
        95 % interval: over test pictures, or over draws of the labels. None where these were not trained.
      right: whether each test picture was named right, float [M], for comparisons; a share of 0 .. 1 where it was asked
        several times. None where this is not known, as in what is read from a file, which does not keep it.
      by_class: the share right of each class, float [classes], and where images may have several labels its average
        precision; not a number where no test image has it. Files keep that of one stage alone: see `PerClass`.
    """

    top1: float
    map: float
    balanced: float | None = None
    held_out: float | None = None
    thirds: tuple[float, float, float] | None = None
    over_draws: float | None = None
    draws: tuple[float, ...] | None = None
    gain: tuple[float, float, float] | None = None
    map_interval: tuple[float, float] | None = None
    right: "np.ndarray | None" = dataclasses.field(default=None, compare=False, repr=False)
    by_class: "np.ndarray | None" = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def choice(self) -> float:
        """What stages are chosen by: `held_out`; `top1`, which is too good for the best one, where there is none."""
        return self.top1 if self.held_out is None else self.held_out


UNKEPT = ("right", "by_class")
"""What files do not keep of a score: a number a picture or a class of every stage."""

Scores = Mapping[str, Mapping[str, Score]]  # protocol -> stage -> Score


@dataclasses.dataclass(frozen=True)
class ProtocolFacts:
    """What an evaluation keeps of a protocol, so that who reads its figures needs not know the protocol.

    Attributes:
      title: as people read it.
      probe: the title where the places that it reads are said beside it.
      pool: to how many places a side a stage was averaged, as `export --pool` gives it; None for a grid of its own.
      frozen: whether it reads features of the network as it is; else a copy of it is trained, and has one stage.
    """

    title: str
    probe: str
    pool: int | None
    frozen: bool = True


EARLIER = {
    "linear": ProtocolFacts("linear probe", "linear probe", None),
    "linear_pooled": ProtocolFacts("pooled linear probe", "linear probe", 1),
    "linear_pooled_2": ProtocolFacts("2x2 pooled linear probe", "linear probe", 2),
    "knn": ProtocolFacts("k-NN", "k-NN", 1),
}
"""The protocols of evaluations that were written before they kept these facts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Result):
    """The features of a subject beside those of the same trunk with random weights, stage by stage, first stage first.

    The first protocol of `trained` says which stage is best, unless it trained a copy of the network, as protocols that
    are not `frozen` did; these have one stage each and choose none. `random` may be empty; each of its figures is the
    better of two on held-out pictures, see `evaluate`. `ranks` has the effective ranks of "trained" and "random" stages
    where they were asked for; where nothing else was, `trained` is empty. `beside` has other subjects, measured alike.
    `several` says that images may have several labels each.
    `projection` has what was measured behind projection heads, which no stage is chosen by, as they are left behind.
    `per_class` has the classes of the best stage one by one; None of earlier versions.
    `dense` has what was learned of places in the picture, by protocol; where nothing else was asked for, `trained` is
    empty.
    `details` is what else was set or counted; it goes into the JSON as it is.
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
    ranks: Ranks = dataclasses.field(default_factory=dict)
    beside: tuple[Rival, ...] = ()
    several: bool = False
    projection: Scores = dataclasses.field(default_factory=dict)
    per_class: PerClass | None = None
    dense: Mapping[str, DenseMeasured] = dataclasses.field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What was measured, in words; evaluations of earlier versions, always of a run, do not say which."""
        return self.details.get("subject", "the run")

    @property
    def of_features(self) -> Scores:
        """The scores of frozen features: those by which a stage is chosen."""
        return {protocol: stages for protocol, stages in self.trained.items() if self.protocols[protocol].frozen}

    @property
    def main(self) -> str:
        """The protocol that decides: the first one."""
        return next(iter(self.trained))

    @property
    def best_stage(self) -> str:
        """The stage that held-out pictures choose by `main`; the earlier of two that are level."""
        return best_stage(self.trained[self.main])

    def stage_to_export(self, pool: int = 1) -> str:
        """Return the stage that is best as `export` gives it, averaged to `pool` x `pool` places; else `best_stage`.

        By the linear probe of exactly that where it was measured, else by k-NN, which reads the mean over all places.
        """
        asked = [protocol for protocol in self.of_features if self.protocols[protocol].pool == pool]
        return best_stage(self.trained[asked[0]]) if asked else self.best_stage

    def measured_as_exported(self, stage: str, pool: int = 1) -> tuple[str, ...]:
        """Return the protocols that measured a stage averaged to `pool` x `pool` places; the same probe once.

        The grid of a protocol may happen to be that, or have been fixed to be (`evaluate --grid`).
        """
        facts = {name: self.protocols[name] for name, stages in self.of_features.items() if stage in stages}
        pooled = {protocol: each.probe for protocol, each in facts.items() if each.pool == pool}
        gridded = []
        if self.details.get("grid", {}).get(stage) == pool:
            gridded = [name for name, each in facts.items() if each.pool is None and each.probe not in pooled.values()]
        return *gridded, *pooled

    def interval(self, protocol: str, stage: str, random: bool = False) -> tuple[float, float]:
        """Return the 95 % interval of a top-1.

        It is Wilson's over the draw of test images; of a mean over draws of labels it is Student's over these, on the
        same test images. Another training seed may differ more.
        """
        return self.interval_of((self.random if random else self.trained)[protocol][stage])

    def interval_of(self, score: Score) -> tuple[float, float]:
        """Return the same of a score of this evaluation."""
        if score.over_draws is None:
            return wilson(score.top1, self.test_images)
        return max(0.0, score.top1 - score.over_draws), min(1.0, score.top1 + score.over_draws)

    def sentences(self) -> list[str]:
        """Say the result in plain words: best stage, against random weights, last stage against the best; ranks."""
        said = [*(self._of_labels() if self.of_features else []), *self._of_training()]
        said += [line for rival in self.beside for line in self._to_rival(rival)]
        said += spread.sentences(self.ranks)
        return said + [line for each in self.dense.values() for line in each.sentences()]

    def _of_labels(self) -> list[str]:
        scores, name = self.trained[self.main], self.protocols[self.main].title
        best, last = self.best_stage, list(scores)[-1]
        share = scores[best].top1
        low, high = self.interval(self.main, best)
        over = "" if scores[best].over_draws is None else " over draws of the labels"
        how = "The stage that held-out pictures choose" if self.chosen_apart else "The best stage"
        if best == last and len(scores) == 1:
            how = "The only stage"
        interval = f"95 % interval{over} {100 * low:.1f} to {percent(high)}"
        commonest = f"the commonest of the {len(self.classes)} classes"
        if self.several:
            said = [
                f"{how} is {best}: {name} on its features has a mean average precision of"
                f" {self._precision(scores[best])} over {len(self.classes)} classes; the class that it is surest of is"
                f" a right one for {percent(share)} of the {self.test_images:,} test images ({interval}), and"
                f" {commonest} for {percent(self.largest_class)}."
            ]
        else:
            said = [
                f"{how} is {best}: {name} on its features names {percent(share)} of the {self.test_images:,} test"
                f" images right ({interval}); always naming {commonest} would get {percent(self.largest_class)}."
            ]
        if self.main in self.random:
            said.append(self._beside_random(best, scores[best]))
        if (balanced := scores[best].balanced) is not None and (groups := scores[best].thirds) is not None:
            head, middle, tail = map(percent, groups)
            said.append(
                f"All classes counted alike, {best} names {percent(balanced)} right: {head} in the third of the classes"
                f" with most labels, {middle} in the next, {tail} in the third with fewest."
            )
        if scores[last].top1 < share:
            points = 100 * (share - scores[last].top1)
            sure = "" if self._unclear(scores[best], scores[last]) is None else ", a difference within the uncertainty"
            said.append(f"The last stage, {last}, is worse than {best} by {points:.1f} points{sure}.")
        said += self._of_projection(last)
        if self.details.get("kind", "run") == "run":
            said += self._as_exported()
        return said

    def _of_projection(self, last: str) -> Iterator[str]:
        """Say in words what comes behind projection heads, beside the stage that they read."""
        for stage, score in self.projection.get(self.main, {}).items():
            other = self.trained[self.main][last]
            points = 100 * (other.top1 - score.top1)
            sure = "" if self._unclear(other, score) is None else ", a difference within the uncertainty"
            ahead = f"{abs(points):.1f} points {'fewer' if points > 0 else 'more'} than" if points else "as many as"
            yield (
                f"Behind the projection head, {stage}, {self.protocols[self.main].title} names {percent(score.top1)}"
                f" right, {ahead} on {last}, which it reads{sure}; the head is left behind at export and never chosen."
            )

    def _of_training(self) -> Iterator[str]:
        """Say in words what came of networks that were trained, and of the same from random weights."""
        for protocol in (name for name in self.trained if name not in self.of_features):
            ((stage, score),) = self.trained[protocol].items()
            low, high = self.interval(protocol, stage)
            over = "" if score.over_draws is None else " over draws of the labels"
            title = self.protocols[protocol].title
            said = (
                f"{title[0].upper()}{title[1:]}, up to {stage}, names {percent(score.top1)} of the"
                f" {self.test_images:,} test images right (95 % interval{over} {100 * low:.1f} to {percent(high)})"
            )
            for rival in self.random.get(protocol, {}).values():
                said += f", from random weights {percent(rival.top1)}"
                if score.gain is not None:
                    said += f": pretraining puts it {Difference(*score.gain)}"
            if protocol == self.main:
                commonest = f"the commonest of the {len(self.classes)} classes"
                said += f"; always naming {commonest} would get {percent(self.largest_class)}"
            yield f"{said}."

    def _to_rival(self, rival: Rival) -> list[str]:
        """Say in words how far the subject is ahead of a rival, by the first protocol that was asked of both."""
        for protocol, ahead in list(rival.ahead.items())[:1]:
            own, other = (best_stage(scores[protocol]) for scores in (self.trained, rival.scores))
            shares = self.trained[protocol][own].top1, rival.scores[protocol][other].top1
            return [
                f"By {self.protocols[protocol].title}, {self.subject} names {percent(shares[0])} ({own}), {rival.name}"
                f"{' frozen' if protocol in self.of_features else ''} {percent(shares[1])} ({other}): {ahead}."
            ]
        return []

    def _precision(self, score: Score) -> str:
        low, high = score.map_interval or (score.map, score.map)
        return f"{percent(score.map)} (95 % interval {100 * low:.1f} to {percent(high)})"

    @property
    def chosen_apart(self) -> bool:
        """Whether choices were made on other pictures than those of the test."""
        return all(score.held_out is not None for score in self.trained[self.main].values())

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

    def _unclear(self, one: Score, other: Score) -> float | None:
        """Return the half-width of the 95 % interval of a difference where it hides the difference; else None.

        Both are taken as measured on images (or draws of labels) of their own. They were measured on the same, so this
        is cautious.
        """
        width = math.hypot(*(self._half(score) for score in (one, other)))
        return width if abs(one.top1 - other.top1) <= width else None

    def _half(self, score: Score) -> float:
        if score.over_draws is not None:
            return score.over_draws
        return 1.96 * math.sqrt(score.top1 * (1 - score.top1) / self.test_images)

    def _beside_random(self, best: str, score: Score) -> str:
        rivals = self.random[self.main]
        rival = best_stage(rivals)
        other = rivals[rival].top1
        points = 100 * (score.top1 - other)
        which = "the stage chosen alike" if self.chosen_apart else "the best stage"
        measure = f", mean average precision {self._precision(rivals[rival])}" if self.several else ""
        what = f"{which} of the same trunk with random weights ({rival}, {percent(other)}{measure})"
        width = self._unclear(score, rivals[rival])
        if width is None:
            ending = "." if points > 0 else ": pretraining has made these features worse."
        else:
            ending = f", within the uncertainty of {100 * width:.1f} points: no gain from pretraining is shown."
        if points > 0:
            return f"It is {points:.1f} points ahead of {what}{ending}"
        return f"It is NOT ahead of {what} but {f'{-points:.1f} points behind' if points else 'level'}{ending}"

    def as_json(self) -> dict[str, Any]:
        """Return `{"linear": {stage: {"top1", "map"}}, ..., "random": {...}, "protocols": {}, "best_layer", ...}`.

        Only the protocols that ran are there, and "ranks" where these were measured. All shares are fractions 0 .. 1.
        """
        rivals = (protocol for rival in self.beside for protocol in rival.scores)
        asked = dict.fromkeys([*self.trained, *rivals, *self.dense])
        return {
            **_as_dicts(self.trained),
            "random": _as_dicts(self.random),
            "protocols": {protocol: dataclasses.asdict(self.protocols[protocol]) for protocol in asked},
            **({"best_layer": self.best_stage, "layer_to_export": self.stage_to_export()} if self.of_features else {}),
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
            **({"ranks": _as_dicts(self.ranks)} if self.ranks else {}),
            **({"projection": _as_dicts(self.projection)} if self.projection else {}),
            "beside": [
                {"name": rival.name, "scores": _as_dicts(rival.scores), "ahead": plain(rival.ahead)}
                for rival in self.beside
            ],
            **({"several": True} if self.several else {}),
            **({"per_class": plain(self.per_class)} if self.per_class else {}),
            **({"dense": {name: each.as_json() for name, each in self.dense.items()}} if self.dense else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Evaluation":
        """Invert `as_json`; of files that do not say it, the protocols are those of `EARLIER`."""
        facts = data.get("protocols")
        protocols = EARLIER if facts is None else {name: ProtocolFacts(**each) for name, each in facts.items()}

        def scores(part: Mapping[str, Any]) -> dict[str, dict[str, Score]]:
            return {
                protocol: {stage: _score(score) for stage, score in part[protocol].items()}
                for protocol in protocols
                if protocol in part
            }

        return cls(
            trained=scores(data),
            random=scores(data["random"]),
            projection=scores(data.get("projection", {})),
            protocols=protocols,
            details=data["details"],
            classes=tuple(data["classes"]),
            notes=tuple(data["notes"]),
            several=data.get("several", False),
            per_class=PerClass.from_json(data["per_class"]) if "per_class" in data else None,
            dense=dense_scores.from_json(data.get("dense", {})),
            ranks={
                part: {stage: Spread(**figures) for stage, figures in stages.items()}
                for part, stages in data.get("ranks", {}).items()
            },
            beside=tuple(
                Rival(
                    name=each["name"],
                    scores=scores(each["scores"]),
                    ahead={protocol: Difference(**ahead) for protocol, ahead in each["ahead"].items()},
                )
                for each in data.get("beside", ())
            ),
            **{key: data[key] for key in ("train_images", "test_images", "broken_files", "largest_class")},
        )

    def __str__(self) -> str:
        tables = (self._table() if self.trained else [], spread.table(self.ranks), dense_scores.table(self.dense))
        text = "\n\n".join("\n".join(table) for table in tables if table)
        of_dense = [f"{each.title}: {note}" for each in self.dense.values() for note in each.notes]
        return "\n".join([text, *self.notes, *of_dense, *self.sentences()])

    def _table(self) -> list[str]:
        rows = self._rows()
        named = ("subject", "protocol", "stage", "")  # columns of words, the others are of numbers
        texts = [column for column, head in enumerate(rows[0]) if head in named]
        train = counted(self.train_images, "image")
        size = f"In percent; {train} to train on, {self.test_images:,} to test; +-: 95 % interval"
        if any(score.over_draws is not None for stages in self.trained.values() for score in stages.values()):
            size += ", of few labels over draws of them"
        size += "."
        if "random_batch_norm" in self.details:
            size += " Random weights: the better of their own and precise batch norm, stage by stage."
        if len(self.of_features) < len(self.trained):
            size += " Beside what is trained, random weights are trained alike."
        if self.chosen_apart:
            size += " Choices are made by held out alone."
        if self.several:
            size += " Images may have several labels: top-1 is whether one of them is named, held out is mAP."
        return [*aligned(rows, texts), "", size]

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the table, its head first; with a column for whose they are where others are beside."""
        head = ("protocol", "stage", "top-1", "random", "balanced", "random", "mAP", "random", "held out", "")
        rows: list[tuple[str, ...]] = [head]
        for protocol, stages in self.trained.items():
            for stage, score in stages.items():
                is_chosen = protocol in self.of_features and stage == best_stage(stages)
                chosen = "<- chosen" if is_chosen else ""
                rows.append(self._row(protocol, stage, score, self.random.get(protocol, {}).get(stage), chosen))
            for stage, score in self.projection.get(protocol, {}).items():
                rows.append(self._row(protocol, stage, score, None, ""))
        if not self.beside:
            return rows
        rows = [("subject", *rows[0]), *((self.subject, *row) for row in rows[1:])]
        for rival in self.beside:
            for protocol, stages in rival.scores.items():
                for stage, score in stages.items():
                    is_chosen = stage == best_stage(stages)
                    words = ["<- chosen"] if is_chosen and self.protocols[protocol].frozen else []
                    if is_chosen and protocol in rival.ahead:
                        words.append(f"{self.subject} {rival.ahead[protocol]}")
                    rows.append((rival.name, *self._row(protocol, stage, score, None, "; ".join(words))))
        return rows

    def _row(self, protocol: str, stage: str, score: Score, rival: Score | None, chosen: str) -> tuple[str, ...]:
        return (
            self.protocols[protocol].title,
            stage,
            self._with_interval(score),
            "-" if rival is None else self._with_interval(rival),
            _cell(score.balanced),
            _cell(rival.balanced if rival else None),
            _cell(score.map),
            _cell(rival.map if rival else None),
            _cell(score.held_out),
            chosen,
        )

    def _with_interval(self, score: Score) -> str:
        low, high = self.interval_of(score)
        return f"{100 * score.top1:.1f} +-{50 * (high - low):4.1f}"


def best_stage(scores: Mapping[str, Score]) -> str:
    """Return the stage that is best by `Score.choice`, the earlier of two that are level."""
    return max(scores, key=lambda stage: scores[stage].choice)


def _score(content: Mapping[str, Any]) -> Score:
    names = ("thirds", "gain", "map_interval", "draws")
    several = {name: tuple(content[name]) for name in names if content.get(name) is not None}
    return Score(**{**content, **several})


def _as_dicts(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return figures of stages as JSON has them; what is not known, and `UNKEPT`, is left out."""
    return {
        name: {
            stage: {key: plain(value) for key, value in vars(each).items() if value is not None and key not in UNKEPT}
            for stage, each in stages.items()
        }
        for name, stages in figures.items()
    }


def _cell(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def percent(share: float) -> str:
    """Format `0.7283` as `72.8 %`."""
    return f"{100 * share:.1f} %"


RANKS, TRAINED = "ranks", "trained"
"""Evaluations by which no stage is chosen: they have effective ranks alone, or of networks that were trained."""


def evaluation_file(epoch: int | None = None, kind: str = "") -> str:
    """Return where in a run's folder the evaluation of the encoder, or of the trunk after an epoch, is written.

    Args:
      kind: `RANKS` or `TRAINED` where no stage is chosen by it: it must not take the place of one by which stages are.
    """
    if kind:
        return f"{kind}.json" if epoch is None else f"epochs/{epoch}.{kind}.json"
    return "evaluation.json" if epoch is None else f"epochs/{epoch}.json"


def read_evaluation(folder: Path, epoch: int | None = None, kind: str = "") -> Evaluation | None:
    """Read what `evaluate` wrote into a run's folder; return None where it did not run. `kind` as above.

    Raises:
      UserError: the file is damaged, or of a newer version.
    """
    path = folder / evaluation_file(epoch, kind)
    if not path.exists():
        return None
    try:
        return Evaluation.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); remove it, and call tfssl evaluate again") from problem
