"""Golden vectors through a signature, beside the answers that it gave when the export was made."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tfssl.export.checking.boxes import in_golden_order
from tfssl.export.checking.golden import Golden

TOLERANCE = 1e-5
LEVELS = 1.0
"""Grey levels by which a coloured picture may differ: a number near the middle of two is rounded up or down."""
LEAST_COSINE = 0.95
"""Least cosine of a TFLite file of int8, whose single numbers may be off by more.

The black square that stands for what is no picture is left out there: ranges are learned from pictures, and an input
unlike all of them is cut off at their ends (0.86 with MobileNetV3-Small; with black among the pictures 0.9998, and
real ones lose: 0.967 in place of 0.990).
"""
Call = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Replay:
    """The result of the replay of a signature, or of a file.

    Attributes:
      name: the name of the signature or file.
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
        figures = f"{self.rows:>5}{self.difference:>12.1e}{self.cosine:>14.7f}"
        return f"{self.name:31}{figures}{allowed:>11}  {verdict}{wrong}"


def replay(golden: Golden, call: Call, signatures: Iterable[str] | None = None) -> list[Replay]:
    """Call signatures with golden inputs, and compare.

    Args:
      call: (signature, its inputs by name) -> its outputs by name; arrays [N, ...], bytes as arrays of objects.
      signatures: which; all that have golden answers where None.
    """
    return [
        compare(name, golden.answers[name], call(name, golden.arguments(name)))
        for name in (golden.answers if signatures is None else signatures)
    ]


def compare(
    name: str, expected: dict[str, np.ndarray], answers: dict[str, np.ndarray], allowed: float | None = TOLERANCE
) -> Replay:
    """Compare answers of a signature with the golden ones.

    Floats are compared by their distance, pictures by that of their pixels, boxes whatever their order.
    """
    rows = len(next(iter(expected.values())))
    difference, cosine, largest, wrong = 0.0, 1.0, 1.0, np.zeros(rows, bool)
    if "boxes" in expected:
        expected, answers, wrong = in_golden_order(expected, answers)
    for output, wanted in expected.items():
        given = answers[output]
        if wanted.dtype.kind == "f":
            pairs = [(wanted.reshape(rows, -1).astype(np.float64), given.reshape(rows, -1).astype(np.float64))]
            largest = max(largest, float(np.abs(wanted).max(initial=0.0)))
        elif wanted.dtype == object and output.endswith("_bytes"):  # pictures; other strings are names
            allowed, pairs = LEVELS, []
            for row, (one, other) in enumerate(zip(wanted, given, strict=True)):
                pixels = [tf.io.decode_png(data).numpy().astype(np.float64) for data in (one, other) if data]
                if len(pixels) == 2 and pixels[0].shape == pixels[1].shape:
                    pairs.append((pixels[0].reshape(1, -1), pixels[1].reshape(1, -1)))
                else:
                    wrong[row] |= bool(pixels)
        else:
            # Rounding decides where two classes of a pixel are level: a thousandth of a map may differ.
            differ = (wanted != given).reshape(rows, -1).mean(1)
            wrong |= differ > (0 if wanted.ndim == 1 else 1e-3)
            continue
        for one, other in pairs:
            difference = max(difference, float(np.abs(one - other).max(initial=0.0)))
            cosine = min(cosine, float(cosines(one, other).min(initial=1.0)))
    tolerance = None if allowed is None else allowed * largest
    return Replay(name, rows, difference, cosine, tolerance, int(wrong.sum()))


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosines between rows of [N, D] each, float [N]; two rows of zeros agree."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.where(lengths > 0, np.sum(one * other, 1) / np.where(lengths > 0, lengths, 1), 1.0)
