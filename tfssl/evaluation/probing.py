"""`evaluate`: labelled data through a frozen trunk and through the same trunk with random weights, then the probes."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl import batch_norm, runs
from tfssl import seen as seen_in
from tfssl.errors import UserError
from tfssl.evaluation import features, metrics
from tfssl.evaluation.features import Features
from tfssl.evaluation.knn import nearest_neighbours
from tfssl.evaluation.linear import linear_probe
from tfssl.evaluation.results import PROTOCOLS, Evaluation, Score
from tfssl.pipelines import batches, sources
from tfssl.pipelines.sources import AnySource

FILE_NAME = "evaluation.json"
PRECISE_STEPS = 64  # batches for the batch norm statistics of the random trunk, as many as the trained one got


def evaluate(
    run: Any,
    data: Any,
    test: Any = None,
    protocols: str | Sequence[str] = ("linear", "knn"),
    numbers: int = 9216,
    grid: int | None = None,
    seed: int | None = None,
    batch_size: int = 256,
    max_broken: float = 0.01,
    neighbours: int = 20,
    epochs: int = 28,
    rate: float = 0.01,
    random: bool | Evaluation = True,
    epoch: int | None = None,
    report: bool = True,
    frames: int = 1,
    split_seed: int = 0,
) -> Evaluation:
    """Measure the features of every stage of a run, beside the same trunk with random weights.

    The trunk is frozen, its batch norm in test mode; not one variable of it changes. Linear probe: each stage
    averaged to a grid of at most `numbers` numbers (see `features.choose_grid`), see `linear.linear_probe`. k-NN:
    each stage averaged over all places, see `knn.nearest_neighbours`. The random trunk gets its batch norm
    statistics from the training pictures of `data` first. How many of the test pictures the run was pretrained on is
    counted by content and told, see `seen.count`. Writes `evaluation.json` into the run's folder, or
    `epochs/N.json` where an epoch is given.

    Args:
        run: a run (`tfssl.load_run`) or its folder.
        data: a source with labels: `train/` and `test/` (or `val/`), or class folders, divided 80/20 by `split_seed`.
        test: another source to test on, where `data` has no test part.
        protocols: any of "linear", "knn"; also as one string with commas.
        numbers: how many numbers a stage may give the linear probe.
        grid: fixes the grid instead, for example 4 for 4 x 4 places.
        seed: of the order of the linear probe's batches, and of the pictures for batch norm; the run's own where it is
            None.
        batch_size: images that go through the trunk at a time (the linear probe's own batch is 256).
        max_broken: the largest share of pictures that may fail to decode, 0 .. 1.
        neighbours: k of k-NN.
        epochs: of the linear probe.
        rate: the linear probe's learning rate at the start.
        random: whether the random weights are measured too. Or an evaluation of another run that began with the same
            weights, made with the same arguments: its figures of the random weights are taken over.
        epoch: measure the trunk as it was after this epoch, of those that the run kept; at the end where None.
        report: write the run's report.html anew.
        frames: of each clip, spread evenly over it, whose features are averaged; 1 for the one in its middle.
        split_seed: of the division of what has no test part. Not the run's own: all runs are tested on the same.

    Raises:
        UserError: an epoch that was not kept; unknown protocol; data without labels, of one class, or with other
            classes in test than in training; too many broken pictures; features that are not finite.
    """
    began = time.monotonic()
    run = runs.load_run(run)
    wanted = check_protocols(protocols)
    if frames < 1:
        raise UserError(f"--frames {frames} is given, expected at least 1")
    seed = int(run.settings["seed"]) if seed is None else seed
    size = int(run.settings["size"])
    trunk = run.trunk() if epoch is None else run.trunk(epoch)
    train, held_out, note = sources.open_splits(data, test=test, seed=split_seed, max_broken=max_broken)
    check_labels(train, held_out)
    if frames > 1 and not isinstance(train, sources.ClipSource):
        raise UserError(f"--frames {frames} is given, but {train.name} has pictures, no clips; leave it out")

    def measure(model: keras.Model) -> tuple[dict[str, dict[str, Score]], np.ndarray, Features, Features]:
        grids = features.grids_of(model, numbers, grid) if "linear" in wanted else None
        extractor = features.make_extractor(model, grids, pooled="knn" in wanted)
        seen, unseen = (
            features.extract_source(extractor, part, size, batch_size, frames) for part in (train, held_out)
        )
        check_broken(train, seen.broken, max_broken)
        check_broken(held_out, unseen.broken, max_broken)
        labels, answers = np.asarray(train.labels)[seen.rows], np.asarray(held_out.labels)[unseen.rows]
        scores: dict[str, dict[str, Score]] = {protocol: {} for protocol in wanted}
        for protocol in wanted:
            kept, kept_test = (seen.maps, unseen.maps) if protocol == "linear" else (seen.pooled, unseen.pooled)
            for stage in list(kept):
                # Popped, because a stage of 50,000 pictures may be a gigabyte.
                rows, rows_test = kept.pop(stage), kept_test.pop(stage)
                if protocol == "linear":
                    shares = linear_probe(rows, labels, rows_test, len(train.classes), seed, epochs, rate=rate)
                else:
                    shares = nearest_neighbours(rows, labels, rows_test, len(train.classes), neighbours)
                scores[protocol][stage] = Score(
                    metrics.top1(shares, answers), metrics.mean_average_precision(shares, answers)
                )
        return scores, answers, seen, unseen

    model = features.stage_model(trunk, size)
    trained, answers, seen, unseen = measure(model)
    untrained = random.random if isinstance(random, Evaluation) else {}
    if random is True:
        model = features.stage_model(run.random_trunk(), size)
        estimate_batch_norm(model, train, size, int(run.settings["batch_size"]), seed)
        untrained = measure(model)[0]

    broken = seen.broken + unseen.broken + len(train.broken)
    broken += len(held_out.broken) if held_out.broken is not train.broken else 0
    notes = [f"Data: {note}."] if note else []
    if broken:
        notes.append(f"{broken} pictures could not be decoded and were left out.")
    if train.fingerprint == held_out.fingerprint:
        notes.append("The test data is the training data: these figures say nothing about new pictures.")
    known = seen_in.count(run, held_out, unseen.rows)
    notes.append(seen_in.sentence(known, len(answers), held_out.items))
    evaluation = Evaluation(
        trained=trained,
        random=untrained,
        train_images=len(seen.rows),
        test_images=len(answers),
        classes=train.classes,
        broken_files=broken,
        largest_class=float(np.bincount(answers).max() / len(answers)),
        notes=tuple(notes),
        details={
            "data": train.name,
            "test": held_out.name,
            "size": size,
            "seed": seed,
            "split_seed": split_seed,
            "seen_in_pretraining": known,
            "grid": features.grids_of(model, numbers, grid) if "linear" in wanted else {},
            "neighbours": neighbours,
            "epochs": epochs,
            "rate": rate,
            "frames": frames,
            "seconds": round(time.monotonic() - began, 1),
        },
    )
    runs.write_json(run.folder / file_name(epoch), evaluation.as_json())
    if report and epoch is None:
        from tfssl.report import write_report

        write_report(run)
    return evaluation


def estimate_batch_norm(model: keras.Model, source: AnySource, size: int, batch_size: int, seed: int) -> None:
    """Give a `stage_model` the batch norm statistics of pictures of the source, drawn by the seed."""
    batch_size = min(batch_size, source.count)
    drawn = batches.plain(batches.sample(source, PRECISE_STEPS * batch_size, seed), size, batch_size)
    images = drawn.map(lambda batch: tf.boolean_mask(batch["image"], batch["valid"]))
    batch_norm.estimate(model, images, PRECISE_STEPS)


def file_name(epoch: int | None = None) -> str:
    """Where in a run's folder the evaluation of the encoder, or of the trunk after an epoch, is written."""
    return FILE_NAME if epoch is None else f"epochs/{epoch}.json"


def read(folder: Path, epoch: int | None = None) -> Evaluation | None:
    """What `evaluate` wrote into a run's folder; None where it did not run."""
    path = folder / file_name(epoch)
    if not path.exists():
        return None
    return Evaluation.from_json(json.loads(path.read_text(encoding="utf-8")))


def check_protocols(protocols: str | Sequence[str]) -> tuple[str, ...]:
    """The protocols asked for, once each, in the order linear, knn. UserError where one is unknown or none is given."""
    names = [name.strip() for name in protocols.split(",")] if isinstance(protocols, str) else list(protocols)
    known = ", ".join(PROTOCOLS)
    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"unknown protocol {name!r}; protocols are: {known}")
    if not names:
        raise UserError(f"no protocol was given; protocols are: {known}")
    return tuple(name for name in PROTOCOLS if name in names)


