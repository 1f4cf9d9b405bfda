"""The probes of one frozen trunk: features of all pictures once, then every protocol on every stage."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.evaluation import feature_cache
from tfssl.evaluation.data import Data
from tfssl.evaluation.protocols import possible
from tfssl.evaluation.protocols.base import Measurement, Protocol, Rows
from tfssl.evaluation.protocols.effective_rank import EffectiveRank
from tfssl.frozen import features, metrics
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.evaluation import Score
from tfssl.runs.spread import Spread


class Measured(NamedTuple):
    """What one trunk was measured at."""

    scores: dict[str, dict[str, Score]]  # protocol -> stage -> score
    answers: np.ndarray  # int32 [M], or float32 [M, classes] where there may be several: labels of the test pictures
    test_rows: np.ndarray  # int64 [M], which rows of the test source these are
    train_images: int
    held_out: int  # pictures that choices were made on
    broken: int  # pictures of all parts that could not be decoded
    ranks: dict[str, Spread]  # stage -> effective rank of training pictures, where it was asked for
    train_counts: np.ndarray  # int [classes], training pictures of each class


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probes:
    """What of `evaluate`'s settings says how a trunk is measured; see there.

    Attributes:
      protocols: with their settings.
    """

    protocols: Sequence[Measurement]
    size: int
    numbers: int
    grid: int | None
    batch_size: int
    max_broken: float
    frames: int
    cache: bool = False

    def measure(self, model: keras.Model, data: Data) -> Measured:
        """Measure a `stage_model` in test mode; not one variable of it changes.

        Raises:
            UserError: too many broken pictures, features that are not finite, no stage with as many places.
        """
        places = self.places_of(model)
        sides = {stage: sorted({own[stage] for own in places.values() if stage in own}) for stage in model.output}
        parts = data.parts
        made = self._features(model, sides, data, parts)
        for part, each in zip(parts, made, strict=True):
            features.check_broken(part, each.broken, self.max_broken)
        labels, answers, *kept = (data.labels_of(part)[each.rows] for part, each in zip(parts, made, strict=True))
        train, test, *val = made
        # Classes that training lacks are no help in choosing.
        known = (kept[0] >= 0 if kept[0].ndim == 1 else kept[0].any(1)) if kept else np.zeros(0, bool)
        division = None if data.division is None else data.division.among(train.rows)

        wanted = possible(self.protocols, labels)
        scores: dict[str, dict[str, Score]] = {
            name: {} for each in wanted if isinstance(each, Protocol) and (name := str(each)) in places
        }
        ranks: dict[str, Spread] = {}
        for stage, side in [(stage, side) for stage, of_stage in sides.items() for side in of_stage]:
            # Popped, because a stage of 50,000 pictures may be a gigabyte.
            rows, tested = (
                Rows(each.stages[stage].pop(side), known) for each, known in ((train, labels), (test, answers))
            )
            held_out = Rows(val[0].stages[stage].pop(side)[known], kept[0][known]) if val else None
            probed: dict[Any, Score] = {}  # a grid may be what a pooled probe reads: probed once
            for protocol in wanted:
                name = str(protocol)
                if places.get(name, {}).get(stage) != side:
                    continue
                if isinstance(protocol, EffectiveRank):
                    ranks[stage] = protocol.spread(rows.features)
                elif isinstance(protocol, Protocol):
                    if protocol.way not in probed:
                        classes = len(data.train.classes)
                        probed[protocol.way] = protocol.score(rows, division, tested, classes, held_out)
                    scores[name][stage] = probed[protocol.way]
        count = int(known.sum()) if division is None else len(division.held_out)
        counts = metrics.counts_of(labels, len(data.train.classes))
        broken = sum(each.broken for each in made)
        return Measured(scores, answers, test.rows, len(labels), count, broken, ranks, counts)

    def rank(self, model: keras.Model, data: Data) -> dict[str, Spread]:
        """Return the effective rank of each stage on the training pictures, which need no labels.

        Raises:
            UserError: as of `measure`.
        """
        (protocol,) = self.protocols
        assert isinstance(protocol, EffectiveRank)
        (made,) = self._features(model, {stage: [1] for stage in model.output}, data, [data.train])
        features.check_broken(data.train, made.broken, self.max_broken)
        return {stage: protocol.spread(sides[1]) for stage, sides in made.stages.items()}

    def _features(
        self, model: keras.Model, sides: dict[str, list[int]], data: Data, parts: Sequence[AnySource]
    ) -> list[features.Features]:
        """Return the features of parts of the data: read where they are kept, else made in one pass."""
        network = feature_cache.network_of(model) if self.cache else ""
        extractor = None
        made = []
        for part in parts:
            key = feature_cache.key_of(network, sides, part, self.size, self.frames) if self.cache else None
            kept = feature_cache.read(key) if key is not None else None
            if kept is None:
                extractor = extractor or features.make_extractor(model, sides)
                kept = data.reading(part, self.size, self.batch_size, self.frames).features(extractor)
                if key is not None:
                    feature_cache.write(key, kept)
            made.append(kept)
        return made

    def grids_of(self, model: keras.Model) -> dict[str, int]:
        """Return the grid of each stage, {} where no protocol reads it."""
        gridded = any(each.pool is None for each in self.protocols)
        return features.grids_of(model, self.numbers, self.grid) if gridded else {}

    def places_of(self, model: keras.Model) -> dict[str, dict[str, int]]:
        """Return protocol -> stage -> to how many places a side its map is averaged, without stages that have fewer.

        Raises:
            UserError: none is left.
        """
        places = {}
        for protocol in self.protocols:
            pool = protocol.pool
            if pool is None:
                places[str(protocol)] = self.grids_of(model)
            else:
                sides = {stage: min(out.shape[1:3]) for stage, out in model.output.items()}
                places[str(protocol)] = {stage: pool for stage, side in sides.items() if side >= pool}
        places = {name: stages for name, stages in places.items() if stages}
        if not places:
            names = ", ".join(map(str, self.protocols))
            raise UserError(f"no stage has the places that {names} reads; ask for a protocol that reads fewer")
        return places
