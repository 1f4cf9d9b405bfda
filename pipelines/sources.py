"""Sources: what a user can name as data, opened once, with size, format and orientation of each picture in its index.

A source is read by number, in the graph: example i of a shuffled epoch is a permutation of the numbers, so a stream can
start at any step. Folders are read from disk when needed; toy worlds, TensorFlow Datasets and `tf.data.Dataset`s are
held in memory as encoded bytes.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl import settings
from tfssl.errors import UserError
from tfssl.pipelines import headers

ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")
PREFIX_BYTES = 65536  # holds the EXIF block, which JPEG limits to 64 kB, of nearly every file
CHUNK = 1024
MEMORY_BYTES = 4 << 30  # encoded bytes that a source which is no folder may hold


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Pictures by number.

    Attributes:
      name: what the user called it.
      paths: name of each picture: its path, or "NAME#number".
      labels: int32 [N], index into `classes`, or None.
      classes: names of the classes, () without labels.
      header: int32 [N, 6]: fields of `headers.Header` of each picture.
      broken: what was left out when the source was opened: name -> what is wrong.
      listed: how many pictures there were, broken ones included.
      fingerprint: hash of names and sizes: tells whether the data is still the same.
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
    encoded: list[bytes] | None = None

    @property
    def count(self) -> int:
        """How many pictures can be read."""
        return len(self.paths)

    def subset(self, numbers: np.ndarray, name: str) -> "Source":
        """The pictures of these numbers as a source of its own."""
        return dataclasses.replace(
            self,
            name=name,
            paths=[self.paths[i] for i in numbers],
            labels=None if self.labels is None else self.labels[numbers],
            header=self.header[numbers],
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


def open_source(data: Any, max_broken: float = 0.01) -> Source:
    """Opens what a user named as data.

    Args:
      data: a folder of pictures (any depth; the first sub-folder is the label), 'toy:images' or with settings
        'toy:images(count=2000, size=64, seed=0)', 'tfds:NAME[/config][:split]', a `tf.data.Dataset` of pictures
        (uint8 [H, W, C] or encoded bytes; alone, as (picture, label) or as {"image": ..., "label": ...}), or a Source.
      max_broken: largest part of the pictures that may be unreadable.

    Raises:
      UserError: a missing folder, one without pictures, too many broken ones, an unknown kind of source.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, tf.data.Dataset):
        source = _from_dataset(data, "dataset")
    elif str(data).startswith("toy:"):
        source = _from_toy_world(str(data))
    elif str(data).startswith("tfds:"):
        source = _from_tfds(str(data))
    else:
        source = _from_folder(Path(data))
    if source.count == 0 or len(source.broken) > max_broken * source.listed:
        raise UserError(too_many_broken(source.name, source.broken, source.listed, max_broken))
    return source


def too_many_broken(name: str, broken: dict[str, str], listed: int, max_broken: float) -> str:
    """The line that says that a source has too many broken pictures, with the first one as an example."""
    path, problem = next(iter(sorted(broken.items())))
    return (
        f"{len(broken)} of {listed} pictures in {name} are broken, more than --max-broken {max_broken:g} allows;"
        f" the first: {path} {problem}. Mend or remove them, or allow more"
    )


