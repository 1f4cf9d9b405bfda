"""What protocols share that train a network as a whole to tell classes, on the data of `evaluate`."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfssl.downstream.classes import Chosen, Classes
from tfssl.downstream.data import Labelled, few
from tfssl.evaluation.data import Data
from tfssl.evaluation.protocols.learner import Draw, Learner
from tfssl.evaluation.scoring import over_draws, score_of
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.evaluation import Score


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned(Learner):
    """A network that is trained as a whole: the head in closed form first, then all of it: see `Learner`.

    Without a validation part it is a fifth of the labels that are used: who has no more has no others to choose by. Of
    all labels it is the part that other protocols hold out; where these are few and others hold out each fifth in turn,
    it is one, as five times the networks would be trained.

    Attributes:
      mixup, label_smoothing, class_weights: as of `finetune`.
    """

    mixup: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False

    def draws_of(self, data: Data) -> list[Draw]:
        """Return what is learned from, once a draw of labels; one draw where all of them are used."""
        train, test = labelled(data.train), labelled(data.test)
        draws: list[Draw] = []
        for draw in range(self.repeats):
            used = few(train, *self.amount, self.seed, draw)
            if data.val is not None:
                draws.append(Draw(Classes(), used, labelled(data.val), None, test))
            else:
                draws.append(Draw(Classes(), *used.divided(data.seed), used, test))
            if used.count == train.count:
                break
        return draws

    def lack(self, data: Data) -> str:
        """Say in words what training lacks for this protocol; '' where nothing."""
        count, _ = self.amount
        largest = int(np.bincount(labelled(data.train).labels).max())
        if count is not None and count > largest:
            return f"the largest class has {largest} training pictures, and {self} draws {count} of each"
        if not all(draw.val.count for draw in self.draws_of(data)):
            return f"no class gives {self} two pictures, one of which could be held out to choose by"
        return ""

    def score(self, found: Sequence[Chosen], draws: Sequence[Draw]) -> Score:
        """Return the figures of what came of each draw; of several the mean, and its interval over them."""
        scores = []
        for each, draw in zip(found, draws, strict=True):
            assert isinstance(draw.learned, Labelled)
            counts = draw.learned.targets.sum(0).astype(int)
            scores.append(score_of(each.shares, each.targets.argmax(1), counts, each.validation))
        return over_draws(scores, float(np.mean([each.validation for each in found])))


def labelled(source: AnySource) -> Labelled:
    """Return pictures with their labels; without those whose class training lacks, which are no help in choosing."""
    labels = np.asarray(source.labels)
    if (labels < 0).any():
        known = np.flatnonzero(labels >= 0)
        source, labels = source.subset(known, source.name), labels[known]
    return Labelled(source, np.eye(len(source.classes), dtype=np.float32)[labels], np.asarray(source.groups))
