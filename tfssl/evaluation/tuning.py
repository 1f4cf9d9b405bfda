"""The networks that an evaluation trains: what they cost is said beforehand, and each is trained once."""

import abc
import dataclasses
import functools
import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import keras
import numpy as np

from tfssl.base import environment
from tfssl.base.words import counted
from tfssl.downstream.choosing import choose
from tfssl.downstream.classes import Chosen
from tfssl.downstream.network import check_stage
from tfssl.downstream.results import ahead_of
from tfssl.downstream.starts import Start
from tfssl.downstream.target import Choice, Job
from tfssl.evaluation import feature_cache, network_cache
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.data import Data
from tfssl.evaluation.probes import Measured
from tfssl.evaluation.protocols.learner import Draw, Learner
from tfssl.evaluation.protocols.tuned import Tuned
from tfssl.frozen import features, metrics
from tfssl.frozen.subjects import Subject
from tfssl.pipelines.progress import Progress
from tfssl.runs.evaluation import Score, Scores
from tfssl.training.opening import say

FORMAT = 1
AnyLearner = TypeVar("AnyLearner", bound=Learner)
AnyChosen = TypeVar("AnyChosen", bound=Choice)


@dataclasses.dataclass(frozen=True, eq=False)
class Training(Generic[AnyLearner]):
    """One network: what it begins from, what it learns from, and how.

    Attributes:
      key: equal where the same would come of it, whoever asks.
      random: whether it begins from random weights.
      head_alone: whether the frozen trunk stays as it is.
      onward: what begins with its head, and is trained right after it.
    """

    key: str
    protocol: AnyLearner
    start: Start
    random: bool
    draw: Draw
    head_alone: bool = False
    onward: "Training[AnyLearner] | None" = None

    def count(self, with_head: bool = True) -> int:
        """Return how many networks are trained: the candidates, and the chosen one once more; the head likewise."""
        again = self.draw.whole is not None
        whole = 0 if self.head_alone else self.protocol.candidates + again
        return whole + with_head * self.draw.target.head_trainings * (1 + again)


