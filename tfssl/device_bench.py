"""`bench devices`: what the TFLite files of an export cost, and what they have left of its accuracy."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.evaluation.knn import nearest_neighbours
from tfssl.evaluation.linear import linear_probe
from tfssl.evaluation.probing import check_labels
from tfssl.export.check import cosines
from tfssl.export.golden import read_golden
from tfssl.export.tflite import FOLDER, TFLiteEncoder, tflite_files
from tfssl.export.versions import newest_version
from tfssl.pipelines import batches
from tfssl.pipelines.sources import AnySource, open_splits

BATCH = 64
WARM_UP = 5
THREADS = (1, 2)
SERVED = "SavedModel"


@dataclasses.dataclass(frozen=True)
class DeviceFile:
    """One file, or the SavedModel that it is compared with.

    Attributes:
      name: of the file.
      bytes: its size; 0 of the SavedModel.
      milliseconds: for one row, median, by count of threads; of the SavedModel none.
      cosine: mean cosine of its embeddings to those of the SavedModel.
      knn, linear: share of test pictures named right by 20 nearest neighbours and by a linear probe, on its own
        embeddings; None of sound.
    """

    name: str
    bytes: int
    milliseconds: dict[int, float]
    cosine: float
    knn: float | None
    linear: float | None


@dataclasses.dataclass(frozen=True)
class DeviceTable:
    """What `bench_devices` measured.

    Attributes:
      export, data: folder of the version and name of the labelled data.
      train, test: pictures that the probes learned from and were tested on.
      files: the SavedModel first.
    """

    export: str
    data: str
    train: int
    test: int
    files: tuple[DeviceFile, ...]

    def as_json(self) -> dict[str, Any]:
        """What --json prints: the fields."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        whole = {file.name.split("_")[0]: file.bytes for file in self.files if file.name.endswith("_float32.tflite")}
        lines = [
            f"{self.export} on {self.data}: probes on {self.train:,} + {self.test:,} pictures; one row at a time",
            f"{'file':26}{'KiB':>8}{'of float32':>11}{'ms, 1 thread':>13}{'2 threads':>10}{'cosine':>9}{'k-NN':>7}"
            f"{'linear':>8}",
        ]
        for file in self.files:
            base = whole.get(file.name.split("_")[0])
            part = f"{file.bytes / base:.2f}" if base and file.bytes else ""
            size = f"{file.bytes / 1024:,.0f}" if file.bytes else ""
            taken = [f"{file.milliseconds[n]:.2f}" if file.milliseconds else "" for n in THREADS]
            times = f"{taken[0]:>13}{taken[1]:>10}"
            shares = "".join(
                f"{'' if value is None else f'{100 * value:.1f}':>{w}}"
                for value, w in ((file.knn, 7), (file.linear, 8))
            )
            lines.append(f"{file.name:26}{size:>8}{part:>11}{times}{file.cosine:>9.4f}{shares}")
        return "\n".join(lines)


def bench_devices(folder: str | Path, data: Any, limit: int = 2000, passes: int = 30) -> DeviceTable:
    """Measures the TFLite files of the newest version of an export, on this machine.

    Files take turns, so that what else the machine does meets all of them.

    Args:
      folder: an export made with `tflite`.
      data: labelled pictures, as `evaluate` takes them.
      limit: most pictures of either half, a sample drawn with seed 0.
      passes: how often latency is measured; the median counts.

    Raises:
      UserError: no export, or one without TFLite files; data without labels; LiteRT is missing.
    """
    version = newest_version(folder)
    files = tflite_files(version)
    if not files:
        raise UserError(f"{version} has no TFLite files; export with --tflite float32,float16,int8")
    if limit < 2 or passes < 1:
        raise UserError(f"--limit {limit} and --passes {passes} are given, expected at least 2 and 1")
    train, test, _ = open_splits(data)
    check_labels(train, test)
    train, test = (batches.sample(half, limit, 0) if half.count > limit else half for half in (train, test))
    golden = read_golden(version / "assets.extra" / "golden.npz")
    size, waves = golden.inputs["pixels"].shape[1], golden.inputs.get("waveform", np.zeros((0, 0), np.float32))
    (images, labels), (test_images, answers) = (_read(half, size) for half in (train, test))
    encoders = {name: {n: TFLiteEncoder(version / FOLDER / name, n) for n in THREADS} for name in files}
    latency = _latencies(encoders, files, {"pixels": test_images[:1], "waveform": waves}, passes)
    signature = tf.saved_model.load(str(version)).signatures["pixels"]

    def row(name: str, encoder: Any, reference: Sequence[np.ndarray] | None) -> tuple[DeviceFile, list[np.ndarray]]:
        own = [_embedded(encoder, some) for some in (images, test_images)]
        guesses = (
            nearest_neighbours(own[0], labels, own[1], len(train.classes)),
            linear_probe(own[0], labels, own[1], len(train.classes)),
        )
        knn, linear = (float((guess.argmax(1) == answers).mean()) for guess in guesses)
        cosine = float(cosines(np.concatenate(own), np.concatenate(reference or own)).mean())
        return DeviceFile(name, files.get(name, {}).get("bytes", 0), latency.get(name, {}), cosine, knn, linear), own

    served, reference = row(SERVED, lambda rows: signature(pixels=tf.constant(rows))["embedding"].numpy(), None)
    found = [served]
    for name, facts in files.items():
        encoder = encoders[name][THREADS[-1]]
        if facts["signature"] == "pixels":
            found.append(row(name, encoder, reference)[0])
        else:
            cosine = float(cosines(encoder(waves), golden.answers["waveform"]["embedding"]).mean())
            found.append(DeviceFile(name, facts["bytes"], latency[name], cosine, None, None))
    return DeviceTable(str(version), train.name, len(images), len(test_images), tuple(found))


def _read(source: AnySource, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [N, S, S, 3] that can be decoded, and their labels int32 [N]."""
    parts = [
        (b["image"][b["valid"]].numpy(), b["index"][b["valid"]].numpy()) for b in batches.plain(source, size, BATCH)
    ]
    images, index = (np.concatenate(each) for each in zip(*parts, strict=True))
    return images, source.labels[index]  # type: ignore[index]


def _embedded(encoder: Any, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([encoder(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)])


def _latencies(
    encoders: dict[str, dict[int, TFLiteEncoder]],
    files: dict[str, dict[str, Any]],
    rows: dict[str, np.ndarray],
    passes: int,
) -> dict[str, dict[int, float]]:
    """Milliseconds of a row, medians, by file and count of threads."""
    taken: dict[str, dict[int, list[float]]] = {name: {n: [] for n in THREADS} for name in files}
    for number in range(passes + WARM_UP):
        for name, by_threads in encoders.items():
            for threads, encoder in by_threads.items():
                begun = time.perf_counter()
                encoder(rows[files[name]["signature"]])
                if number >= WARM_UP:
                    taken[name][threads].append(1000 * (time.perf_counter() - begun))
    return {name: {n: round(statistics.median(each), 3) for n, each in of.items()} for name, of in taken.items()}
