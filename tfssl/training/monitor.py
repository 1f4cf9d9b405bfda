"""Looks at a network that is being trained, and leaves it alone: a copy is probed, by batch norm of whole pictures."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfssl.frozen import closed_probe, features, metrics
from tfssl.frozen.nearest import nearest_neighbours
from tfssl.frozen.rank import effective_rank
from tfssl.frozen.ridge import PENALTIES
from tfssl.models.batch_norm import Estimating
from tfssl.models.trunks import Trunk
from tfssl.pipelines import batches
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.training.watched import HELD_OUT, Watched

BEST = 2
"""Stages whose figures are kept."""
ROWS = 256
"""Pictures that go through the network at once at most."""


class Monitor:
    """Measures a trunk by what a run is watched with: the same pictures, the same way, each time.

    Batch norm statistics are those of pictures of the run's own source, as those of encoder.keras are: training leaves
    those of its puzzles, which are no whole pictures.

    Args:
      watched: the pictures.
      trunk: what is trained; only read.
      spare: a trunk of the same shape whose weights may be overwritten; the same one where there is none.
      size: pixels of a side.
      batch_size: pictures that batch norm statistics are of at once.
      max_broken: largest part of the labelled pictures that may be unreadable.
      verbose: 0 to say nothing while pictures are read.

    Raises:
      UserError: too many of the labelled pictures cannot be decoded.
    """

    def __init__(
        self, watched: Watched, trunk: Trunk, spare: Trunk, size: int, batch_size: int, max_broken: float, verbose: int
    ):
        self._watched, self._trunk = watched, trunk
        self._spare: Trunk | None = None if spare.body is trunk.body else spare
        self._size, self._batch_size = size, batch_size
        self._is_ready = False
        self._labelled: tuple[np.ndarray, np.ndarray] | None = None
        if watched.part is not None:
            self._labelled = self._read(watched.part.source, max_broken, verbose)

    def look(self, verbose: int = 0) -> dict[str, Any]:
        """Return the figures of the network as it is now, as `runs.watch` describes them.

        Args:
          verbose: 1 to say how far it is; 0 where a bar is drawn.

        Raises:
          UserError: features are not finite.
        """
        if not self._is_ready:
            self._make_ready()
        assert self._spare is not None
        self._spare.body.set_weights(self._trunk.body.get_weights())
        self._statistics.estimate(_chunks(self._sample, self._batch_size), len(self._sample))
        pictures, rows = (self._sample, None) if self._labelled is None else self._labelled
        made = self._features(pictures, verbose)
        stages = {name: {"rank": round(effective_rank(values), 3)} for name, values in made.items()}
        about: dict[str, Any] = {"data": self._watched.name, "fingerprint": self._watched.fingerprint}
        about |= {"pictures": len(pictures)}
        best: list[str] = []
        if rows is not None:
            assert self._watched.part is not None
            labels, fold = np.asarray(self._watched.part.source.labels)[rows], self._watched.part.fold[rows]
            shares = of_stages(made, labels, fold)
            best = list(shares)
            stages = {name: each | shares.get(name, {}) for name, each in stages.items()}
            about |= {"learned_from": int(np.sum(fold != HELD_OUT)), "held_out": int(np.sum(fold == HELD_OUT))}
        last = list(stages)[-1]
        figures = {name: stages[best[0]][name] for name in ("knn", "probe")} if best else {}
        return {**figures, "rank": stages[last]["rank"], "watch": {**about, "best": best, "stages": stages}}

    def _make_ready(self) -> None:
        """Read the sample and trace what is run at each look: at the first one, which a short run may never come to."""
        if self._spare is None:  # a network of the caller's own: there is one only
            before = random.getstate()  # layers draw seeds that they have no use for, which must not move the run's
            self._spare = self._trunk.copy()
            random.setstate(before)
        # How many pictures of the run's own may be broken is not said of so few; and a bar may be drawn.
        self._sample, _ = self._read(self._watched.sample, max_broken=1.0, verbose=0)
        model = features.stage_model(self._spare, self._size)
        for number, variable in enumerate(model.non_trainable_variables):
            if variable.path.endswith("seed_generator_state"):  # dropout is at work while statistics are estimated
                variable.assign(np.array([number, 0]))
        self._statistics = Estimating(model)
        self._extractor = features.make_extractor(model, {stage: [1] for stage in model.output})
        self._is_ready = True

    def _read(self, source: AnySource, max_broken: float, verbose: int) -> tuple[np.ndarray, np.ndarray]:
        """Read pictures uint8 [N, S, S, 3], and which rows of the source they are, int [N], without broken ones."""
        pictures, rows = [], []
        with Progress("pictures read to watch by", self._watched.name, source.count, verbose) as progress:
            for batch in batches.plain(source, self._size, ROWS):
                valid = batch["valid"].numpy()
                pictures.append(batch["image"].numpy()[valid])
                rows.append(batch["index"].numpy()[valid])
                progress.add(len(valid))
        found = np.concatenate(rows)
        features.check_broken(source, source.count - len(found), max_broken)
        return np.concatenate(pictures), found

    def _features(self, pictures: np.ndarray, verbose: int) -> dict[str, np.ndarray]:
        """Return the mean over all places of each stage, float16 [N, D]."""
        rows = min(ROWS, max(32, self._batch_size))

        def batches_of() -> Iterator[dict[str, Any]]:
            with Progress("pictures measured", self._watched.name, len(pictures), verbose) as progress:
                for chunk in _chunks(pictures, rows):
                    count = len(chunk)
                    yield {"image": chunk, "valid": np.ones(count, bool), "index": np.zeros(count, np.int64)}
                    progress.add(count)

        made = features.extract(self._extractor, batches_of(), len(pictures))
        return {stage: sides[1] for stage, sides in made.stages.items()}


def of_stages(made: Mapping[str, np.ndarray], labels: np.ndarray, fold: np.ndarray) -> dict[str, dict[str, float]]:
    """Measure k-NN and the closed-form probe of the best two stages: stage -> figures, the best first.

    Stage and penalty are those whose probe names most pictures of each fold right when it learns from the other folds;
    of what is level the later stage and the smaller penalty. No held-out picture chooses. With that penalty the probe
    learns from all folds.

    Args:
      made: stage -> features float16 [N, D], first stage first.
      labels: int [N].
      fold: int [N], `HELD_OUT` where a picture is held out.

    Returns:
      "chosen_by" (the share right by which it was chosen), "knn" and "probe" (of held-out pictures), 0 .. 1, rounded to
      4 places.
    """
    learn, asked = np.flatnonzero(fold != HELD_OUT), np.flatnonzero(fold == HELD_OUT)
    chosen: dict[str, tuple[float, float]] = {}
    for stage, values in made.items():
        right = np.zeros(len(PENALTIES), int)
        for part in np.unique(fold[learn]):
            fit, rest = learn[fold[learn] != part], learn[fold[learn] == part]
            tried = closed_probe.answers(values[fit], labels[fit], values[rest], PENALTIES)
            right += [int(np.sum(answer == labels[rest])) for answer in tried]
        place = int(np.argmax(right))
        chosen[stage] = right[place] / len(learn), PENALTIES[place]
    order = list(made)
    best = sorted(chosen, key=lambda stage: (chosen[stage][0], order.index(stage)), reverse=True)[:BEST]
    found = {}
    for stage in best:
        share, penalty = chosen[stage]
        known, unknown = made[stage][learn], made[stage][asked]
        (named,) = closed_probe.answers(known, labels[learn], unknown, [penalty])
        votes = nearest_neighbours(known, labels[learn], unknown, int(labels.max()) + 1)
        found[stage] = {
            "chosen_by": round(share, 4),
            "knn": round(metrics.top1(votes, labels[asked]), 4),
            "probe": round(float(np.mean(named == labels[asked])), 4),
        }
    return found


def _chunks(rows: np.ndarray, size: int) -> Sequence[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