class Trainings(abc.ABC, Generic[AnyLearner, AnyChosen]):
    """What protocols ask for in which networks learn.

    Attributes:
      protocols: those that are planned.
      noun: what they learn from, one of it.
    """

    noun = "picture"

    def __init__(self, draws: Mapping[AnyLearner, list[Draw]], settings: EvaluateSettings):
        self.protocols = tuple(draws)
        self._settings, self._draws = settings, draws
        self._plans: dict[tuple[int, bool], dict[AnyLearner, list[Training[AnyLearner]]]] = {}
        self._found: dict[str, AnyChosen] = {}

    @abc.abstractmethod
    def _data_of(self, protocol: AnyLearner) -> Any:
        """Tell apart what is learned from and measured on, for JSON."""

    def _made(self, protocol: AnyLearner, make: Callable[[bool], Training[AnyLearner]]) -> list[Training[AnyLearner]]:
        """Return the networks that are asked for of a draw; `make` makes one, of the head alone or of all."""
        return [make(False)]

    def plan(self, first: Subject, others: Sequence[Subject], random: bool) -> None:
        """Plan what is trained, and say what it costs.

        Args:
          random: whether random weights stand beside the first subject.

        Raises:
          UserError: a stage that a trunk lacks.
        """
        if not self.protocols:
            return
        for subject in (first, *others):
            self._plans[id(subject), False] = self._planned(subject, False)
        if random and first.has_random:
            self._plans[id(first), True] = self._planned(first, True)
        self._announce()

    def _planned(self, subject: Subject, random: bool) -> dict[AnyLearner, list[Training[AnyLearner]]]:
        """Return the networks of each protocol; of random weights beside a subject, those that tell them apart."""
        if not can_learn(subject):
            return {}
        asked = [each for each in self.protocols if not (random and each.random)]
        networks: dict[bool, str] = {}
        planned = {}
        for protocol in asked:
            trunk = subject.random if subject.trained is None else subject.trained
            if protocol.freeze is not None:
                check_stage(trunk, protocol.freeze, f"{protocol.name}: freeze")
            start = Start.of(subject, check_stage(trunk, protocol.stage, f"{protocol.name}: stage"))
            begins = random or protocol.random or subject.is_random
            if begins not in networks:
                model = features.stage_model(subject.random if begins else trunk, subject.size)
                networks[begins] = feature_cache.network_of(model)
            planned[protocol] = [
                training
                for draw in range(len(self._draws[protocol]))
                for training in self._made(
                    protocol, functools.partial(self._training, protocol, start, begins, networks[begins], draw)
                )
            ]
        return planned

    def _training(
        self, protocol: AnyLearner, start: Start, random: bool, network: str, draw: int, alone: bool
    ) -> Training[AnyLearner]:
        key = self._key(protocol, start, random, network, draw, alone)
        return Training(key, protocol, start, random, self._draws[protocol][draw], alone)

    def _key(self, protocol: AnyLearner, start: Start, random: bool, network: str, draw: int, alone: bool) -> str:
        facts = {
            "format": FORMAT,
            "versions": environment.versions(),
            "network": network,
            "random": random,
            "learning": protocol.learning | {"stage": start.stage},
            "answers": protocol.answers,
            "head_alone": alone,
            "size": start.size,
            "max_broken": self._settings.max_broken,
            "amount": protocol.amount,
            "draw": draw,
            "data": self._data_of(protocol),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _announce(self) -> None:
        """Say what is trained and what it costs, a line a protocol, and together."""
        new: set[str] = set()
        trainings = pictures = 0
        for protocol in self.protocols:
            asked = [each for plan in self._plans.values() for each in plan.get(protocol, ())]
            own = {each.key: each for each in asked if each.key not in new and not self._is_known(each)}
            new |= own.keys()
            shared = {each.onward.key for each in own.values() if each.onward is not None}
            counts = {key: each.count(with_head=key not in shared) for key, each in own.items()}
            count, steps = sum(counts.values()), protocol.steps
            rows = sum(
                counts[key] * steps * min(protocol.batch_size, each.draw.learned.count) for key, each in own.items()
            )
            drawn = self._draws[protocol]
            learned = counted(drawn[0].learned.count, self.noun)
            times = f", drawn {len(drawn)} times" if len(drawn) > 1 else ""
            costs = (
                f"{counted(count, 'training')} of {counted(steps, 'step')} at most"
                if own
                else "all is known or trained above"
            )
            say(f"{protocol}: {learned}{times}, {counted(drawn[0].val.count, 'picture')} to choose on; {costs}")
            trainings, pictures = trainings + count, pictures + rows
        say(f"cost: at most {counted(trainings, 'training')}, {pictures:,} pictures forward and back")

    def _is_known(self, training: Training[AnyLearner]) -> bool:
        return self._settings.cache and network_cache.is_known(training.key)

    def _trained(
        self, subject: Subject, random: bool = False
    ) -> Iterator[tuple[AnyLearner, list[Training[AnyLearner]], list[AnyChosen]]]:
        """Train what was planned of a subject, or of random weights beside it: yield it protocol by protocol.

        Raises:
          UserError: too many broken pictures.
          Stopped: SIGTERM or Ctrl-C came; it is saved, and resumed when called again.
        """
        for protocol, planned in self._plans.get((id(subject), random), {}).items():
            yield protocol, planned, [self._train(each, subject) for each in planned]

    def _train(self, training: Training[AnyLearner], subject: Subject, heads: Path | None = None) -> AnyChosen:
        """Train a network, and what goes on from its head; `heads` is where its own is, if another one learned it."""
        if training.key in self._found:
            return self._found[training.key]
        with network_cache.folder_of(training.key, self._settings.cache) as folder:
            own = folder if heads is None and training.onward is not None else heads
            self._found[training.key] = self._learned(training, subject, folder, own)
            gc.collect()  # the graph of a network lies in reference cycles
            if training.onward is not None:
                self._train(training.onward, subject, own)
        return self._found[training.key]

    def _learned(self, training: Training[AnyLearner], subject: Subject, folder: Path, heads: Path | None) -> AnyChosen:
        protocol, draw = training.protocol, training.draw
        alone = ", head alone" if training.head_alone else ""
        name = f"{protocol}{alone} of {subject.name}{', random weights' if training.random else ''}"
        whole = protocol.steps * training.count(with_head=heads in (None, folder))
        with Progress("steps", name, whole, verbose=not self._is_known(training)) as progress:
            steps = _Steps(progress)
            job = Job(
                folder=folder,
                start=training.start,
                random=training.random,
                only_probe=training.head_alone,
                train=draw.train,
                val=draw.val,
                test=draw.test,
                whole=draw.whole,
                target=draw.target,
                kept=False,
                listeners=(steps,),
                heads=heads,
            )
            chosen: AnyChosen = choose(job, protocol.settings(folder, self._settings.max_broken))
            progress.add(whole - steps.done)  # what the best step of a candidate spares
        return chosen


class Tuning(Trainings[Tuned, Chosen]):
    """What protocols ask for that train networks to tell classes.

    Attributes:
      protocols: those that training has labels enough for.
      lacks: what it lacks for others, in words.
      facts: what was learned and chosen: (name of the subject, from random weights, protocol) -> see `facts_of`.
    """

    noun = "label"

    def __init__(self, protocols: Sequence[Tuned], data: Data, settings: EvaluateSettings):
        lacks = {each: each.lack(data) for each in protocols}
        self.lacks = [lack for lack in lacks.values() if lack]
        super().__init__({each: each.draws_of(data) for each, lack in lacks.items() if not lack}, settings)
        self.facts: dict[tuple[str, bool, str], dict[str, Any]] = {}
        self._data = data

    def _data_of(self, protocol: Tuned) -> str:
        return self._data_key

    @functools.cached_property
    def _data_key(self) -> str:
        digest = hashlib.sha256(str((self._data.seed, self._data.val is None)).encode())
        for part in self._data.parts:
            digest.update((part.fingerprint + feature_cache.times_of(part) + "\n".join(part.classes)).encode())
            digest.update(np.asarray(part.labels, np.int32).tobytes())
        return digest.hexdigest()

    def scores(self, subject: Subject, random: bool = False) -> dict[str, dict[str, Score]]:
        """Train what was planned of a subject, or of random weights beside it: protocol -> stage -> score.

        Raises:
          UserError: too many broken pictures.
          Stopped: SIGTERM or Ctrl-C came; it is saved, and resumed when called again.
        """
        scores = {}
        for protocol, planned, found in self._trained(subject, random):
            scores[str(protocol)] = {planned[0].start.stage: protocol.score(found, self._draws[protocol])}
            self.facts[subject.name, random, str(protocol)] = facts_of(found)
        return scores

    def measured(self, subject: Subject, frozen: Measured | None) -> Measured:
        """Return what a subject was measured at, frozen and trained; `frozen` None where nothing was asked of that."""
        scores = self.scores(subject)
        if frozen is not None:
            return frozen._replace(scores={**frozen.scores, **scores})
        found = next(self._found[each.key] for plan in self._plans[id(subject), False].values() for each in plan)
        data = self._data
        answers = np.asarray(data.test.labels)[found.rows]
        counts = metrics.counts_of(np.asarray(data.train.labels), len(data.train.classes))
        return Measured(scores, answers, found.rows, data.train.count, found.val, found.broken, {}, counts)

    def with_gains(self, first: Subject, scores: Scores) -> Scores:
        """Add to scores of the first subject how far each is ahead of the same from random weights, where it is known.

        Both have learned from the same labels, and are compared on the same test pictures.
        """
        gains: dict[str, dict[str, Score]] = {}
        for protocol, rivals in self._plans.get((id(first), True), {}).items():
            own, other = (
                [self._found[each.key] for each in planned]
                for planned in (self._plans[id(first), False][protocol], rivals)
            )
            ahead = dataclasses.astuple(ahead_of(own, other, several=False))
            stages = scores[str(protocol)]
            gains[str(protocol)] = {stage: dataclasses.replace(each, gain=ahead) for stage, each in stages.items()}
        return {**scores, **gains}

    def as_json(self, first: Subject) -> dict[str, Any]:
        """Return `facts` of the first subject by protocol; those of random weights, and of others by name, apart."""
        content: dict[str, Any] = {}
        for (name, random, protocol), facts in self.facts.items():
            place = content.setdefault("random", {}) if random else content
            place = place if name == first.name else place.setdefault("beside", {}).setdefault(name, {})
            place[protocol] = facts
        return content


class _Steps(keras.callbacks.Callback):
    """Counts steps."""

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress, self.done = progress, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        self._progress.add(1)


def can_learn(subject: Subject) -> bool:
    """Say whether a subject can be trained: an export has one embedding, and no weights that could be."""
    return subject.make_random is not None


def facts_of(found: Sequence[Chosen]) -> dict[str, Any]:
    """Return what was learned from and chosen, one entry a draw of labels.

    Returns:
      "labels" and "chosen_on": pictures; "chosen": in words; "top1": shares of 0 .. 1.
    """
    return {
        "labels": [each.train for each in found],
        "chosen_on": [each.val for each in found],
        "chosen": [f"{each.name}{f', step {each.step:,}' if each.step else ''}" for each in found],
        "top1": [each.top1 for each in found],
    }
