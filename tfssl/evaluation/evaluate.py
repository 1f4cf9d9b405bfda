"""`evaluate`: labelled data through a frozen network and the same one with random weights, probed, and trained on."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.files import write_json
from tfssl.base.keras_state import on_its_own
from tfssl.evaluation import measuring, notes
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.dense_only import dense_only, open_classes, open_dense_tuning
from tfssl.evaluation.labelled import choose_for_several
from tfssl.evaluation.probes import Measured, Probes
from tfssl.evaluation.protocols import choose
from tfssl.evaluation.protocols.base import Measurement, Protocol
from tfssl.evaluation.protocols.dense import DenseProtocol
from tfssl.evaluation.protocols.tuned import Tuned
from tfssl.evaluation.ranking import rank_only
from tfssl.evaluation.tuning import Tuning
from tfssl.frozen import metrics
from tfssl.frozen.subjects import Subject
from tfssl.runs import dense_scores, seen
from tfssl.runs.evaluation import TRAINED, Evaluation, Scores, best_stage, evaluation_file
from tfssl.runs.per_class import PerClass
from tfssl.runs.spread import Spread


@on_its_own()
def evaluate(
    subject: Any,
    data: Any,
    test: Any = None,
    protocols: "str | Sequence[str | Measurement] | None" = None,
    numbers: int = 9216,
    grid: int | None = None,
    seed: int | None = None,
    batch_size: int = 256,
    max_broken: float = 0.01,
    random: bool | Evaluation = True,
    epoch: int | None = None,
    projection: bool = False,
    report: bool = True,
    frames: int = 1,
    cache: bool = True,
    split_seed: int = 0,
    long_tail: float | None = None,
    size: int | None = None,
    beside: Any = (),
    to: str | Path | None = None,
    labels: str | Path | None = None,
) -> Evaluation:
    """Measure the features of every stage of a frozen network, beside the same network with random weights.

    That is a run, or what one would take in its place: an export, a trunk in a .keras file, or a trunk with weights
    that others have trained.

    The trunk is frozen, its batch norm in test mode; not one variable of it changes. It is measured by each protocol of
    `tfssl.evaluation.protocols`. "linear": logistic regression on each stage averaged to a grid of at most `numbers`
    numbers (see `features.choose_grid`). "linear_pooled" and "linear_pooled_2": the same probe of what `export` gives
    of the stage, its mean over all places, and with `--pool 2` its 2 x 2 places; of stages that have them. "knn": the
    mean over all places, see `nearest.nearest_neighbours`. These four are measured where none is named. "svm": linear
    SVMs of each stage on the grid, see `svm.SupportVectors`. "lowshot": the mean over all places with 96 to 1 labels a
    class, means and intervals over draws of them, see `lowshot.LowShot`; counts that no class has are left out. "rank":
    how many directions features fill, see `effective_rank.EffectiveRank`; alone it needs neither labels nor test
    pictures, and writes `ranks.json` (`epochs/N.ranks.json`), because it chooses no stage.

    Where pictures have several labels each, "svm" is measured where none is named, and others that tell one class of
    all are refused. Choices are then made by mean average precision; the share named right is of pictures where the
    class with the largest score is one of theirs.

    Others train a copy of the whole network, as `tfssl.finetune` does: see `tuned.Tuned`. "finetune" from the subject's
    weights, on all labels or on few; "scratch" the same from random weights, which stand beside "finetune" anyway;
    "supervised" from random weights, on all labels, ten times as long; "semisupervised" as "finetune", at a tenth and
    at a hundredth of the labels. What it costs is said before it begins; what two of them ask for is trained once. An
    export is left out. Of these alone an evaluation is `trained.json` (`epochs/N.trained.json`): they choose no stage.

    "keypoints", "segmentation" and "normals" learn something of places in the picture, as `tfssl.finetune` does with
    such a target: the head on the frozen trunk, then all of the network; beside them the same from random weights. See
    `dense.DenseProtocol`. They read the answers that `data` has, each in its own way, and need no classes; `dense` has
    their figures, each in its unit, and so has `dense.json` (`epochs/N.dense.json`) of a run, the newest of each.

    What is chosen is chosen without the test pictures: the penalty of a probe, the stage that is called best, the batch
    norm of random weights. Choices are made on the validation part of `data` where there is one beside a test part;
    else on a fifth of the training pictures, held out within each class, or where that is fewer than 200 on each fifth
    in turn; from these the probe learns too once the choice is made.

    The random trunk is measured twice, with the batch norm that it began with and with that of training pictures of
    `data` (precise batch norm); the better one of each protocol and stage counts. `details` has which it was.

    `beside` are measured alike, by the same protocols on the same pictures with the same division, each with its own
    chosen stages. Differences of the chosen stages have paired 95 % intervals, over the same test pictures. Random
    weights are those of the first subject: those that a run began with, or where it began with weights that existed
    some of its seed, and those stand beside it too; the same network with others of a file or a name; none of an
    export. A trunk's name without weights is random weights itself, at the better of its two.

    An export gives one embedding, averaged already: protocols that read the mean over all places read it as it is, and
    those that read a grid are left out, as a note says. Its encoder.keras is a file with all stages up to its own.

    A note says how many of the test pictures were among those of pretraining, by content: see `seen.count`. Writes
    `evaluation.json` into a run's folder, or `epochs/N.json` where an epoch is given.

    Args:
        subject: a run (`tfssl.load_run`) or its folder; an export, a folder of versions or one of them; a .keras file
            or a Keras model: an encoder of this package, or a trunk float [N, S, S, 3] -> float [N, h, w, C]; a trunk's
            name as 'resnet18' for random weights, or with weights as in "mobilenet_v3_small(weights='imagenet')": see
            `pretrained.make_pretrained`.
        data: a source with labels: splits under their usual names (`train/`, `Training/`, ...), or class folders,
            divided 80/20 by `split_seed`. Train is measured on test, or on val where there is no test. See
            `any_source.open_splits`.
        test: another source to test on, with the same classes or some of them.
        protocols: names with their settings, such as ("linear", "knn(neighbours=5)"), also as one string with commas;
            the four of above where None. "linear(recipe='goyal')" is the published recipe of SGD.
        numbers: how many numbers a stage may give the linear probe.
        grid: fixes the grid instead, for example 4 for 4 x 4 places.
        seed: of random weights that are drawn here, and of the pictures for their batch norm; a run's own where it is
            None, else 0.
        batch_size: images that go through the trunk at a time.
        max_broken: the largest share of pictures that may fail to decode, 0 .. 1.
        random: whether the random weights are measured too, and others that a run began with. Or an evaluation of
            another run that began with the same weights, made with the same arguments: its figures of the random
            weights are taken over.
        epoch: of a run, one of the epochs that it kept: the trunk as it was after it; at the end where None.
        projection: measure what comes behind the projection heads of a run's contrastive tasks, too, as stage
            "projection", or "contrastive_projection" and so on where several tasks have one. It shows what a head
            throws away. As it is left behind at export, it stands apart and is never chosen; random weights have none.
        report: write a run's report.html anew.
        frames: of each clip, spread evenly over it, whose features are averaged; 1 for the one in its middle.
        cache: keep features on disk, under a key of weights, data, size and versions, and read them where they are
            kept; `tfssl.cache` says where they lie and empties it. So with what came of networks that were trained; one
            that was interrupted is resumed.
        split_seed: of the division of what has no test part, and of what is held out. Not the run's own: all runs are
            tested on the same.
        long_tail: how many times fewer training pictures the rarest class keeps than the commonest: see `thinned`.
        size: pixels of a side where the subject does not say it, 96 where it is None. Those beside that do not say
            theirs get that of the subject.
        beside: other subjects, one or several; as text with commas between them.
        to: a JSON file for the evaluation; without it, that of anything but a run is only returned.
        labels: a table that says which picture of the folder `data` has which labels, as of `tfssl.finetune`; folders
            are then no classes.

    Raises:
        Stopped: SIGTERM or Ctrl-C came while a network was trained; it is saved, and resumed when called again.
        UserError: no such subject, or one of another size; weights that cannot be downloaded; an epoch that was not
            kept; unknown protocol; data without labels, of one class, or without a class that training and test share;
            too many broken pictures; features that are not finite.
    """
    settings = EvaluateSettings(**locals())
    began = time.monotonic()
    asked = choose(settings.protocols)
    wanted = tuple(each for each in asked if not isinstance(each, DenseProtocol))
    first, *others = measuring.open_subjects(settings)
    dense = open_dense_tuning(asked, settings)
    if not any(isinstance(each, Protocol | Tuned) for each in wanted):
        if not dense.protocols:
            return rank_only(first, settings, wanted)
        return dense_only(first, others, dense, settings, rank_only(first, settings, wanted) if wanted else None)
    parts, note = open_classes(dense, settings)
    if parts.targets:
        wanted = choose_for_several(settings)
    tuning = Tuning([each for each in wanted if isinstance(each, Tuned)], parts, settings)
    probes = Probes(
        protocols=[each for each in wanted if not isinstance(each, Tuned)],
        size=first.size,
        numbers=numbers,
        grid=grid,
        batch_size=batch_size,
        max_broken=max_broken,
        frames=frames,
        cache=cache,
    )
    measuring.check(first, others, probes, tuning)
    tuning.plan(first, others, settings.random is True)
    dense.plan(first, others, settings.random is True)
    measured, which = measuring.measure(first, probes, parts, tuning)
    measured, behind, behind_ranks = measuring.parted(measured, first.projections)
    untrained: Scores = {}
    ranks: dict[str, Mapping[str, Spread]] = {"trained": measured.ranks}
    ranks |= {"projection": behind_ranks} if behind_ranks else {}
    if isinstance(random, Evaluation):
        untrained, which = random.random, random.details.get("random_batch_norm", {})
        ranks["random"] = random.ranks.get("random", {})
    elif random and first.has_random:
        untrained, ranks["random"], which = measuring.measure_random(first, probes, parts, tuning)
    rivals = tuple(measuring.measure_rival(each, measured, probes, parts, tuning) for each in others)

    broken = measured.broken + sum(len(part.broken) for part in parts.sources())
    known = None if first.run is None else seen.count(first.run, parts.test, measured.test_rows)
    evaluation = Evaluation(
        trained=tuning.with_gains(first, measured.scores),
        random=untrained,
        protocols={str(each): each.facts for each in (*wanted, *dense.protocols)},
        train_images=measured.train_images,
        test_images=len(measured.answers),
        classes=parts.train.classes,
        broken_files=broken,
        largest_class=_share_of_commonest(measured.answers),
        notes=tuple(notes.all_of(first, others, probes, parts, measured, note, broken, known, (tuning, dense))),
        details={
            "subject": first.name,
            "kind": first.kind,
            "data": parts.train.name,
            "test": parts.test.name,
            "size": first.size,
            "seed": first.seed,
            "split_seed": split_seed,
            "held_out_images": measured.held_out,
            "seen_in_pretraining": known,
            "grid": measuring.grids_of(first, probes),
            "frames": frames,
            **({"long_tail": long_tail} if long_tail is not None else {}),
            **({"random_batch_norm": which} if which else {}),
            **({"trained": tuning.as_json(first)} if tuning.facts else {}),
            "seconds": round(time.monotonic() - began, 1),
        },
        ranks=ranks if measured.ranks else {},
        beside=rivals,
        several=bool(parts.targets),
        projection=behind,
        per_class=_per_class(measured, untrained),
        dense=dense.measured(first, others),
    )
    _write(evaluation, first, settings)
    return evaluation


def _share_of_commonest(labels: np.ndarray) -> float:
    """Return the share of test pictures that the commonest class is right for, by labels as `Measured` has them."""
    counts = np.bincount(labels) if labels.ndim == 1 else labels.sum(0)
    return float(counts.max() / len(labels))


def _per_class(measured: Measured, untrained: Scores) -> PerClass | None:
    """Return the classes one by one, at the stages that the first protocol chooses; None where it does not know."""
    protocol, stages = next(iter(measured.scores.items()))
    trained = stages[best_stage(stages)].by_class
    if trained is None:
        return None
    rivals = untrained.get(protocol)
    random = rivals[best_stage(rivals)].by_class if rivals else None
    return PerClass.of(measured.train_counts, metrics.counts_of(measured.answers, len(trained)), trained, random)


def _write(evaluation: Evaluation, subject: Subject, settings: EvaluateSettings) -> None:
    """Write the evaluation into a run's folder, with its report, and to the file that was asked for."""
    if settings.to is not None:
        write_json(settings.to, evaluation.as_json())
    if subject.run is None:
        return
    kind = "" if evaluation.of_features else TRAINED
    write_json(subject.run.folder / evaluation_file(settings.epoch, kind), evaluation.as_json())
    if evaluation.dense:
        dense_scores.write(subject.run.folder, evaluation.dense, settings.epoch)
    if settings.report and settings.epoch is None:
        from tfssl.report.page import write_report

        write_report(subject.run)
