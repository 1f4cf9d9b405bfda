"""The fields of a clip's record: `ingest` writes them, sources list them, puzzles read them in the graph.

A record is a piece of a recording, as a `tf.train.Example` of the form that TensorFlow Datasets gives it. Its name and
its type stand in `FIELDS` and nowhere else.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tfssl.pipelines.clips.recordings import Piece

FORMAT = "1.1.0"
"""Version of the records that `tfssl.ingest` writes."""


class Field(NamedTuple):
    """A field of a record.

    Attributes:
      dtype: the dtype of its values: string, float32 or int64.
      missing: the value where a record lacks it; None of a field with any number of values.
    """

    dtype: tf.DType
    missing: Any = None


FIELDS = {
    "frames": Field(tf.string),  # JPEGs
    # Bytes, uint8 [T, 16, 16, 3], like the sound: whole numbers of TensorFlow's records take up to ten bytes each.
    "thumbnails": Field(tf.string, b""),
    "frame_times": Field(tf.float32),  # seconds on the recording's clock
    "sound": Field(tf.string, b""),  # 16 bit little-endian mono PCM; empty where there is none
    "sound_start": Field(tf.float32, 0.0),  # time of its first sample, on the same clock
    "label": Field(tf.int64, -1),  # -1 unknown
    "recording": Field(tf.string, b""),  # what it is a piece of, and which
    "piece": Field(tf.int64, 0),
}


def of_piece(piece: Piece, label: int, recording: str, number: int) -> dict[str, Any]:
    """Return the values of all fields.

    Args:
      piece: what is seen and heard.
      label: the label of its class, -1 unknown.
      recording: that it is a piece of.
      number: the number of the piece.
    """
    return {
        "frames": piece.frames,
        "thumbnails": piece.thumbnails.tobytes(),
        "frame_times": piece.times,
        "sound": piece.sound.astype("<i2").tobytes(),
        "sound_start": piece.sound_start,
        "label": label,
        "recording": os.fsencode(recording),  # a name need not be UTF-8
        "piece": number,
    }


def write(values: Mapping[str, Any]) -> bytes:
    """Write a record of these fields; equal ones give equal bytes."""
    example = tf.train.Example()
    for name, value in values.items():
        field = FIELDS[name]
        rows = [value] if field.missing is not None else list(value)
        if field.dtype == tf.string:
            rows = [os.fsencode(row) if isinstance(row, str) else row for row in rows]
        _list(example, name).value.extend(rows)
    # Else the order of the fields is another in each process.
    return example.SerializeToString(deterministic=True)


def read(record: bytes) -> dict[str, Any]:
    """Invert `write`: all fields, a list where there is any number of values, strings as bytes."""
    example = tf.train.Example.FromString(record)
    values = {name: list(_list(example, name).value) for name in FIELDS}
    return {
        name: values[name] if field.missing is None else (*values[name], field.missing)[0]
        for name, field in FIELDS.items()
    }


def features(*names: str) -> dict[str, Any]:
    """Return what `tf.io.parse_example` takes, to read these fields: ragged where a field has any number of values."""
    return {
        name: tf.io.RaggedFeature(FIELDS[name].dtype)
        if FIELDS[name].missing is None
        else tf.io.FixedLenFeature([], FIELDS[name].dtype, FIELDS[name].missing)
        for name in names
    }


def _list(example: Any, name: str) -> Any:
    """Return the list of values of a field."""
    lists = {tf.string: "bytes_list", tf.float32: "float_list", tf.int64: "int64_list"}
    return getattr(example.features.feature[name], lists[FIELDS[name].dtype])
