"""`check`: replays the golden vectors of an export: is what is served what was measured?"""

import dataclasses
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.export.golden import Golden, read_golden
from tfssl.export.onnx import FOLDER as ONNX_FOLDER
from tfssl.export.onnx import OnnxEncoder, onnx_files
from tfssl.export.tflite import FOLDER, TFLiteEncoder, tflite_files
from tfssl.export.versions import newest_version

TOLERANCE = 1e-5
LEVELS = 1.0
"""Grey levels by which a coloured picture may differ: a number near the middle of two is rounded up or down."""
TFLITE = {"float32": 1e-3, "float16": 3e-2}
ONNX = 1e-4
LEAST_COSINE = 0.95
"""Of a TFLite file of int8, whose single numbers may be off by more.

The black square that stands for what is no picture is left out there: ranges are learned from pictures, and an input
unlike all of them is cut off at their ends (0.86 with MobileNetV3-Small; with black among the pictures 0.9998, and
real ones lose: 0.967 in place of 0.990).
"""
Call = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Replay:
    """What the replay of a signature, or of a file, found.

    Attributes:
      name: of the signature or file.
      rows: golden vectors.
      difference: largest absolute difference of a number; of coloured pictures in grey levels.
      cosine: least cosine between an answer and its golden one.
      tolerance: largest difference that passes, which grows with the largest golden number where this is more than 1,
        as single precision has no more digits; None of int8, where the cosine must be 0.95.
      wrong: rows that are called valid and are not, or the other way round, or that have another angle.
    """

    name: str
    rows: int
    difference: float
    cosine: float
    tolerance: float | None
    wrong: int = 0

    @property
    def ok(self) -> bool:
        """Whether it passes."""
        near = self.cosine >= LEAST_COSINE if self.tolerance is None else self.difference <= self.tolerance
        return near and not self.wrong

    def __str__(self) -> str:
        allowed = f"cos {LEAST_COSINE}" if self.tolerance is None else f"{self.tolerance:.1e}"
        verdict = "passes" if self.ok else "DOES NOT PASS"
        wrong = f", {self.wrong} rows wrong" if self.wrong else ""
        found = f"{self.rows:>5}{self.difference:>12.1e}{self.cosine:>14.7f}"
        return f"{self.name:27}{found}{allowed:>11}  {verdict}{wrong}"


@dataclasses.dataclass(frozen=True)
class Check:
    """What a replay found.

    Attributes:
      folder: the version that was replayed.
      replays: of each signature, and of each file for other runtimes.
    """

    folder: str
    replays: tuple[Replay, ...]

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return all(replay.ok for replay in self.replays)

    def as_json(self) -> dict[str, Any]:
        """What --json prints."""
        replays = [dataclasses.asdict(replay) | {"ok": replay.ok} for replay in self.replays]
        return {"folder": self.folder, "ok": self.ok, "replays": replays}

    def __str__(self) -> str:
        head = f"{'signature or file':27}{'rows':>5}{'difference':>12}{'least cosine':>14}{'tolerance':>11}"
        lines = [f"{self.folder}: {'as measured' if self.ok else 'NOT as measured'}", head]
        return "\n".join(lines + [str(replay) for replay in self.replays])