def check_labels(train: AnySource, test: AnySource) -> None:
    """UserError where one of the sources has no labels or no pictures, or both do not share two classes or more."""
    for source in (train, test):
        if source.count == 0:
            raise UserError(f"{source.name} has no pictures; evaluation needs some to train on and some to test on")
        if source.labels is None or source.labels.min() < 0:
            raise UserError(
                f"{source.name} has no labels; evaluation needs one sub-folder a class, or a labelled source"
            )
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        shown = ", ".join(odd[:5]) + (", ..." if len(odd) > 5 else "")
        raise UserError(
            f"training and test data differ in their classes ({shown or 'their order'}): "
            f"{len(train.classes)} in {train.name}, {len(test.classes)} in {test.name}; give both the same sub-folders"
        )
    if len(np.unique(np.asarray(train.labels))) < 2:
        raise UserError(f"{train.name} has one class only; a probe needs two or more to tell apart")


def check_broken(source: AnySource, undecodable: int, max_broken: float) -> None:
    """UserError where more than the share `max_broken` of a source's pictures, or all, turned out not to decode."""
    if undecodable > max_broken * source.count or undecodable == source.count:
        raise UserError(
            f"{undecodable} of {source.count} pictures in {source.name} cannot be decoded to their end, more than "
            f"--max-broken {max_broken:g} allows; mend or remove them, or allow more"
        )
