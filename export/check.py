"""`check`: replays the golden vectors of an export: is what is served what was measured?"""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.errors import UserError
from tfssl.export.golden import Golden, read_golden
from tfssl.export.tflite import FOLDER, TFLiteEncoder, tflite_files
from tfssl.export.versions import newest_version

TOLERANCE = 1e-5
TFLITE = {"float32": 1e-3, "float16": 3e-2}
"""Largest difference of a TFLite file that passes; times the largest number of golden embeddings, if that is over 1."""
LEAST_COSINE = 0.95
"""Of a TFLite file of int8, whose single numbers may be off by more."""


@dataclasses.dataclass(frozen=True)
class FileCheck:
    """What a replay of a TFLite file found.

    Attributes:
      name: of the file.
      bytes: its size.
      difference, cosine: as of `Check`.
      tolerance: largest difference that passes; None of int8, where the least cosine must be 0.95.
    """

    name: str
    bytes: int
    difference: float
    cosine: float
    tolerance: float | None

    @property
    def ok(self) -> bool:
        """Whether it passes."""
        return self.cosine >= LEAST_COSINE if self.tolerance is None else self.difference <= self.tolerance

    def __str__(self) -> str:
        limit = f"cosine at least {LEAST_COSINE}" if self.tolerance is None else f"tolerance {self.tolerance:.1e}"
        return (
            f"  {self.name}: {'passes' if self.ok else 'DOES NOT PASS'}, {self.bytes:,} bytes, largest difference"
            f" {self.difference:.1e}, least cosine {self.cosine:.7f} ({limit})"
        )


@dataclasses.dataclass(frozen=True)
class Check:
    """What a replay found.

    Attributes:
      folder: the version that was replayed.
      signatures: those that were called.
      pictures: how many golden vectors there are.
      difference: largest absolute difference of an embedding's number.
      cosine: least cosine between an embedding and its golden one.
      tolerance: largest difference that passes: 1e-5, times the largest number of the golden embeddings where this is
        more than 1, as single precision has no more digits.
      wrong: pictures that are called valid and are not, or the other way round.
      files: the same of TFLite files.
    """

    folder: str
    signatures: tuple[str, ...]
    pictures: int
    difference: float
    cosine: float
    tolerance: float
    wrong: int
    files: tuple[FileCheck, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return self.wrong == 0 and self.difference <= self.tolerance and all(file.ok for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """What --json prints."""
        return dataclasses.asdict(self) | {"ok": self.ok}

    def __str__(self) -> str:
        own = self.wrong == 0 and self.difference <= self.tolerance
        verdict = "as measured" if own else "NOT as measured"
        wrong = f", {self.wrong} told wrongly whether it is a picture" if self.wrong else ""
        return (
            f"{self.folder}: {verdict}. {self.pictures} golden vectors through {', '.join(self.signatures)}:"
            f" largest difference {self.difference:.1e} (tolerance {self.tolerance:.1e}),"
            f" least cosine {self.cosine:.7f}{wrong}" + "".join(f"\n{file}" for file in self.files)
        )


def check(folder: str | Path) -> Check:
    """Replays the golden vectors of the newest version in a folder, or of the version that the folder is.

    Through the SavedModel, and through each TFLite file that lies there.

    Raises:
      UserError: the folder is no export, or one that cannot be loaded; it has TFLite files and LiteRT is missing.
    """
    version = newest_version(folder)
    path = version / "assets.extra" / "golden.npz"
    if not path.is_file():
        raise UserError(f"{version} has no golden vectors ({path.name}); expected a folder that `tfssl export` wrote")
    try:
        golden = read_golden(path)
        loaded = tf.saved_model.load(str(version))
        found = _replay(loaded.signatures, golden)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, tf.errors.OpError) as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise UserError(f"{version} cannot be replayed ({reason}); export the run again") from problem
    wrong = int(np.sum(found["valid"] != golden.valid))
    expected = golden.embedding.astype(np.float64)
    pairs = [(found["serving_default"], expected), (found["pixels"], expected)]
    signatures = ["serving_default", "pixels"]
    least = [_least_cosine(one[golden.valid], other[golden.valid]) for one, other in pairs]
    if len(golden.waveform):
        signatures.append("waveform")
        pairs.append((found["waveform"], golden.sound_embedding.astype(np.float64)))
        least.append(_least_cosine(*pairs[-1]))
    return Check(
        folder=str(version),
        signatures=tuple(signatures),
        pictures=len(golden.encoded),
        difference=max(float(np.abs(one - other).max()) for one, other in pairs),
        cosine=min(least),
        tolerance=TOLERANCE * max(1.0, *(float(np.abs(other).max()) for _, other in pairs)),
        wrong=wrong,
        files=tuple(_check_file(version, name, facts, golden) for name, facts in tflite_files(version).items()),
    )


def _check_file(version: Path, name: str, facts: dict[str, Any], golden: Golden) -> FileCheck:
    path = version / FOLDER / name
    if not path.is_file():
        raise UserError(f"{path} is missing; export the run again")
    rows, expected = golden.pixels[golden.valid], golden.embedding[golden.valid]
    if facts["signature"] == "waveform":
        rows, expected = golden.waveform, golden.sound_embedding
    found = TFLiteEncoder(path)(rows).astype(np.float64)
    allowed = TFLITE.get(facts["precision"])
    return FileCheck(
        name=name,
        bytes=path.stat().st_size,
        difference=float(np.abs(found - expected).max()),
        cosine=_least_cosine(found, expected.astype(np.float64)),
        tolerance=None if allowed is None else allowed * max(1.0, float(np.abs(expected).max())),
    )


def _replay(signatures: Any, golden: Golden) -> dict[str, np.ndarray]:
    served = signatures["serving_default"](image_bytes=tf.constant(golden.encoded))
    direct = signatures["pixels"](pixels=tf.constant(golden.pixels))["embedding"].numpy()
    found = {
        "valid": served["valid"].numpy(),
        "serving_default": served["embedding"].numpy().astype(np.float64),
        # Black pixels have an embedding, no picture has none.
        "pixels": np.where(golden.valid[:, None], direct, 0.0).astype(np.float64),
    }
    if len(golden.waveform):
        heard = signatures["waveform"](waveform=tf.constant(golden.waveform))["embedding"]
        found["waveform"] = heard.numpy().astype(np.float64)
    return found


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Between rows of [N, D] each, float [N]; two rows of zeros agree."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.where(lengths > 0, np.sum(one * other, 1) / np.where(lengths > 0, lengths, 1), 1.0)


def _least_cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(cosines(one, other).min(initial=1.0))
