"""Records of TFRecord files by number: where each lies, and its bytes, read in the graph without the rest of the file.

A TFRecord file is a row of: length uint64, its masked CRC32C uint32, the record, its masked CRC32C uint32, all little
endian (tensorflow/core/lib/io/record_writer.h).
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError

HEADER_BYTES, FOOTER_BYTES = 12, 4


def index_records(files: Sequence[Path]) -> np.ndarray:
    """List file, first byte, and length with header and footer, of every record, int64 [N, 3], by walking the lengths.

    Raises:
      UserError: a file that ends inside of a record.
    """
    rows = []
    for number, path in enumerate(files):
        size, place = path.stat().st_size, 0
        with open(path, "rb") as file:
            while place < size:
                file.seek(place)
                header = file.read(HEADER_BYTES)
                length = struct.unpack("<Q", header[:8])[0] if len(header) == HEADER_BYTES else size
                length += HEADER_BYTES + FOOTER_BYTES
                if place + length > size:
                    raise UserError(f"{path} ends inside of a record; it was cut off: make the data set anew")
                rows.append((number, place, length))
                place += length
    return np.asarray(rows, np.int64).reshape(-1, 3)


def read_record(path: tf.Tensor, first: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Read the bytes of one record, string [], at byte `first` of a file; `length` counts the bytes with its frame.

    TensorFlow has no op that reads a part of a file. The op behind `tf.data.TFRecordDataset` takes the byte to begin
    at, and checks the record's sums. (A dataset of fixed lengths that skips what is before reads it all: 20 times
    slower at 150 MB; TensorFlow 2.21.)
    """
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=path[None], compression_type="", buffer_size=length, byte_offsets=first[None]
    )
    return tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string)).take(1).get_single_element()
