"""`evaluate_sound`: labelled sounds through a frozen sound encoder, stage by stage, over folds."""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.base.statistics import student
from tfssl.evaluation.config import EvaluateSoundSettings
from tfssl.evaluation.data import Division
from tfssl.evaluation.protocols import choose_probes, possible
from tfssl.evaluation.protocols.base import Protocol, Rows
from tfssl.evaluation.random_weights import better_of
from tfssl.models import batch_norm
from tfssl.models.trunks import Trunk
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.sounds import Sounds, read_sounds, windows
from tfssl.runs.run import Run, load_run

FILE_NAME = "sound_evaluation.json"
BASELINE = "log-mel statistics"
BATCH = 64
PRECISE_STEPS = 32
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class FoldScore:
    """Shares of sounds named right, one a fold."""

    folds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(np.mean(self.folds))

    @property
    def half(self) -> float:
        """Half of Student's 95 % interval over folds."""
        return student(len(self.folds) - 1) * float(np.std(self.folds, ddof=1)) / math.sqrt(len(self.folds))

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} +-{100 * self.half:.1f}"


@dataclasses.dataclass(frozen=True)
class SoundEvaluation(Result):
    """Trained features beside random weights and beside statistics of the log-mel spectrogram.

    Attributes:
      trained, random: protocol -> stage -> score; of random weights the better of two.
      titles: protocol -> as people read it.
      baseline: protocol -> score of `BASELINE`.
      sounds, classes, folds: how many.
      largest_class: share of the commonest class.
      broken: sounds that were left out.
      damaged: sounds of which a part is lost: name -> what.
      random_batch_norm: protocol -> stage -> which batch norm of random weights was better, "own" or "precise".
    """

    trained: dict[str, dict[str, FoldScore]]
    random: dict[str, dict[str, FoldScore]]
    titles: dict[str, str]
    baseline: dict[str, FoldScore]
    sounds: int
    classes: int
    folds: int
    largest_class: float
    broken: dict[str, str]
    damaged: dict[str, str]
    random_batch_norm: dict[str, dict[str, str]]

    def __str__(self) -> str:
        lines = [
            f"{self.sounds} sounds of {self.classes} classes, {self.folds} folds; accuracy in %, mean and 95 % interval"
            f" over folds; always naming the commonest class gets {100 * self.largest_class:.1f}",
        ]
        width = max(map(len, self.titles.values()), default=0) + 2
        lines.append(f"{'':{width}}{'stage':20}{'trained':>16}{'random':>16}")
        for protocol, stages in self.trained.items():
            for stage, score in stages.items():
                rival = self.random[protocol][stage]
                lines.append(f"{self.titles[protocol]:{width}}{stage:20}{score!s:>16}{rival!s:>16}")
            lines.append(f"{self.titles[protocol]:{width}}{BASELINE:20}{self.baseline[protocol]!s:>16}")
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        lines += [f"damaged: {name} {problem}" for name, problem in sorted(self.damaged.items())]
        return "\n".join(lines)


@on_its_own()
def evaluate_sound(
    run: "Run | str | Path",
    data: str | Path,
    *,
    folds: str | None = None,
    groups: str | None = None,
    protocols: "str | Sequence[str | Protocol] | None" = ("linear", "knn(neighbours=10)"),
    seed: int = 0,
    verbose: int = 1,
) -> SoundEvaluation:
    """Measure every stage of a run's sound encoder on labelled sounds.

    A sound is cut into windows of the encoder's length, overlapping by half; each stage is averaged over all places and
    windows, whatever places a protocol asks for. What a protocol chooses, as the penalty of the linear probe, is
    chosen within the other folds, as in `evaluate`. Beside it: the same encoder with random weights, each of whose
    figures is the better of two, with the batch norm that it began with and with that of these sounds; and the mean and
    deviation over time of each band of its log-mel front end. Writes `sound_evaluation.json` into the run's folder.

    Args:
      run: a run with a task that listens, or its folder.
      data: a folder of sounds, one sub-folder a class.
      folds: a regular expression whose first group (or all it finds) in a file's name is its fold, as '^(.)' for
        ESC-10 and ESC-50; five folds within classes by the seed where None.
      groups: a regular expression; files in whose names it finds the same text (its first group, or all) are of one
        recording, and in one fold: '^.-([0-9]+)' for the recordings that ESC-10's files are cut from.
      protocols: names with settings, such as "linear, knn(neighbours=5)"; see `tfssl.evaluation.protocols`.
      seed: of folds, and of what is held out of them.
      verbose: 1 a progress bar, 0 nothing.

    Raises:
      UserError: a run without a sound encoder, data without labels, an expression that does not fit.
    """
    settings = EvaluateSoundSettings(**locals())
    wanted = choose_probes(settings.protocols)
    run = load_run(run)
    trunk = run.trunk(kind="sound")
    plan = run.sound or {}
    sounds = read_sounds(data, plan["rate"])
    fold_of, of_one = folds_of(sounds, folds, groups, seed), groups_of(sounds, groups)
    for fold in np.unique(fold_of):
        wanted = possible(wanted, sounds.labels[fold_of != fold])
    cut = [windows(wave, plan["samples"]) for wave in sounds.waves]
    trained = _features(trunk, cut, str(data), verbose)
    untrained = run.random_trunk("sound")
    own = _features(untrained, cut, str(data), verbose)
    model = keras.Model(untrained.pixels.input, untrained.body(untrained.pixels.output))
    rows = np.concatenate(cut)[np.random.default_rng(seed).permutation(sum(map(len, cut)))[: PRECISE_STEPS * BATCH]]
    batch_norm.estimate(model, tf.data.Dataset.from_tensor_slices(rows).batch(BATCH), PRECISE_STEPS)
    precise = _features(untrained, cut, str(data), verbose)

    def scored(features: dict[str, np.ndarray]) -> dict[str, dict[str, FoldScore]]:
        return {
            str(protocol): {
                stage: over_folds(protocol, rows, sounds, fold_of, of_one, seed) for stage, rows in features.items()
            }
            for protocol in wanted
        }

    baseline = scored({BASELINE: trained.pop(BASELINE)})
    for each in (own, precise):
        each.pop(BASELINE)
    random, which = better_of(scored(own), scored(precise), lambda score: score.mean)
    evaluation = SoundEvaluation(
        trained=scored(trained),
        random=random,
        titles={str(protocol): protocol.facts.title for protocol in wanted},
        baseline={protocol: stages[BASELINE] for protocol, stages in baseline.items()},
        sounds=len(sounds.names),
        classes=len(sounds.classes),
        folds=len(np.unique(fold_of)),
        largest_class=float(np.bincount(sounds.labels).max() / len(sounds.labels)),
        broken=sounds.broken,
        damaged=sounds.damaged,
        random_batch_norm=which,
    )
    write_json(run.folder / FILE_NAME, evaluation.as_json())
    return evaluation


