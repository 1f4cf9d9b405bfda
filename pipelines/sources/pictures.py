"""The index of a source: name, label, size, format and orientation of each picture; and what reads it in the graph."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.pipelines.decoding import cache, headers, picture_crops
from tfssl.pipelines.sources.source import AnySource, CropReader, PictureReader

PREFIX_BYTES = 65536  # holds the EXIF block, which JPEG limits to 64 kB, of nearly every file
CHUNK = 1024


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PictureSource(AnySource):
    """Pictures by number.

    Attributes:
      paths: for each picture its path, or "NAME#number".
      header: int32 [N, 5]: fields of `headers.Header` of each picture.
      fingerprint: hash of names and sizes, or of what is held in memory.
      contents: uint64 [N], see `hash_of_picture`.
      encoded: the encoded pictures, or None where `paths` are files to read.
    """

    header: np.ndarray

    items = "pictures"
    unit = "picture"
    moving = False
    may_break = True
    per_item = (*AnySource.per_item, "header")

    @property
    def groups(self) -> np.ndarray:
        """int [N]: pictures of one number are the same, byte for byte."""
        return np.unique(self.contents, return_inverse=True)[1]

    @property
    def holds(self) -> tuple[str, ...]:
        return ("image",)

    def reader(self) -> "Reader":
        """Make what reads its encoded pictures in the graph."""
        return Reader(self)

    def crop_reader(self, size: int, memory: int, reflect: bool, verbose: int) -> CropReader:
        crops = cache.training_crops(self, size, memory, verbose)

        def read(index: tf.Tensor, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            images, valid = crops(index, seed, reflect)
            return {"image": tf.ensure_shape(images, [None, size, size, 3])}, valid

        return read

    def picture_reader(self, size: int, at: float) -> PictureReader:
        reader = self.reader()

        def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows, header = reader.rows(index)
            return picture_crops.centre_crops(reader.read, rows, header, size, kinds=reader.kinds)

        return read

    def encoded_pictures(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        if self.encoded is not None:
            return [self.encoded[number] for number in numbers]
        return [Path(self.paths[number]).read_bytes() for number in numbers]


class Reader:
    """Rows of a source by number, in the graph.

    Attributes:
      kinds: the formats of its pictures, as in `headers`.
    """

    def __init__(self, source: PictureSource):
        with tf.device("CPU"):
            # As bytes: names of files need not be UTF-8.
            rows = list(map(os.fsencode, source.paths)) if source.encoded is None else source.encoded
            self._data = tf.constant(rows)
            self._header = tf.constant(source.header)
        self._in_memory = source.encoded is not None
        self.kinds = tuple(np.unique(source.header[:, 0]).tolist())

    def rows(self, index: tf.Tensor) -> tuple[tf.Tensor, headers.Header]:
        """Return what `read` takes, string [B], and the headers, for index int64 [B]; nothing is read yet."""
        header = tf.unstack(tf.gather(self._header, index), num=len(headers.Header._fields), axis=1)
        return tf.gather(self._data, index), headers.Header(*header)

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """Read one row, a string scalar -> encoded bytes. Raise in the graph where the file cannot be read."""
        return row if self._in_memory else tf.io.read_file(row)


def hash_of_picture(beginning: bytes, size: int) -> int:
    """Hash an encoded picture's first `PREFIX_BYTES` and how many bytes it has: below 2^64.

    This covers all of a small file. For a larger one it is enough to know it by, and read already when a source opens.
    """
    digest = hashlib.blake2b(beginning, digest_size=8, salt=size.to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")


@functools.cache
def _header_reader(complete: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Make the function that reads headers: string [n] -> int32 [n, 5]; traced once for a process."""
    return tf.function(
        lambda data: tf.stack(headers.read_headers(data, complete), 1),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def read_index(count: int, prefix: Callable[[int], bytes], whole: Callable[[int], bytes]) -> np.ndarray:
    """Read int32 [count, 6], from the first bytes of each picture, or from all where these do not reach."""
    rows = []
    with ThreadPoolExecutor(8) as pool:
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            header = _header_reader(False)(tf.constant(list(pool.map(prefix, numbers)))).numpy()
            for row in np.flatnonzero(header[:, -1] == headers.NEED_MORE):
                header[row] = _header_reader(True)(tf.constant([whole(numbers[row])]))[0]
            rows.append(header)
    return np.concatenate(rows)


def without_broken(
    name: str,
    paths: list[str],
    labels: Sequence[Any] | None,
    header: np.ndarray,
    digest: str,
    contents: np.ndarray,
    encoded: list[bytes] | None = None,
    classes: tuple[str, ...] | None = None,
    problems: Mapping[str, str] | None = None,
) -> PictureSource:
    """Make a source of the pictures whose header is in order.

    Labels are names, or numbers where `classes` is given. `problems`: of files that cannot be opened, path -> why.
    """
    good = np.flatnonzero(header[:, -1] == 0)
    broken = {paths[i]: headers.PROBLEMS[header[i, -1]] for i in np.flatnonzero(header[:, -1])} | dict(problems or {})
    numbers = None
    if labels is not None:
        if classes is None:
            classes = tuple(sorted({str(label) for label in labels}))
            place = {label: i for i, label in enumerate(classes)}
            labels = [place[str(label)] for label in labels]
        numbers = np.asarray(labels, np.int32)[good]
    return PictureSource(
        name=name,
        paths=[paths[i] for i in good],
        labels=numbers,
        classes=classes or (),
        header=header[good],
        broken=broken,
        listed=len(paths),
        fingerprint=digest,
        contents=contents[good],
        frame_counts=np.ones(len(good), np.int32),
        seconds=np.zeros(len(good), np.float32),
        has_sound=np.zeros(len(good), bool),
        encoded=None if encoded is None else [encoded[i] for i in good],
    )


def in_memory(name: str, encoded: list[bytes], labels: Sequence[int] | None, classes: tuple[str, ...]) -> PictureSource:
    """Make a source of encoded pictures that are held in memory, with labels as numbers."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in encoded)).hexdigest()
    header = read_index(len(encoded), lambda number: encoded[number][:PREFIX_BYTES], lambda number: encoded[number])
    paths = [f"{name}#{number}" for number in range(len(encoded))]
    contents = np.array([hash_of_picture(data[:PREFIX_BYTES], len(data)) for data in encoded], np.uint64)
    return without_broken(name, paths, labels, header, digest, contents, encoded, classes)
