"""One frozen trunk, measured: its features of training and test pictures once, then every protocol on every stage."""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation import features, metrics
from tfssl.evaluation.protocols.knn import nearest_neighbours
from tfssl.evaluation.protocols.linear import linear_probe
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.evaluation import POOLS, Score


class Measured(NamedTuple):
    """What one trunk was measured at."""

    scores: dict[str, dict[str, Score]]  # protocol -> stage -> score
    answers: np.ndarray  # int32 [M], the labels of the test pictures
    test_rows: np.ndarray  # int64 [M], which rows of the test source these are
    train_images: int
    broken: int  # pictures of both parts that could not be decoded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probes:
    """The settings of `evaluate` that say how a trunk is measured; see there."""

    protocols: tuple[str, ...]
    size: int
    seed: int
    numbers: int
    grid: int | None
    batch_size: int
    max_broken: float
    neighbours: int
    epochs: int
    rate: float
    frames: int

    def measure(self, model: keras.Model, train: AnySource, test: AnySource) -> Measured:
        """Measures a `stage_model` in test mode; not one variable of it changes.

        Raises:
            UserError: too many broken pictures, features that are not finite, no stage with as many places.
        """
        places = self.places_of(model)
        sides = {stage: sorted({own[stage] for own in places.values() if stage in own}) for stage in model.output}
        extractor = features.make_extractor(model, sides)
        seen, unseen = (
            features.extract_source(extractor, part, self.size, self.batch_size, self.frames) for part in (train, test)
        )
        check_broken(train, seen.broken, self.max_broken)
        check_broken(test, unseen.broken, self.max_broken)
        labels, answers = np.asarray(train.labels)[seen.rows], np.asarray(test.labels)[unseen.rows]
        scores: dict[str, dict[str, Score]] = {protocol: {} for protocol in places}
        for stage, side in [(stage, side) for stage, of_stage in sides.items() for side in of_stage]:
            # Popped, because a stage of 50,000 pictures may be a gigabyte.
            rows, rows_test = seen.stages[stage].pop(side), unseen.stages[stage].pop(side)
            probed: dict[bool, Score] = {}  # a grid may be what a pooled probe reads: probed once
            for protocol in [protocol for protocol, own in places.items() if own.get(stage) == side]:
                by_neighbours = protocol == "knn"
                if by_neighbours not in probed:
                    probed[by_neighbours] = self._score(by_neighbours, rows, labels, rows_test, answers, train)
                scores[protocol][stage] = probed[by_neighbours]
        return Measured(scores, answers, unseen.rows, len(seen.rows), seen.broken + unseen.broken)

    def places_of(self, model: keras.Model) -> dict[str, dict[str, int]]:
        """Protocol -> stage -> to how many places a side its map is averaged. Stages with fewer places are left out.

        Raises:
            UserError: none is left.
        """
        found = {}
        for protocol in self.protocols:
            if protocol == "linear":
                found[protocol] = features.grids_of(model, self.numbers, self.grid)
            else:
                pool = POOLS[protocol]
                found[protocol] = {name: pool for name, out in model.output.items() if min(out.shape[1:3]) >= pool}
        found = {protocol: stages for protocol, stages in found.items() if stages}
        if not found:
            raise UserError(f"no stage has the places that {', '.join(self.protocols)} reads; ask for linear or knn")
        return found

    def _score(
        self,
        by_neighbours: bool,
        rows: np.ndarray,
        labels: np.ndarray,
        rows_test: np.ndarray,
        answers: np.ndarray,
        train: AnySource,
    ) -> Score:
        classes = len(train.classes)
        if by_neighbours:
            shares = nearest_neighbours(rows, labels, rows_test, classes, self.neighbours)
        else:
            shares = linear_probe(rows, labels, rows_test, classes, self.seed, self.epochs, rate=self.rate)
        return Score(metrics.top1(shares, answers), metrics.mean_average_precision(shares, answers))


def check_broken(source: AnySource, undecodable: int, max_broken: float) -> None:
    """UserError where more than the share `max_broken` of a source's pictures, or all, turned out not to decode."""
    if undecodable > max_broken * source.count or undecodable == source.count:
        raise UserError(
            f"{undecodable} of {source.count} pictures in {source.name} cannot be decoded to their end, more than "
            f"--max-broken {max_broken:g} allows; mend or remove them, or allow more"
        )
