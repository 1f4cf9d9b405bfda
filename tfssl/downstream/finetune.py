"""`finetune`: from a trunk and some labels to a network that names or finds, beside the same without pretraining."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.base import environment
from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.base.keras_state import on_its_own
from tfssl.base.words import counted
from tfssl.downstream.choosing import choose
from tfssl.downstream.classes import Classes
from tfssl.downstream.config import FinetuneSettings, Learning
from tfssl.downstream.data import Parts, open_parts
from tfssl.downstream.dense import TARGETS
from tfssl.downstream.dense.data import DenseParts, open_dense
from tfssl.downstream.dense.results import DenseFinetuned
from tfssl.downstream.network import check_stage
from tfssl.downstream.results import MAIN, Finetuned
from tfssl.downstream.starts import Start, open_start
from tfssl.downstream.target import Job, Target
from tfssl.pipelines.sources.any_source import absolute_name
from tfssl.runs import seen
from tfssl.runs.classifiers import FORMAT, RECORD, read_record
from tfssl.runs.run import Run
from tfssl.training.opening import say

Amount = tuple[int | None, float | None]
"""Labels a class, or a share of all; neither where all are used."""


@on_its_own()
def finetune(
    run: str | Path | Run,
    data: Any = None,
    *,
    out: str | Path,
    target: str = "classes",
    labels: str | Path | None = None,
    groups: str | None = None,
    by_time: bool = False,
    intrinsics: str | Sequence[float] = (),
    trunk: str | Path | keras.Model | None = None,
    size: int | None = None,
    stage: str | None = None,
    freeze: str | None = None,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rates: str | Sequence[float] = (0.0003, 0.001, 0.003),
    weight_decays: str | Sequence[float] = (0.01,),
    optimizer: str = "adamw",
    stage_decay: float = 1.0,
    warm_up: float = 0.1,
    batch_norm: str | None = None,
    crop: bool = True,
    flip: bool = True,
    colour: float = 0.0,
    mixup: float = 0.0,
    label_smoothing: float = 0.0,
    class_weights: bool = False,
    ema: float | None = None,
    refit: bool = True,
    beside: str | Sequence[str] = (),
    labels_per_class: str | Sequence[int] = (),
    fraction: str | Sequence[float] = (),
    draws: int = 1,
    seed: int = 0,
    deterministic: bool = False,
    max_broken: float = 0.01,
    log_every: int = 20,
    checkpoint_every: int = 500,
    report: bool = True,
    verbose: int = 1,
) -> Finetuned | DenseFinetuned:
    """Make a classifier from a run and labelled pictures, or resume where an interrupted call was.

    First a linear probe of the frozen features, ridge regression in closed form; then the whole network from there
    (Kumar et al. 2022, arXiv 2202.10054), once for each learning rate and weight decay. The frozen probe is a candidate
    too. The validation part chooses among them and the step to stop at, by the share that is named right (several
    labels: mean average precision); of the test part nothing is chosen. So the choice is never below the frozen probe
    on the validation part. Then the chosen one is learned once more with the validation part, where that was divided
    off, and its probabilities are calibrated by a temperature (Guo et al. 2017, arXiv 1706.04599).

    With another `target` the network says something of places in the picture, by a head that is the same for every
    trunk (`downstream.dense.network`): "keypoints", "segmentation", "normals" or "detection". Then the head is first
    learned by gradients on frozen features, and all else is the same; the validation part chooses by the target's own
    figure.

    Args:
      run: a run or its folder, or a .keras file of a trunk. With `trunk` it is DATA.
      data: class folders, with train/ and val/ or test/ or both beside each other, or anything that `open_source`
        takes and that has labels. What part is missing is divided off training, 20 % within each class.
        For other targets see `read` of each in `tfssl.downstream.dense`; 'toy:images(...)' has answers for all.
      out: folder of the network, see `tfssl.runs.classifiers` and `tfssl.runs.dense`.
      target: what is learned: "classes", "keypoints", "segmentation", "normals", "detection".
      labels: a table with the columns file, within DATA, and label; in place of class folders. Where any picture has
        several, with `;` between them, each class has a probability of its own. For key points joints.json or COCO's;
        for boxes COCO's JSON.
      groups: regular expression on file names within DATA: files with the same match stay in one part.
      by_time: whether the pictures are frames in order, of which the last 20 % are tested on, and the last 20 % of the
        others chosen on: neighbours in time are nearly the same. Not for classes.
      intrinsics: fx, fy, cx, cy of the camera in pixels of the depth, for normals from depth.
      trunk: 'resnet18' for random weights, "mobilenet_v3_small(weights='imagenet')" for those of others, a .keras file
        or a Keras model, without a run.
      size: pixels of a side; the run's where None.
      stage: where the trunk is cut; the last one where None, "best" for what `evaluate` found of the run.
      freeze: a stage; it and those before it stay as they are.
      steps, batch_size: of each candidate; the batch at most the pictures that there are.
      learning_rates, weight_decays: what validation chooses among, each pair a candidate.
      optimizer: "adamw", or "sgd" with Nesterov momentum 0.9 and L2.
      stage_decay: a stage learns at the learning rate of the next one times this.
      warm_up: part of the steps in which the learning rate rises; then it falls as a cosine.
      batch_norm: "test" keeps its statistics, "train" takes those of batches; where None "test" for fewer than 5,000
        pictures. Random weights always learn with "train" where it is None.
      crop, flip: random crops, and mirror images; without for what has a left and a right, or a fixed frame.
      colour: largest change of brightness, contrast and saturation, 0 .. 1.
      mixup: alpha of mixup (Zhang et al. 2018, arXiv 1710.09412), 0 for none.
      label_smoothing: part of a label that all classes share.
      class_weights: whether all classes count the same, however many pictures they have.
      ema: momentum of a moving average of the weights, which then is what is measured and kept.
      refit: whether what was divided off for validation is learned from in the end.
      beside: "scratch" (all the same from random weights), "frozen" (the probe alone), "random" (the probe of random
        weights alone), some of these.
      labels_per_class, fraction: so many labels a class, or such a part, each with `draws` draws; validation comes out
        of these where DATA has no val/. The classifier in `out` is that of the largest, first draw.
      draws: how often labels are drawn.
      seed: divisions, draws, order and crops follow from it.
      deterministic: bit-identical repeats and resumes.
      max_broken: largest part of the pictures that may be unreadable.
      log_every, checkpoint_every: steps between lines of metrics.jsonl and between checkpoints.
      report: write report.html at the end.
      verbose: 1 a progress bar, 2 a line an epoch, 0 nothing.

    Raises:
      UserError: whatever the user can mend.
      Stopped: SIGTERM or Ctrl-C came; it is saved, and resumed when called again.
    """
    settings = FinetuneSettings(**locals())
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    run, data = _subjects(run, data, trunk)
    start = open_start(run, trunk, settings.size, settings.stage, settings.seed)
    if settings.freeze is not None:
        check_stage(start.random, settings.freeze, "--freeze")
    parts, target_learned = _open(data, settings, start)
    jobs = dict(_jobs(settings, start, parts, target_learned))
    _claim(settings, start, parts, target_learned)
    _announce(settings, parts, jobs)
    chosen: dict[tuple[str, Amount, int], Any] = {}
    for key, job in jobs.items():
        if settings.verbose and len(jobs) > 1:
            say(f"{len(chosen) + 1} of {len(jobs)}: {job.folder.name}")
        chosen[key] = choose(job, settings)
    overlap = None if start.run is None else seen.count(start.run, parts.test.source, range(parts.test.count))
    rows = next(iter(chosen.values())).rows
    result: Finetuned | DenseFinetuned
    if isinstance(parts, DenseParts):
        result = DenseFinetuned.of(settings.out, parts, chosen, overlap)
    else:
        result = Finetuned.of(settings.out, parts, chosen, overlap)
    write_json(settings.out / "result.json", result.as_json())
    if settings.report:
        _write_report(result, parts, rows)
    return result


def _write_report(result: Finetuned | DenseFinetuned, parts: Parts | DenseParts, rows: np.ndarray) -> None:
    """Write the page of what was found; `rows` are the test pictures that could be decoded."""
    if isinstance(parts, DenseParts) and isinstance(result, DenseFinetuned):
        from tfssl.downstream.dense.report import write_dense_report

        write_dense_report(result, parts.target, parts.test.subset(rows, parts.test.source.name))
    elif isinstance(result, Finetuned):
        from tfssl.downstream.report import write_report

        write_report(result, parts.test.source.subset(rows, parts.test.source.name))


def _open(data: Any, settings: FinetuneSettings, start: Start) -> tuple[Parts | DenseParts, Target]:
    """Return the parts of DATA, and what is learned of them."""
    if settings.target in TARGETS:
        found = open_dense(TARGETS[settings.target], data, settings)
        found = dataclasses.replace(found, target=found.target.on(start))
        return found, found.target
    parts = open_parts(data, settings.labels, settings.groups, settings.seed, settings.max_broken)
    return parts, Classes(parts.classes, parts.several)


def _subjects(run: Any, data: Any, trunk: Any) -> tuple[Any, Any]:
    """Return RUN, None where a trunk is given, and DATA."""
    if trunk is None and data is None:
        raise UserError(f"DATA is missing: tfssl finetune {run} DATA --out DIR; or give --trunk, and no run")
    if trunk is not None and data is not None:
        raise UserError(f"{run} and --trunk {trunk} are given; give one of them")
    return (run, data) if trunk is None else (None, run)


def _amounts(settings: FinetuneSettings) -> list[Amount]:
    if settings.labels_per_class:
        return [(count, None) for count in sorted(set(settings.labels_per_class))]
    return [(None, share) for share in sorted(set(settings.fraction))] or [(None, None)]


def _jobs(
    settings: FinetuneSettings, start: Start, parts: Parts | DenseParts, target: Target
) -> Iterator[tuple[tuple[str, Amount, int], Job]]:
    """Yield what is learned, by (what it begins from, labels, draw); the classifier that is kept comes first."""
    amounts = _amounts(settings)
    # What a trunk's name alone begins from is random weights.
    kinds = (MAIN, *settings.beside) if start.trained is not None else (MAIN,)
    if settings.beside and start.trained is None:
        raise UserError(
            f"--beside {','.join(settings.beside)} is given, but {start.name} is not pretrained; give a run"
        )
    for amount in reversed(amounts):
        for draw in range(settings.draws):
            used = parts.train.few(*amount, settings.seed, draw)
            train, val = (used, parts.val) if parts.val is not None else used.divided(settings.seed)
            if not val.count or not train.count:
                why = "no class has two pictures" if isinstance(parts, Parts) else f"too few pictures ({used.count})"
                raise UserError(
                    f"{used.source.name}: {why}, one of which could be validation; give more labels, or DATA a folder"
                    " val/"
                )
            for kind in kinds:
                main = (kind, amount, draw) == (MAIN, amounts[-1], 0)
                name = "-".join([kind, *(f"{each:g}" for each in amount if each is not None), str(draw)])
                job = Job(
                    folder=settings.out if main else settings.out / "beside" / name,
                    start=start,
                    random=kind in ("scratch", "random") or start.trained is None,
                    only_probe=kind in ("frozen", "random"),
                    train=train,
                    val=val,
                    test=parts.test,
                    whole=used if parts.val is None else None,
                    target=target,
                    kept=main,
                )
                yield (kind, amount, draw), job


def _claim(settings: FinetuneSettings, start: Start, parts: Parts | DenseParts, target: Target) -> None:
    """Write finetune.json, or compare with that of an interrupted call. Raise UserError where they differ."""
    out = settings.out
    content: dict[str, Any] = {
        "format": FORMAT,
        "settings": settings.model_dump(mode="json", include=set(Learning.model_fields))
        | {
            "start": start.name,
            "groups": settings.groups,
            **({"by_time": settings.by_time} if isinstance(parts, DenseParts) else {}),
            "labels": list(_amounts(settings)[-1]),  # others, more draws and what is beside may be asked later
        },
        "data": {
            "name": absolute_name(parts.origin.name),
            "fingerprint": parts.origin.fingerprint,
            "parts": parts.fingerprint,
        },
        **target.record(),
        "size": start.size,
        "stage": start.stage,
    }
    if (out / RECORD).exists():
        kept = read_record(out)
        given, earlier = ({"target": "classes", **each["settings"], **each["data"], **each} for each in (content, kept))
        what = "a classifier" if earlier["target"] == "classes" else "a network"
        for key in given:
            if key not in ("settings", "data", "name") and given[key] != earlier.get(key):
                other_data = key in ("fingerprint", "parts")
                word = "other pictures or labels" if other_data else f"{key} {earlier.get(key)!r}"
                now = "" if other_data else f", now {given[key]!r} is given"
                raise UserError(f"{out} holds {what} with {word}{now}; choose another --out, or give the same")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is no classifier; choose a new or empty folder for --out")
    write_json(out / RECORD, content | {"versions": environment.versions()})


def _announce(settings: FinetuneSettings, parts: Parts | DenseParts, jobs: dict[Any, Job]) -> None:
    """Say what there is, what is tried and what it costs."""
    if not settings.verbose:
        return
    first = next(iter(jobs.values()))
    left_out = f"; left out: {parts.unlabelled:,} without a label" if parts.unlabelled else ""
    counts = f"{first.train.count:,} to learn from, {first.val.count:,} to choose on, {first.test.count:,} to test on"
    say(f"{counts}, {first.target.what}{left_out} ({parts.note})")
    pairs = len(settings.learning_rates) * len(settings.weight_decays)
    tried = ", ".join(f"{rate:g}" for rate in settings.learning_rates)
    decays = ", ".join(f"{decay:g}" for decay in settings.weight_decays)
    each = f"{counted(settings.steps, 'step')} each"
    say(f"candidates: the {first.target.frozen.name}; learning rates {tried} with weight decays {decays}, {each}")
    trainings = 0
    for job in jobs.values():
        again = job.whole is not None and settings.refit
        trainings += 0 if job.only_probe else pairs + again
        trainings += job.target.head_trainings * (1 + again)
    images = trainings * settings.steps * min(settings.batch_size, first.train.count)
    say(f"cost: at most {counted(trainings, 'training')}, {images:,} pictures forward and back")