def open_splits(data: Any, test: Any = None, seed: int = 0, max_broken: float = 0.01) -> tuple[Source, Source, str]:
    """Training and test part of labelled data, and a sentence that says how they were found.

    `test` where it is given; sub-folders train/ and test/ (or val/); else 80/20 of each class by the seed.

    Raises:
      UserError: no labels, or classes of the two parts that differ.
    """
    folder = Path(data) if isinstance(data, (str, os.PathLike)) and ":" not in str(data) else None
    if test is not None:
        train, other = open_source(data, max_broken), open_source(test, max_broken)
        note = f"trained on {train.name}, tested on {other.name}"
    elif folder is not None and (folder / "train").is_dir():
        split = next((s for s in ("test", "val") if (folder / s).is_dir()), None)
        if split is None:
            raise UserError(f"{folder} has train/ but neither test/ nor val/; add one or give --test DATA")
        train, other = open_source(folder / "train", max_broken), open_source(folder / split, max_broken)
        note = f"trained on {folder}/train, tested on {folder}/{split}"
    else:
        whole = open_source(data, max_broken)
        _require_labels(whole)
        first, second = _divide(whole.labels, seed)
        train, other = whole.subset(first, f"{whole.name} (80 %)"), whole.subset(second, f"{whole.name} (20 %)")
        note = f"{whole.name} has no train/ and test/: divided 80/20 within each class by seed {seed}"
    for source in (train, other):
        _require_labels(source)
    if train.classes != other.classes:
        only = sorted(set(train.classes) ^ set(other.classes))
        raise UserError(
            f"{train.name} and {other.name} differ in their classes ({', '.join(only[:5])}); both need the same sub-folders"
        )
    return train, other, note


def _require_labels(source: Source) -> None:
    if source.labels is None or len(source.classes) < 2:
        raise UserError(f"{source.name} has no labels to evaluate with; expected one sub-folder a class, two at least")