def check(folder: str | Path, server: str | None = None, model_name: str | None = None) -> Check:
    """Replays the golden vectors of the newest version in a folder, or of the version that the folder is.

    Through every signature of the SavedModel, and through each TFLite and ONNX file that lies there.

    Args:
      folder: an export.
      server: address of a server that is to be replayed too: `host:8500` for gRPC, `http://host:8501` for REST. It is
        asked for the version of the same number.
      model_name: by which the server knows the model; that of the folder where None.

    Raises:
      UserError: the folder is no export, or one that cannot be loaded; it has TFLite files and LiteRT is missing, or
        ONNX files and onnxruntime; the server is down, or has another model.
    """
    version = newest_version(folder)
    path = version / "assets.extra" / "golden.npz"
    if not path.is_file():
        raise UserError(f"{version} has no golden vectors ({path.name}); expected a folder that `tfssl export` wrote")
    try:
        golden = read_golden(path)
        loaded = tf.saved_model.load(str(version))

        def call(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            found = loaded.signatures[name](**{key: tf.constant(rows) for key, rows in inputs.items()})
            return {key: rows.numpy() for key, rows in found.items()}

        replays = replay(golden, call)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, tf.errors.OpError) as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise UserError(f"{version} cannot be replayed ({reason}); export the run again") from problem
    replays += [_check_file(version, name, facts, golden) for name, facts in tflite_files(version).items()]
    for name in onnx_files(version):
        encoder = OnnxEncoder(version / ONNX_FOLDER / name)
        replays.append(_compare_embedding(name, encoder, name.removesuffix(".onnx"), golden, ONNX))
    if server is not None:
        from tfssl.export.client.replaying import client_of, replay_on_server

        with client_of(version, server, model_name) as client:
            found = replay_on_server(client, server, version, golden)
        replays += [dataclasses.replace(one, name=f"{one.name}, server") for one in found]
    return Check(str(version), tuple(replays))


def replay(golden: Golden, call: Call, signatures: Iterable[str] | None = None) -> list[Replay]:
    """Calls signatures with golden inputs, and compares.

    Args:
      call: (signature, its inputs by name) -> its outputs by name; arrays [N, ...], bytes as arrays of objects.
      signatures: which; all that have golden answers where None.
    """
    return [
        compare(name, golden.answers[name], call(name, golden.arguments(name)))
        for name in (golden.answers if signatures is None else signatures)
    ]


def compare(
    name: str, expected: dict[str, np.ndarray], found: dict[str, np.ndarray], allowed: float | None = TOLERANCE
) -> Replay:
    """Answers of a signature beside the golden ones: floats by their distance, pictures by that of their pixels."""
    rows = len(next(iter(expected.values())))
    difference, cosine, largest, wrong = 0.0, 1.0, 1.0, np.zeros(rows, bool)
    for output, wanted in expected.items():
        given = found[output]
        if wanted.dtype.kind == "f":
            pairs = [(wanted.reshape(rows, -1).astype(np.float64), given.reshape(rows, -1).astype(np.float64))]
            largest = max(largest, float(np.abs(wanted).max(initial=0.0)))
        elif wanted.dtype == object:
            allowed, pairs = LEVELS, []
            for row, (one, other) in enumerate(zip(wanted, given, strict=True)):
                pixels = [tf.io.decode_png(data).numpy().astype(np.float64) for data in (one, other) if data]
                if len(pixels) == 2 and pixels[0].shape == pixels[1].shape:
                    pairs.append((pixels[0].reshape(1, -1), pixels[1].reshape(1, -1)))
                else:
                    wrong[row] |= bool(pixels)
        else:
            wrong |= wanted != given
            continue
        for one, other in pairs:
            difference = max(difference, float(np.abs(one - other).max(initial=0.0)))
            cosine = min(cosine, float(cosines(one, other).min(initial=1.0)))
    tolerance = None if allowed is None else allowed * largest
    return Replay(name, rows, difference, cosine, tolerance, int(wrong.sum()))


def _check_file(version: Path, name: str, facts: dict[str, Any], golden: Golden) -> Replay:
    path = version / FOLDER / name
    if not path.is_file():
        raise UserError(f"{path} is missing; export the run again")
    return _compare_embedding(name, TFLiteEncoder(path), facts["signature"], golden, TFLITE.get(facts["precision"]))


def _compare_embedding(
    name: str, encoder: Callable[[np.ndarray], np.ndarray], kind: str, golden: Golden, allowed: float | None
) -> Replay:
    inputs, expected = golden.inputs[kind], golden.answers[kind]["embedding"]
    if allowed is None and kind == "pixels":
        pictures = golden.answers["serving_default"]["valid"]
        inputs, expected = inputs[pictures], expected[pictures]
    return compare(name, {"embedding": expected}, {"embedding": encoder(inputs)}, allowed)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Between rows of [N, D] each, float [N]; two rows of zeros agree."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.where(lengths > 0, np.sum(one * other, 1) / np.where(lengths > 0, lengths, 1), 1.0)
