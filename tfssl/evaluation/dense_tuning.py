"""What an evaluation finds of places in the picture: the head on frozen features, then all of the network."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.downstream.dense.base import DenseChosen, DenseTarget
from tfssl.downstream.dense.data import DenseParts
from tfssl.downstream.dense.results import ahead_of, interval_of, on_the_same
from tfssl.evaluation import feature_cache
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.protocols.dense import DenseProtocol
from tfssl.evaluation.tuning import Training, Trainings, can_learn
from tfssl.frozen.subjects import Subject
from tfssl.runs import seen
from tfssl.runs.beside import Difference
from tfssl.runs.dense_scores import FROZEN, TUNED, DenseMeasured, DenseScore
from tfssl.runs.evaluation import Evaluation

Planned = Training[DenseProtocol]
Found = dict[str, list[DenseChosen]]
"""`FROZEN` or `TUNED` -> what was chosen, one a draw."""


class DenseTuning(Trainings[DenseProtocol, DenseChosen]):
    """What protocols ask for in which networks learn of places in the picture.

    Raises:
      UserError: data without such answers, or options that only classes give a meaning to.
    """

    def __init__(self, protocols: Sequence[DenseProtocol], settings: EvaluateSettings):
        asked = ", ".join(map(str, protocols))
        if protocols and settings.test is not None:
            raise UserError(
                f"--test {settings.test} is given, but {asked} takes the parts of DATA; lay both into one folder as"
                " train/ and test/"
            )
        if protocols and settings.frames > 1:
            raise UserError(f"--frames {settings.frames} is given, but {asked} takes pictures; leave it out")
        self._parts: dict[DenseProtocol, DenseParts] = {
            each: each.open(settings.data, settings.split_seed, settings.max_broken) for each in protocols
        }
        super().__init__({each: each.draws_of(of, settings.split_seed) for each, of in self._parts.items()}, settings)

    def _made(self, protocol: DenseProtocol, make: Callable[[bool], Planned]) -> list[Planned]:
        head = make(True)
        if not protocol.tune:
            return [head]
        whole = make(False)
        return [dataclasses.replace(head, onward=whole), whole]

    def _data_of(self, protocol: DenseProtocol) -> Any:
        parts = self._parts[protocol]
        sources = [part.source for part in (parts.train, parts.val, parts.test) if part is not None]
        return [parts.fingerprint, parts.val is None, self._settings.split_seed, *map(feature_cache.times_of, sources)]

    def check(self, subjects: Sequence[Subject]) -> None:
        """Refuse subjects that cannot learn. Raise UserError of the first of them."""
        for subject in subjects:
            if not can_learn(subject):
                asked = ", ".join(map(str, self.protocols))
                raise UserError(
                    f"{subject.name} is an export, which cannot be trained, as {asked} asks; give the run, or its"
                    " encoder.keras"
                )

    def measured(self, first: Subject, others: Sequence[Subject]) -> dict[str, DenseMeasured]:
        """Train what was planned, and return what came of it by protocol; {} of a subject that cannot learn.

        Raises:
          UserError: too many broken pictures.
          Stopped: SIGTERM or Ctrl-C came; it is saved, and resumed when called again.
        """
        own, random = self._of(first), self._of(first, random=True)
        rivals = {each.name: self._of(each) for each in others}
        made = {}
        for protocol, found in own.items():
            beside = {name: of[protocol] for name, of in rivals.items() if protocol in of}
            made[str(protocol)] = self._measured(protocol, first, found, random.get(protocol, {}), beside)
        return made

    def _of(self, subject: Subject, random: bool = False) -> dict[DenseProtocol, Found]:
        gathered: dict[DenseProtocol, Found] = {}
        for protocol, planned, found in self._trained(subject, random):
            ways: Found = {}
            for training, chosen in zip(planned, found, strict=True):
                ways.setdefault(FROZEN if training.head_alone else TUNED, []).append(chosen)
            gathered[protocol] = ways
        return gathered

    def _measured(
        self, protocol: DenseProtocol, first: Subject, own: Found, random: Found, beside: Mapping[str, Found]
    ) -> DenseMeasured:
        parts, drawn = self._parts[protocol], self._draws[protocol]
        target = parts.target

        def scores(found: Found) -> dict[str, DenseScore]:
            return {way: score_of(each, target, own[way]) for way, each in found.items()}

        earlier = self._settings.random
        taken_over = earlier.dense.get(str(protocol)) if isinstance(earlier, Evaluation) else None
        return DenseMeasured(
            title=self._title(protocol),
            target=target.name,
            headline=target.headline,
            unit=target.unit,
            lower=target.lower,
            names=target.names,
            subject=first.name,
            data=parts.origin.name,
            train=drawn[0].learned.count,
            held_out=drawn[0].val.count,
            test=own[FROZEN][0].test,
            trained={way: score_of(each, target) for way, each in own.items()},
            random=scores(random) if taken_over is None else taken_over.random,
            beside={name: scores(found) for name, found in beside.items()},
            notes=tuple(self._notes(protocol, first, own)),
            details={
                "data": parts.fingerprint,
                "size": first.size,
                "split_seed": self._settings.split_seed,
                "broken_files": len(parts.broken) + own[FROZEN][0].broken,
            },
        )

    def _title(self, protocol: DenseProtocol) -> str:
        """Name a protocol for people; with its settings where another one has the same target."""
        alike = Counter(each.name for each in self.protocols)[protocol.name]
        return protocol.facts.title if alike > 1 else protocol.title

    def _notes(self, protocol: DenseProtocol, first: Subject, own: Found) -> list[str]:
        parts, (draw, *more) = self._parts[protocol], self._draws[protocol]
        where = "" if parts.val is not None else " of them"
        often = f", in each of {len(more) + 1} draws" if more else ""
        said = [
            f"{parts.note}. Learned from {counted(draw.learned.count, 'picture')}{often}, chosen on"
            f" {draw.val.count:,}{where}: "
            + "; ".join(f"{way}: {', '.join(dict.fromkeys(map(chosen_of, found)))}" for way, found in own.items())
            + "."
        ]
        if broken := len(parts.broken) + own[FROZEN][0].broken:
            said.append(f"{counted(broken, 'picture')} could not be decoded, and took no part.")
        if first.run is not None:
            rows = own[FROZEN][0].rows
            said.append(seen.sentence(seen.count(first.run, parts.test.source, rows), len(rows)))
        return said


def chosen_of(chosen: DenseChosen) -> str:
    """Say which candidate was chosen; of the head alone there is one."""
    return f"{f'{chosen.name}, ' if len(chosen.candidates) > 1 else ''}step {chosen.step:,}"


def score_of(found: Sequence[DenseChosen], target: DenseTarget, subject: Sequence[DenseChosen] = ()) -> DenseScore:
    """Return the figures of what came of each draw.

    Args:
      found: one a draw.
      target: says how figures are made, and whether less is better.
      subject: what came of the subject, of the same draws, where it is another one: it is compared with.
    """
    interval, sign = interval_of(found, target), -1 if target.lower else 1
    ahead = None
    if subject:
        same = [on_the_same(one, other) for one, other in zip(subject, found, strict=True)]
        difference = ahead_of([one for one, _ in same], [other for _, other in same], target)
        ahead = Difference(difference.mean, difference.low, difference.high)
    names = [name for name in found[0].figures if all(name in each.figures for each in found)]
    return DenseScore(
        score=interval.mean,
        low=interval.low,
        high=interval.high,
        held_out=float(np.mean([sign * each.validation for each in found])),
        figures={name: float(np.mean([each.figures[name] for each in found])) for name in names},
        chosen=tuple(map(chosen_of, found)),
        draws=tuple(each.score for each in found) if len(found) > 1 else None,
        ahead=ahead,
    )