def _divide(labels: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = [], []
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        numbers = rng.permutation(np.flatnonzero(labels == label))
        cut = max(1, round(0.8 * len(numbers)))
        first.append(numbers[:cut])
        second.append(numbers[cut:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def _from_folder(folder: Path) -> Source:
    if not folder.exists():
        raise UserError(f"{folder} does not exist; expected a folder of pictures, 'toy:images' or 'tfds:NAME'")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder of pictures")
    paths, sizes = _walk(folder)
    if not paths:
        raise UserError(f"no picture in {folder}; expected files that end in {', '.join(ENDINGS)}, at any depth")

    def prefix(number: int) -> bytes:
        try:
            with open(folder / paths[number], "rb") as file:
                return file.read(PREFIX_BYTES)
        except OSError:
            return b""  # an empty file is no picture, and is named as broken

    header = _read_headers(len(paths), prefix, lambda number: (folder / paths[number]).read_bytes())
    digest = hashlib.sha256("\n".join(f"{p} {s}" for p, s in zip(paths, sizes, strict=True)).encode())
    inside = [path.split(os.sep) for path in paths]
    names = [parts[0] for parts in inside] if all(len(parts) > 1 for parts in inside) else None
    return _without_broken(str(folder), [str(folder / p) for p in paths], names, header, digest.hexdigest())


def _walk(folder: Path) -> tuple[list[str], list[int]]:
    """Paths relative to the folder, sorted, and sizes in bytes; hidden files and folders are left alone."""
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:  # a link back up would go round for ever
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                path = os.path.join(place, name)
                found.append((os.path.relpath(path, folder), os.path.getsize(path) if os.path.exists(path) else 0))
    found.sort()
    return [path for path, _ in found], [size for _, size in found]


@functools.cache
def _header_reader(complete: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """string [n] -> int32 [n, 6]; traced once for a process."""
    return tf.function(
        lambda data: tf.stack(headers.read_headers(data, complete), 1), input_signature=[tf.TensorSpec([None], tf.string)]
    )


def _read_headers(count: int, prefix: Callable[[int], bytes], whole: Callable[[int], bytes]) -> np.ndarray:
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


def _without_broken(
    name: str,
    paths: list[str],
    labels: Sequence[Any] | None,
    header: np.ndarray,
    digest: str,
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
        encoded=None if encoded is None else [encoded[i] for i in good],
    )


def _in_memory(name: str, encoded: list[bytes], labels: Sequence[int] | None, classes: tuple[str, ...]) -> Source:
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in encoded)).hexdigest()
    header = _read_headers(len(encoded), lambda number: encoded[number][:PREFIX_BYTES], lambda number: encoded[number])
    paths = [f"{name}#{number}" for number in range(len(encoded))]
    return _without_broken(name, paths, labels, header, digest, encoded, classes)


def _from_toy_world(text: str) -> Source:
    known = {"count": 2000, "size": 64, "seed": 0, "start": 0}
    kind, given = settings.parse_call(text.removeprefix("toy:"))
    if kind != "images":
        raise settings.unknown("toy source", kind, ("images",))
    settings.check_settings("toy:images", given, known)
    values = known | given
    if values["count"] < 1 or values["size"] < 16:
        raise UserError(f"{text}: expected a count of at least 1 and a size of at least 16 pixels")
    from tfssl import toy_world

    scenes = toy_world.scenes(**values)
    encoded = list(
        tf.data.Dataset.from_tensor_slices(scenes.image)
        .map(tf.io.encode_png, num_parallel_calls=tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
    return _in_memory(text, encoded, list(scenes.label), toy_world.CLASSES)


def _from_tfds(text: str) -> Source:
    import tensorflow_datasets as tfds

    name, _, split = text.removeprefix("tfds:").partition(":")
    try:
        builder = tfds.builder(name)
        feature = builder.info.features
        if "image" not in feature:
            raise UserError(f"{text} has no feature 'image'; it has: {', '.join(feature)}")
        builder.download_and_prepare()
        decoders = {"image": tfds.decode.SkipDecoding()}
        dataset = builder.as_dataset(split=split or "train", decoders=decoders, shuffle_files=False)
    except UserError:
        raise
    except Exception as problem:  # of many kinds: not found, no network, no such split, disk full
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise UserError(f"cannot open {text}: {reason}") from problem
    labelled = "label" in feature and isinstance(feature["label"], tfds.features.ClassLabel)
    classes = tuple(feature["label"].names) if labelled else ()
    return _from_dataset(dataset, text, classes)


def _from_dataset(dataset: tf.data.Dataset, name: str, classes: tuple[str, ...] = ()) -> Source:
    """One pass over it: pictures are kept encoded (PNG where they were arrays), in memory."""
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError(f"{name} never ends; expected a finite dataset: call take() on it")
    spec = dataset.element_spec
    if not isinstance(spec, (dict, tuple)):
        spec, dataset = (spec,), dataset.map(lambda image: (image,))
    image_key, label_key = ("image", "label") if isinstance(spec, dict) else (0, 1)
    if isinstance(spec, dict) and "image" not in spec:
        raise UserError(f"{name} has no 'image'; expected dicts with one, got {', '.join(map(str, spec))}")
    has_label = label_key in spec if isinstance(spec, dict) else len(spec) > 1
    image = spec[image_key]
    if image.dtype not in (tf.string, tf.uint8) or (image.dtype == tf.uint8 and image.shape.rank != 3):
        raise UserError(
            f"{name}: images are {image.dtype.name} {image.shape}; expected encoded bytes, or uint8 [height, width, channels]"
        )

    def encode(*parts: Any) -> tuple[tf.Tensor, tf.Tensor]:
        example = parts[0] if isinstance(spec, dict) else parts
        picture = example[image_key]
        label = tf.cast(example[label_key], tf.int64) if has_label else tf.constant(-1, tf.int64)
        return picture if picture.dtype == tf.string else tf.io.encode_png(picture), label

    encoded, labels, held = [], [], 0
    for data, label in dataset.map(encode, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator():
        held += len(data)
        if held > MEMORY_BYTES:
            raise UserError(
                f"{name} holds more than {MEMORY_BYTES >> 30} GiB of pictures, too much to keep in memory; "
                "write them to a folder and give that"
            )
        encoded.append(data)
        labels.append(int(label))
    if not encoded:
        raise UserError(f"no picture in {name}; expected at least one")
    if has_label and not classes:
        classes = tuple(str(number) for number in range(max(labels) + 1))
    return _in_memory(name, encoded, labels if has_label else None, classes)
