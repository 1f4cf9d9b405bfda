"""The probes of one frozen trunk: features of training and test pictures once, then every protocol on every stage."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation import features, metrics
from tfssl.evaluation.protocols.base import Protocol
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.evaluation import Score


class Measured(NamedTuple):
    """What one trunk was measured at."""

    scores: dict[str, dict[str, Score]]  # protocol -> stage -> score
    answers: np.ndarray  # int32 [M], the labels of the test pictures
    test_rows: np.ndarray  # int64 [M], which rows of the test source these are
    train_images: int
    broken: int  # pictures of both parts that could not be decoded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probes:
    """What of `evaluate`'s settings says how a trunk is measured; see there.

    Attributes:
      protocols: with their settings.
    """

    protocols: Sequence[Protocol]
    size: int
    numbers: int
    grid: int | None
    batch_size: int
    max_broken: float
    frames: int

    def measure(self, model: keras.Model, train: AnySource, test: AnySource) -> Measured:
        """Measure a `stage_model` in test mode; not one variable of it changes.

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
        classes = len(train.classes)
        scores: dict[str, dict[str, Score]] = {protocol: {} for protocol in places}
        for stage, side in [(stage, side) for stage, of_stage in sides.items() for side in of_stage]:
            # Popped, because a stage of 50,000 pictures may be a gigabyte.
            rows, rows_test = seen.stages[stage].pop(side), unseen.stages[stage].pop(side)
            probed: dict[Any, Score] = {}  # a grid may be what a pooled probe reads: probed once
            for protocol in self.protocols:
                if places.get(protocol.name, {}).get(stage) != side:
                    continue
                if protocol.way not in probed:
                    shares = protocol.scores(rows, labels, rows_test, classes)
                    probed[protocol.way] = Score(
                        metrics.top1(shares, answers), metrics.mean_average_precision(shares, answers)
                    )
                scores[protocol.name][stage] = probed[protocol.way]
        return Measured(scores, answers, unseen.rows, len(seen.rows), seen.broken + unseen.broken)

    def places_of(self, model: keras.Model) -> dict[str, dict[str, int]]:
        """Return protocol -> stage -> to how many places a side its map is averaged, without stages that have fewer.

        Raises:
            UserError: none is left.
        """
        places = {}
        for protocol in self.protocols:
            pool = protocol.pool
            if pool is None:
                places[protocol.name] = features.grids_of(model, self.numbers, self.grid)
            else:
                sides = {stage: min(out.shape[1:3]) for stage, out in model.output.items()}
                places[protocol.name] = {stage: pool for stage, side in sides.items() if side >= pool}
        places = {name: stages for name, stages in places.items() if stages}
        if not places:
            names = ", ".join(protocol.name for protocol in self.protocols)
            raise UserError(f"no stage has the places that {names} reads; ask for a protocol that reads fewer")
        return places


def check_broken(source: AnySource, undecodable: int, max_broken: float) -> None:
    """Raise UserError where more than the share `max_broken` of a source's pictures, or all, cannot be decoded."""
    if undecodable > max_broken * source.count or undecodable == source.count:
        raise UserError(
            f"{undecodable} of {source.count} pictures in {source.name} cannot be decoded to their end, more than "
            f"--max-broken {max_broken:g} allows; mend or remove them, or allow more"
        )
