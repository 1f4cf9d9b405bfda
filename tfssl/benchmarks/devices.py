"""`bench devices`: what the TFLite files of an export cost, and what they have left of its accuracy."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.benchmarks.config import BenchDevicesSettings
from tfssl.evaluation import sound
from tfssl.evaluation.data import Division
from tfssl.evaluation.labelled import check_labels
from tfssl.evaluation.protocols.base import Rows
from tfssl.evaluation.protocols.knn import NearestNeighbours
from tfssl.evaluation.protocols.linear_pooled import LinearPooled
from tfssl.export.checking.golden import read_golden
from tfssl.export.checking.replay import cosines
from tfssl.export.formats.tflite import FOLDER, TFLiteEncoder, tflite_files
from tfssl.export.signatures.classifier import PIXELS, tensors_of
from tfssl.export.versions import newest_version
from tfssl.frozen import metrics
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, open_splits
from tfssl.pipelines.sources.sounds import is_folder_of_sounds, read_sounds, windows

BATCH = 64
WARM_UP = 5
THREADS = (1, 2)
SERVED = "SavedModel"
NEIGHBOURS = 10
"""How many vote on a sound, as in `evaluate_sound`."""


@dataclasses.dataclass(frozen=True)
class DeviceFile:
    """One file, or the SavedModel that it is compared with.

    Attributes:
      name: of the file.
      bytes: its size; 0 of the SavedModel.
      milliseconds: for one row, median, by count of threads; of the SavedModel none.
      cosine: mean cosine of its embeddings to those of the SavedModel.
      knn, linear: share of what is tested named right by nearest neighbours and by a linear probe, on its own
        embeddings (what `evaluate` calls pooled); None where the labelled data is of the other kind.
      named: of a classifier, share of what is tested that it names right; None of what has no classes of these names.
    """

    name: str
    bytes: int
    milliseconds: dict[int, float]
    cosine: float
    knn: float | None
    linear: float | None
    named: float | None = None


@dataclasses.dataclass(frozen=True)
class DeviceTable(Result):
    """What `bench_devices` measured.

    Attributes:
      export, data: folder of the version and name of the labelled data.
      train, test: pictures that the probes learned from and were tested on; of sounds, all are both, by folds.
      folds: of sounds; 0 of pictures.
      files: the SavedModel first.
    """

    export: Path
    data: str
    train: int
    test: int
    folds: int
    files: tuple[DeviceFile, ...]

    def __str__(self) -> str:
        whole = {file.name.split("_")[0]: file.bytes for file in self.files if file.name.endswith("_float32.tflite")}
        probed = f"{self.train:,} + {self.test:,} pictures"
        if self.folds:
            probed = f"{self.train:,} sounds over {self.folds} folds"
        lines = [
            f"{self.export} on {self.data}: probes on {probed}; one row at a time",
            f"{'file':32}{'KiB':>8}{'of float32':>11}{'ms, 1 thread':>13}{'2 threads':>10}{'cosine':>9}{'k-NN':>7}"
            f"{'linear':>8}{'named':>7}",
        ]
        for file in self.files:
            base = whole.get(file.name.split("_")[0])
            part = f"{file.bytes / base:.2f}" if base and file.bytes else ""
            size = f"{file.bytes / 1024:,.0f}" if file.bytes else ""
            taken = [f"{file.milliseconds[n]:.2f}" if file.milliseconds else "" for n in THREADS]
            times = f"{taken[0]:>13}{taken[1]:>10}"
            shares = "".join(
                f"{'' if value is None else f'{100 * value:.1f}':>{w}}"
                for value, w in ((file.knn, 7), (file.linear, 8), (file.named, 7))
            )
            lines.append(f"{file.name:32}{size:>8}{part:>11}{times}{file.cosine:>9.4f}{shares}".rstrip())
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """What embeddings are judged by.

    Attributes:
      kind: the signature that embeds `rows`.
      name, train, test, folds: as in `DeviceTable`.
      rows: pictures uint8 [N, S, S, 3], or windows of sound float32 [N, samples].
      judge: embeddings float32 [N, D] -> shares named right, by nearest neighbours and by a linear probe.
      asked: names of the classes of the last rows, those that are tested; () of sounds.
    """

    kind: str
    name: str
    train: int
    test: int
    folds: int
    rows: np.ndarray
    judge: Callable[[np.ndarray], tuple[float, float]]
    asked: tuple[str, ...] = ()


@on_its_own()
def bench_devices(
    folder: str | Path,
    data: Any,
    limit: int = 2000,
    passes: int = 30,
    folds: str | None = None,
    groups: str | None = None,
) -> DeviceTable:
    """Measure the TFLite files of the newest version of an export, on this machine.

    Files take turns, so that what else the machine does meets all of them. Files of pictures are probed on pictures
    (20 nearest neighbours, linear probe), files of sound on sounds, as `evaluate_sound` does.

    Args:
      folder: an export made with `tflite`.
      data: labelled pictures, as `evaluate` takes them, or a folder of sounds, one sub-folder a class.
      limit: most pictures of either half, a sample drawn with seed 0; most sounds.
      passes: how often latency is measured; the median counts.
      folds, groups: of sounds, as `evaluate_sound` takes them.

    Raises:
      UserError: no export, or one without TFLite files, or without one of sound where sounds are given; data without
        labels; LiteRT is missing.
    """
    BenchDevicesSettings(**locals())
    version = newest_version(folder)
    files = tflite_files(version)
    if not files:
        raise UserError(f"{version} has no TFLite files; export with --tflite float32,float16,int8")
    golden = read_golden(version / "assets.extra" / "golden.npz")
    if is_folder_of_sounds(data):
        labelled = _sounds(data, next(iter(files.values()))["sound"], limit, folds, groups)
    elif folds is not None or groups is not None:
        given = f"--folds {folds!r}" if folds is not None else f"--groups {groups!r}"
        raise UserError(f"{given} is given, but {data} is no folder of sounds; leave it out")
    else:
        labelled = _pictures(data, golden.inputs["pixels"].shape[1], limit)
    encoders = {name: {n: TFLiteEncoder(version / FOLDER / name, n) for n in THREADS} for name in files}
    latency = _latencies(encoders, files, {kind: rows[:1] for kind, rows in golden.inputs.items()}, passes)
    loaded = tf.saved_model.load(str(version))

    def served(rows: np.ndarray) -> np.ndarray:
        return loaded.signatures[labelled.kind](**{labelled.kind: tf.constant(rows)})["embedding"].numpy()

    reference = _embed(served, labelled.rows)
    measured = [DeviceFile(SERVED, 0, {}, 1.0, *labelled.judge(reference))]
    for name, facts in files.items():
        encoder, kind = encoders[name][THREADS[-1]], facts["signature"]
        if kind == labelled.kind:
            own = _embed(encoder, labelled.rows)
            cosine, shares = float(cosines(own, reference).mean()), labelled.judge(own)
            measured.append(DeviceFile(name, facts["bytes"], latency[name], cosine, *shares))
        else:
            input_name, output_name = tensors_of(kind)
            cosine = float(cosines(encoder(golden.inputs[input_name]), golden.answers[kind][output_name]).mean())
            named = _named(encoder, facts.get("classes", ()), labelled) if kind == PIXELS else None
            measured.append(DeviceFile(name, facts["bytes"], latency[name], cosine, None, None, named))
    return DeviceTable(version, labelled.name, labelled.train, labelled.test, labelled.folds, tuple(measured))


def _named(encoder: Any, classes: Sequence[str], labelled: _Labelled) -> float | None:
    """Return the share of what is tested that a classifier names right; None where no class has a name of its own."""
    if not set(classes) & set(labelled.asked):
        return None
    shares = _embed(encoder, labelled.rows[-len(labelled.asked) :])
    return float(np.mean([classes[best] == name for best, name in zip(shares.argmax(1), labelled.asked, strict=True)]))


def _pictures(data: Any, size: int, limit: int) -> _Labelled:
    train, test, _ = open_splits(data)
    check_labels(train, test)
    train, test = (batches.sample(half, limit, 0) if half.count > limit else half for half in (train, test))
    (images, labels, numbers), (test_images, answers, _) = (_read(half, size) for half in (train, test))

    def judge(embeddings: np.ndarray) -> tuple[float, float]:
        known, asked = Rows(embeddings[: len(labels)], labels), embeddings[len(labels) :]
        division = Division.of(labels, np.asarray(train.groups)[numbers], 0)
        knn, linear = (
            metrics.top1(probe.answers(known, division, asked, len(train.classes)).test, answers)
            for probe in (NearestNeighbours(), LinearPooled())
        )
        return knn, linear

    rows, asked = np.concatenate([images, test_images]), tuple(train.classes[answer] for answer in answers)
    return _Labelled("pixels", train.name, len(labels), len(answers), 0, rows, judge, asked)


def _sounds(data: Any, plan: dict[str, Any] | None, limit: int, folds: str | None, groups: str | None) -> _Labelled:
    if plan is None:
        raise UserError(f"{data} is a folder of sounds, and the export has no encoder of sound; give labelled pictures")
    sounds = read_sounds(data, plan["rate"])
    chosen = sorted(np.random.default_rng(0).permutation(len(sounds.names))[:limit])
    sounds = dataclasses.replace(
        sounds,
        names=[sounds.names[number] for number in chosen],
        waves=[sounds.waves[number] for number in chosen],
        labels=sounds.labels[chosen],
    )
    fold_of, of_one = sound.folds_of(sounds, folds, groups, 0), sound.groups_of(sounds, groups)
    cut = [windows(wave, plan["samples"]) for wave in sounds.waves]
    starts = np.cumsum([0, *map(len, cut)])[:-1]

    def judge(embeddings: np.ndarray) -> tuple[float, float]:
        means = np.add.reduceat(embeddings, starts) / np.array([[len(each)] for each in cut])
        probes = NearestNeighbours(neighbours=NEIGHBOURS), LinearPooled()
        knn, linear = (sound.over_folds(probe, means, sounds, fold_of, of_one, 0).mean for probe in probes)
        return knn, linear

    count = len(sounds.names)
    return _Labelled("waveform", str(data), count, count, len(np.unique(fold_of)), np.concatenate(cut), judge)


def _read(source: AnySource, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pictures uint8 [N, S, S, 3] that can be decoded, their labels int32 [N], their numbers int64 [N]."""
    parts = [
        (b["image"][b["valid"]].numpy(), b["index"][b["valid"]].numpy()) for b in batches.plain(source, size, BATCH)
    ]
    images, index = (np.concatenate(each) for each in zip(*parts, strict=True))
    return images, source.labels[index], index  # type: ignore[index]


def _embed(encoder: Any, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([encoder(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])


def _latencies(
    encoders: dict[str, dict[int, TFLiteEncoder]],
    files: dict[str, dict[str, Any]],
    rows: dict[str, np.ndarray],
    passes: int,
) -> dict[str, dict[int, float]]:
    """Measure milliseconds of a row, medians, by file and count of threads."""
    taken: dict[str, dict[int, list[float]]] = {name: {n: [] for n in THREADS} for name in files}
    for number in range(passes + WARM_UP):
        for name, by_threads in encoders.items():
            for threads, encoder in by_threads.items():
                begun = time.perf_counter()
                encoder(rows[files[name]["input"]["name"]])
                if number >= WARM_UP:
                    taken[name][threads].append(1000 * (time.perf_counter() - begun))
    return {name: {n: round(statistics.median(each), 3) for n, each in of.items()} for name, of in taken.items()}
