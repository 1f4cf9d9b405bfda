"""`embed --beam`: parts of a collection made by RunInference of Apache Beam on an exported model, by many machines.

Workers need this package, and must see the export, the pictures and the folder of the parts under the same paths.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from tfssl.embedding.files import Parts
from tfssl.export.signatures import limits

Row = tuple[int, bytes]


class Served(ModelHandler[bytes, Any, Any]):
    """Encoded pictures through `serving_default` of an export; Beam's own handler opens Keras files only."""

    def __init__(self, folder: str, batch_size: int):
        super().__init__(min_batch_size=1, max_batch_size=min(batch_size, limits.MAX_ROWS))
        self._folder = folder

    def load_model(self) -> Any:
        """Load the SavedModel."""
        return tf.saved_model.load(self._folder)

    def run_inference(self, batch: Sequence[bytes], model: Any, inference_args: Any = None) -> Iterable[Any]:
        """Return (embedding float32 [D], whether it is a picture) of each."""
        outputs = model.signatures["serving_default"](image_bytes=tf.constant(list(batch)))
        return list(zip(outputs["embedding"].numpy(), outputs["valid"].numpy().tolist(), strict=True))


def make_parts(
    options: Any, model: str, paths: list[str], encoded: list[bytes] | None, parts: Parts, batch_size: int
) -> None:
    """Make the parts that are missing.

    Args:
      options: of the pipeline.
      model: folder of an exported version.
      paths: of the pictures; read by the workers where `encoded` is None.
      encoded: the pictures, where they are in memory.
      batch_size: pictures at once.
    """
    chosen = [
        (number, os.fsencode(paths[number]) if encoded is None else encoded[number])
        for start in parts.missing()
        for number in range(start, min(start + parts.rows, parts.count))
    ]
    handler: Any = KeyedModelHandler(Served(model, batch_size))
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | beam.Create(chosen)
            | beam.Reshuffle()
            | "Read" >> beam.MapTuple(_read if encoded is None else _as_it_is)
            | RunInference(handler)
            | "Place" >> beam.MapTuple(_Placed(parts.rows))
            | beam.GroupByKey()
            | "Write" >> beam.MapTuple(_Writer(parts))
        )


def _read(number: int, path: bytes) -> Row:
    try:
        return number, Path(os.fsdecode(path)).read_bytes()
    except OSError:
        return number, b""  # no picture


def _as_it_is(number: int, data: bytes) -> Row:
    return number, data


class _Placed:
    """The row's part, as the key."""

    def __init__(self, rows: int):
        self._rows = rows

    def __call__(self, number: int, row: Any) -> tuple[int, tuple[int, Any]]:
        return number // self._rows * self._rows, (number, row)


class _Writer:
    """Writes a part when all of its rows are there."""

    def __init__(self, parts: Parts):
        self._parts = parts

    def __call__(self, start: int, rows: Iterable[tuple[int, Any]]) -> None:
        ordered = [embedded for _, embedded in sorted(rows, key=lambda row: row[0])]
        embedding = np.stack([one for one, _ in ordered]).astype(np.float32)
        self._parts.write(start, embedding, np.array([valid for _, valid in ordered]))
