"""`evaluate`: labelled data through a frozen trunk and through the same trunk with random weights, then the probes."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.base.keras_state import on_its_own
from tfssl.evaluation import features
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.probes import Probes
from tfssl.evaluation.protocols import choose
from tfssl.models import batch_norm
from tfssl.models.trunks import Trunk
from tfssl.pipelines import batches
from tfssl.pipelines.sources import any_source
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs import seen
from tfssl.runs.evaluation import Evaluation, Scores, better_of, evaluation_file
from tfssl.runs.run import load_run

PRECISE_STEPS = 64  # batches for the batch norm statistics of the random trunk, as many as the trained one got


@on_its_own()
def evaluate(
    run: Any,
    data: Any,
    test: Any = None,
    protocols: str | Sequence[str] | None = None,
    numbers: int = 9216,
    grid: int | None = None,
    seed: int | None = None,
    batch_size: int = 256,
    max_broken: float = 0.01,
    neighbours: int = 20,
    epochs: int = 28,
    learning_rate: float = 0.01,
    random: bool | Evaluation = True,
    epoch: int | None = None,
    report: bool = True,
    frames: int = 1,
    split_seed: int = 0,
) -> Evaluation:
    """Measure the features of every stage of a run, beside the same trunk with random weights.

    The trunk is frozen, its batch norm in test mode; not one variable of it changes. By each protocol of
    `tfssl.evaluation.protocols`; "linear": each stage averaged to a grid of at most `numbers` numbers (see
    `features.choose_grid`), see `linear.linear_probe`. "linear_pooled" and "linear_pooled_2": the same probe of what
    `export` gives of the stage, its mean over all places, and with `--pool 2` its 2 x 2 places; of stages that have
    them. "knn": the mean over all places, see `knn.nearest_neighbours`.

    The random trunk is measured twice, with the batch norm that it began with and with that of training pictures of
    `data` (precise batch norm); the better figure of each protocol and stage counts, chosen on the test pictures, which
    is generous to random weights. `details` has which it was.

    A note says how many of the test pictures were among those of pretraining, by content: see `seen.count`. Writes
    `evaluation.json` into the run's folder, or `epochs/N.json` where an epoch is given.

    Args:
        run: a run (`tfssl.load_run`) or its folder.
        data: a source with labels: splits under their usual names (`train/`, `Training/`, ...), or class folders,
            divided 80/20 by `split_seed`. Train is measured on test, or on val where there is no test; where there are
            both, val is left for choices. See `any_source.open_splits`.
        test: another source to test on, where `data` has no test part.
        protocols: names, such as ("linear", "knn"), also as one string with commas; all there are where None.
        numbers: how many numbers a stage may give the linear probe.
        grid: fixes the grid instead, for example 4 for 4 x 4 places.
        seed: of the order of the linear probe's batches, and of the pictures for batch norm; the run's own where it is
            None.
        batch_size: images that go through the trunk at a time (the linear probe's own batch is 256).
        max_broken: the largest share of pictures that may fail to decode, 0 .. 1.
        neighbours: k of k-NN.
        epochs: of the linear probe.
        learning_rate: the linear probe's learning rate at the start.
        random: whether the random weights are measured too. Or an evaluation of another run that began with the same
            weights, made with the same arguments: its figures of the random weights are taken over.
        epoch: measure the trunk as it was after this epoch, of those that the run kept; at the end where None.
        report: write the run's report.html anew.
        frames: of each clip, spread evenly over it, whose features are averaged; 1 for the one in its middle.
        split_seed: of the division of what has no test part. Not the run's own: all runs are tested on the same.

    Raises:
        UserError: an epoch that was not kept; unknown protocol; data without labels, of one class, or without a class
            that training and test share; too many broken pictures; features that are not finite.
    """
    settings = EvaluateSettings(**locals())
    began = time.monotonic()
    run = load_run(run)
    wanted = choose(settings.protocols)
    seed = run.settings.seed if seed is None else seed
    size = run.settings.size
    trunk = run.trunk() if epoch is None else run.trunk(epoch)
    train, held_out, note = any_source.open_splits(data, test=test, seed=split_seed, max_broken=max_broken)
    check_labels(train, held_out)
    if frames > 1 and not train.moving:
        raise UserError(f"--frames {frames} is given, but {train.name} has pictures, no clips; leave it out")

    probes = Probes(
        protocols=[
            each.of(seed=seed, neighbours=neighbours, epochs=epochs, learning_rate=learning_rate) for each in wanted
        ],
        size=size,
        numbers=numbers,
        grid=grid,
        batch_size=batch_size,
        max_broken=max_broken,
        frames=frames,
    )
    model = features.stage_model(trunk, size)
    grids = features.grids_of(model, numbers, grid) if any(each.pool is None for each in wanted) else {}
    measured = probes.measure(model, train, held_out)
    untrained: Scores = {}
    which: Mapping[str, Any] = {}
    if isinstance(random, Evaluation):
        untrained, which = random.random, random.details.get("random_batch_norm", {})
    elif random:
        count = run.settings.batch_size
        untrained, which = measure_random(probes, run.random_trunk(), train, held_out, count, seed)

    broken = measured.broken + len(train.broken)
    broken += len(held_out.broken) if held_out.broken is not train.broken else 0
    notes = [f"Data: {note}."] if note else []
    if broken:
        notes.append(f"{broken} pictures could not be decoded and were left out.")
    if train.fingerprint == held_out.fingerprint:
        notes.append("The test data is the training data: these figures say nothing about new pictures.")
    known = seen.count(run, held_out, measured.test_rows)
    notes.append(seen.sentence(known, len(measured.answers), held_out.items))
    evaluation = Evaluation(
        trained=measured.scores,
        random=untrained,
        protocols={each.name: each.facts() for each in wanted},
        train_images=measured.train_images,
        test_images=len(measured.answers),
        classes=train.classes,
        broken_files=broken,
        largest_class=float(np.bincount(measured.answers).max() / len(measured.answers)),
        notes=tuple(notes),
        details={
            "data": train.name,
            "test": held_out.name,
            "size": size,
            "seed": seed,
            "split_seed": split_seed,
            "seen_in_pretraining": known,
            "grid": grids,
            "neighbours": neighbours,
            "epochs": epochs,
            "rate": learning_rate,
            "frames": frames,
            **({"random_batch_norm": which} if which else {}),
            "seconds": round(time.monotonic() - began, 1),
        },
    )
    write_json(run.folder / evaluation_file(epoch), evaluation.as_json())
    if report and epoch is None:
        from tfssl.report.page import write_report

        write_report(run)
    return evaluation


def measure_random(
    probes: Probes, trunk: Trunk, train: AnySource, test: AnySource, batch_size: int, seed: int
) -> tuple[Scores, dict[str, dict[str, str]]]:
    """Measure random weights at their better of two: with the batch norm that they began with, and with a precise one.

    A rival must not lose by statistics that suit it less: by precise batch norm alone, deep stages of random weights
    were up to 3.5 points worse than by mean 0 and variance 1, which batch norm begins with (Caltech-101, 64 px).

    Args:
        trunk: with random weights; it ends with the statistics of training pictures.
        batch_size: pictures of a batch that statistics are estimated on.
        seed: of which pictures these are.

    Returns:
        See `results.better_of`.
    """
    model = features.stage_model(trunk, probes.size)
    own = probes.measure(model, train, test).scores
    if not estimate_batch_norm(model, train, probes.size, batch_size, seed):
        return own, {}
    return better_of(own, probes.measure(model, train, test).scores, lambda score: score.top1)


def estimate_batch_norm(model: keras.Model, source: AnySource, size: int, batch_size: int, seed: int) -> bool:
    """Give a `stage_model` the batch norm statistics of pictures of the source, drawn by the seed.

    Returns:
        Whether it has a batch norm.
    """
    batch_size = min(batch_size, source.count)
    stream = batches.plain(batches.sample(source, PRECISE_STEPS * batch_size, seed), size, batch_size)
    images = stream.map(lambda batch: tf.boolean_mask(batch["image"], batch["valid"]))
    return batch_norm.estimate(model, images, PRECISE_STEPS)


def check_labels(train: AnySource, test: AnySource) -> None:
    """Raise UserError where a source has no labels or no pictures, or one class is all to train on."""
    for source in (train, test):
        if source.count == 0:
            raise UserError(f"{source.name} has no pictures; evaluation needs some to train on and some to test on")
        if source.labels is None or source.labels.min() < 0:
            raise UserError(
                f"{source.name} has no labels; evaluation needs one sub-folder a class, or a labelled source"
            )
    if len(np.unique(np.asarray(train.labels))) < 2:
        raise UserError(f"{train.name} has one class only; a probe needs two or more to tell apart")
