"""The index of a source: name, label, size, format and orientation of each picture; and what reads it in the graph."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.pipelines.decoding import headers

PREFIX_BYTES = 65536  # holds the EXIF block, which JPEG limits to 64 kB, of nearly every file
CHUNK = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Pictures by number.

    Attributes:
      name: what the user called it.
      paths: name of each picture: its path, or "NAME#number".
      labels: int32 [N], index into `classes`, or None.
      classes: names of the classes, () without labels.
      header: int32 [N, 5]: fields of `headers.Header` of each picture.
      broken: what was left out when the source was opened: name -> what is wrong.
      listed: how many pictures there were, broken ones included.
      fingerprint: hash of names and sizes: tells whether the data is still the same.
      contents: uint64 [N], hash of each picture, see `hash_of_picture`: the same of equal files, whatever their names.
      encoded: the encoded pictures, or None where `paths` are files to read.
    """

    name: str
    paths: list[str]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    header: np.ndarray
    broken: dict[str, str]
    listed: int
    fingerprint: str
    contents: np.ndarray
    encoded: list[bytes] | None = None

    holds = ("image",)
    items = "pictures"
    sound_rate = 0

    @property
    def count(self) -> int:
        """How many pictures can be read."""
        return len(self.paths)

    @property
    def groups(self) -> np.ndarray:
        """int [N]: pictures of one number are the same, byte for byte, and must not be divided."""
        return np.unique(self.contents, return_inverse=True)[1]

    def subset(self, numbers: np.ndarray, name: str) -> "Source":
        """The pictures of these numbers as a source of its own."""
        return dataclasses.replace(
            self,
            name=name,
            paths=[self.paths[i] for i in numbers],
            labels=None if self.labels is None else self.labels[numbers],
            header=self.header[numbers],
            contents=self.contents[numbers],
            encoded=None if self.encoded is None else [self.encoded[i] for i in numbers],
            fingerprint=hashlib.sha256(self.fingerprint.encode() + np.asarray(numbers, np.int64).tobytes()).hexdigest(),
        )

    def reader(self) -> "Reader":
        """What reads it in the graph."""
        return Reader(self)


class Reader:
    """Rows of a source by number, in the graph."""

    def __init__(self, source: Source):
        with tf.device("CPU"):
            self._data = tf.constant(source.paths if source.encoded is None else source.encoded)
            self._header = tf.constant(source.header)
        self._in_memory = source.encoded is not None

    def rows(self, index: tf.Tensor) -> tuple[tf.Tensor, headers.Header]:
        """index int64 [B] -> what `read` takes, string [B], and the headers; nothing is read yet."""
        header = tf.unstack(tf.gather(self._header, index), num=len(headers.Header._fields), axis=1)
        return tf.gather(self._data, index), headers.Header(*header)

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """One row, a string scalar -> encoded bytes. Raises in the graph where the file cannot be read."""
        return row if self._in_memory else tf.io.read_file(row)


def hash_of_picture(beginning: bytes, size: int) -> int:
    """Below 2^64, from the first `PREFIX_BYTES` of an encoded picture and how many bytes it has.

    All of a small file. Of a larger one enough to know it by, and read already when a source is opened.
    """
    digest = hashlib.blake2b(beginning, digest_size=8, salt=size.to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")


@functools.cache
def _header_reader(complete: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """string [n] -> int32 [n, 5]; traced once for a process."""
    return tf.function(
        lambda data: tf.stack(headers.read_headers(data, complete), 1),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


def read_index(count: int, prefix: Callable[[int], bytes], whole: Callable[[int], bytes]) -> np.ndarray:
    """int32 [count, 6], from the first bytes of each picture, or from all where these do not reach."""
    found = []
    with ThreadPoolExecutor(8) as pool:
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            header = _header_reader(False)(tf.constant(list(pool.map(prefix, numbers)))).numpy()
            for row in np.flatnonzero(header[:, -1] == headers.NEED_MORE):
                header[row] = _header_reader(True)(tf.constant([whole(numbers[row])]))[0]
            found.append(header)
    return np.concatenate(found)


def without_broken(
    name: str,
    paths: list[str],
    labels: Sequence[Any] | None,
    header: np.ndarray,
    digest: str,
    contents: np.ndarray,
    encoded: list[bytes] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Source:
    """A source of the pictures whose header is in order. Labels are names, or numbers where `classes` is given."""
    good = np.flatnonzero(header[:, -1] == 0)
    broken = {paths[i]: headers.PROBLEMS[header[i, -1]] for i in np.flatnonzero(header[:, -1])}
    numbers = None
    if labels is not None:
        if classes is None:
            classes = tuple(sorted({str(label) for label in labels}))
            place = {label: i for i, label in enumerate(classes)}
            labels = [place[str(label)] for label in labels]
        numbers = np.asarray(labels, np.int32)[good]
    return Source(
        name=name,
        paths=[paths[i] for i in good],
        labels=numbers,
        classes=classes or (),
        header=header[good],
        broken=broken,
        listed=len(paths),
        fingerprint=digest,
        contents=contents[good],
        encoded=None if encoded is None else [encoded[i] for i in good],
    )


def in_memory(name: str, encoded: list[bytes], labels: Sequence[int] | None, classes: tuple[str, ...]) -> Source:
    """A source of encoded pictures that are held in memory, with labels as numbers."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in encoded)).hexdigest()
    header = read_index(len(encoded), lambda number: encoded[number][:PREFIX_BYTES], lambda number: encoded[number])
    paths = [f"{name}#{number}" for number in range(len(encoded))]
    contents = np.array([hash_of_picture(data[:PREFIX_BYTES], len(data)) for data in encoded], np.uint64)
    return without_broken(name, paths, labels, header, digest, contents, encoded, classes)