def folds_of(sounds: Sounds, expression: str | None, groups: str | None, seed: int) -> np.ndarray:
    """Return, as int [N], which fold each sound is in; see `evaluate_sound`."""
    if expression is not None and groups is not None:
        raise UserError(f"--groups {groups!r} is given, but --folds {expression!r} tells folds already; give one")
    fold_of = _divide(sounds, groups, seed) if expression is None else _read_folds(sounds, expression)
    if any(len(np.unique(sounds.labels[fold_of != fold])) < 2 for fold in np.unique(fold_of)):
        raise UserError(
            f"{len(fold_of)} sounds are too few to learn from: beside each fold there must be two classes or more"
        )
    return fold_of


def _divide(sounds: Sounds, groups: str | None, seed: int) -> np.ndarray:
    """Divide into five folds, or as many of them as there is something for."""
    return dividing.folds(sounds.labels, groups_of(sounds, groups), FOLDS, seed)


def groups_of(sounds: Sounds, groups: str | None) -> np.ndarray:
    """Return, as int [N], which recording each sound is of; see `evaluate_sound`."""
    names = [Path(name).name for name in sounds.names]
    of_one = sounds.names if groups is None else dividing.groups_of_names(names, groups)
    return np.unique(of_one, return_inverse=True)[1]


def _read_folds(sounds: Sounds, expression: str) -> np.ndarray:
    try:
        compiled = re.compile(expression)
    except re.error as problem:
        raise UserError(f"--folds {expression!r} is no regular expression ({problem})") from problem
    matches = [compiled.search(Path(name).name) for name in sounds.names]
    missed = next((name for name, match in zip(sounds.names, matches, strict=True) if match is None), None)
    if missed is not None:
        raise UserError(f"--folds {expression!r} finds nothing in the name {missed}; give one that tells each fold")
    texts = [match.group(compiled.groups and 1) for match in matches if match is not None]
    values, fold_of = np.unique(texts, return_inverse=True)
    if len(values) < 2:
        raise UserError(f"--folds {expression!r} finds one fold only, {values[0]!r}; expected two or more")
    return fold_of


def _features(trunk: Trunk, cut: list[np.ndarray], data: str, verbose: int) -> dict[str, np.ndarray]:
    """Average every stage over places and windows of each sound, and compute `BASELINE`: float32 [N, D] each."""
    outputs = {stage: trunk.body.get_layer(stage).output for stage in trunk.stages}
    stages = keras.Model(trunk.body.inputs[0], outputs)

    @tf.function(input_signature=[tf.TensorSpec([None, trunk.pixels.input_shape[1]], tf.float32)])
    def pooled(waves: tf.Tensor) -> dict[str, tf.Tensor]:
        log_mel = trunk.pixels(waves)
        maps = stages(log_mel, training=False)
        averages = {name: tf.reduce_mean(tf.cast(value, tf.float32), [1, 2]) for name, value in maps.items()}
        mean, variance = tf.nn.moments(log_mel[..., 0], [1])
        return averages | {BASELINE: tf.concat([mean, tf.sqrt(variance + 1e-8)], 1)}

    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*trunk.stages, BASELINE)}
    with Progress("sounds measured", data, len(cut), verbose) as progress:
        for waves in cut:
            for name, value in pooled(tf.constant(waves)).items():
                rows[name].append(value.numpy().mean(0))
            progress.add(1)
    return {name: np.stack(values) for name, values in rows.items()}


def over_folds(
    protocol: Protocol, rows: np.ndarray, sounds: Sounds, fold_of: np.ndarray, of_one: np.ndarray, seed: int
) -> FoldScore:
    """Name each fold by what was learned from the others, on features float32 [N, D] of the sounds.

    Args:
      fold_of, of_one: int [N], of `folds_of` and `groups_of`.
      seed: of what is held out of the other folds.
    """
    shares = []
    for fold in np.unique(fold_of):
        test = fold_of == fold
        others = Rows(rows[~test], sounds.labels[~test])
        division = Division.of(others.labels, of_one[~test], seed)
        tested = Rows(rows[test], sounds.labels[test])
        shares.append(protocol.score(others, division, tested, len(sounds.classes)).top1)
    return FoldScore(tuple(shares))
