"""`bench devices`: what the TFLite files of an export cost, and what they have left of its accuracy."""

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.evaluation.knn import nearest_neighbours
from tfssl.evaluation.linear import linear_probe
from tfssl.export.golden import read_golden
from tfssl.export.tflite import FOLDER, TFLiteEncoder, tflite_files
from tfssl.export.versions import newest_version
from tfssl.pipelines import batches
from tfssl.pipelines.sources import AnySource, open_splits

BATCH = 64
WARM_UP = 5
SERVED = "SavedModel"


@dataclasses.dataclass(frozen=True)
class DeviceFile:
    """One file, or the SavedModel that it is compared with.

    Attributes:
      name: of the file.
      bytes: its size; 0 of the SavedModel.
      milliseconds: for one row, median, by count of threads.
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
            times = "".join(f"{file.milliseconds.get(n, float('nan')):>{w}.2f}" for n, w in ((1, 13), (2, 10)))
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
    if train.labels is None or test.labels is None:
        raise UserError(f"{data} has no labels; expected a folder with a sub-folder for each class")
    train, test = (batches.sample(half, limit, 0) if half.count > limit else half for half in (train, test))
    signatures = tf.saved_model.load(str(version)).signatures
    golden = read_golden(version / "assets.extra" / "golden.npz")
    size = golden.pixels.shape[1]
    halves = [_read(half, size) for half in (train, test)]
    classes = len(train.classes)

    def served(kind: str) -> Any:
        signature = signatures[kind]
        return lambda rows: signature(**{kind: tf.constant(rows)})["embedding"].numpy()

    made: dict[str, Any] = {}
    timed: dict[str, dict[int, TFLiteEncoder]] = {}
    kinds: dict[str, str] = {}
    for name in (SERVED, *files):
        kinds[name] = "pixels" if name == SERVED else files[name]["signature"]
        if name == SERVED:
            made[name], timed[name] = served("pixels"), {}
        else:
            made[name] = TFLiteEncoder(version / FOLDER / name, 2)
            timed[name] = {threads: TFLiteEncoder(version / FOLDER / name, threads) for threads in (1, 2)}
    rows_of = {"pixels": halves[1][0][:1], "waveform": golden.waveform[:1]}
    latency = _latencies(timed, {name: rows_of[kind] for name, kind in kinds.items()}, passes)
    reference = {"pixels": [_embedded(served("pixels"), images) for images, _ in halves]}
    if "waveform" in kinds.values():
        reference["waveform"] = [golden.sound_embedding]
    found = []
    for name, kind in kinds.items():
        if kind == "pixels":
            own = reference[kind] if name == SERVED else [_embedded(made[name], images) for images, _ in halves]
            labels = [numbers for _, numbers in halves]
            knn = nearest_neighbours(own[0], labels[0], own[1], classes)
            probe = linear_probe(own[0], labels[0], own[1], classes)
            shares: list[float | None] = [float((guess.argmax(1) == labels[1]).mean()) for guess in (knn, probe)]
        else:
            own, shares = [made[name](golden.waveform)], [None, None]
        bytes_ = 0 if name == SERVED else files[name]["bytes"]
        cosine = _cosine(np.concatenate(own), np.concatenate(reference[kind]))
        found.append(DeviceFile(name, bytes_, latency[name], cosine, *shares))
    return DeviceTable(str(version), train.name, len(halves[0][0]), len(halves[1][0]), tuple(found))


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
    timed: dict[str, dict[int, TFLiteEncoder]], rows: dict[str, np.ndarray], passes: int
) -> dict[str, dict[int, float]]:
    taken: dict[tuple[str, int], list[float]] = {}
    for number in range(passes + WARM_UP):
        for name, by_threads in timed.items():
            for threads, encoder in by_threads.items():
                begun = time.perf_counter()
                encoder(rows[name])
                if number >= WARM_UP:
                    taken.setdefault((name, threads), []).append(1000 * (time.perf_counter() - begun))
    return {
        name: {threads: round(statistics.median(taken[name, threads]), 3) for threads in by_threads}
        for name, by_threads in timed.items()
    }


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(np.mean(np.sum(one * other, 1) / np.maximum(lengths, 1e-12)))
