"""Sources: what a user can name as data, opened once, with size, format and orientation of each picture in its index.

A source is read by number, in the graph: example i of a shuffled epoch is a permutation of the numbers, so a stream can
start at any step. Folders are read from disk when needed; toy worlds, TensorFlow Datasets and `tf.data.Dataset`s are
held in memory as encoded bytes.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base import specs
from tfssl.base.errors import UserError
from tfssl.pipelines.sources import dividing
from tfssl.pipelines.sources.clips import ClipSource, is_ingested, open_ingested, open_toy_clips
from tfssl.pipelines.sources.pictures import (
    PREFIX_BYTES,
    Source,
    hash_of_picture,
    in_memory,
    read_index,
    without_broken,
)

ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp")
MEMORY_BYTES = 4 << 30  # encoded bytes that a source which is no folder may hold

AnySource = Source | ClipSource


def open_source(data: Any, max_broken: float = 0.01) -> Any:
    """Opens what a user named as data.

    Args:
      data: a folder of pictures (any depth; the first sub-folder is the label), 'toy:images' or with settings
        'toy:images(count=2000, size=64, seed=0)', 'tfds:NAME[/config][:split]', a `tf.data.Dataset` of pictures
        (uint8 [H, W, C] or encoded bytes; alone, as (picture, label) or as {"image": ..., "label": ...}), or a Source.
        Clips: a folder that `tfssl.ingest` wrote, 'FOLDER:train' for one of its splits, or 'toy:clips' with settings
        'toy:clips(count=200, size=64, seconds=2.0, seed=0)'. And 'photos (80 %, split seed 0)', the name of a part that
        `open_splits` has made of another source.
      max_broken: largest part of the pictures that may be unreadable.

    Returns:
      A `Source`, or a `ClipSource` of clips.

    Raises:
      UserError: a missing folder, one without pictures, too many broken ones, an unknown kind of source.
    """
    if isinstance(data, (Source, ClipSource)):
        return data
    if isinstance(data, tf.data.Dataset):
        source = _from_dataset(data, "dataset")
    elif (part := _part_of(str(data))) is not None:
        whole, training, seed = part
        return _divided(open_source(whole, max_broken), seed)[0 if training else 1]
    elif str(data).startswith("toy:clips"):
        return open_toy_clips(str(data))
    elif str(data).startswith("toy:"):
        source = _from_toy_world(str(data))
    elif str(data).startswith("tfds:"):
        source = _from_tfds(str(data))
    else:
        folder, split = _clips_of(str(data))
        if folder is not None:
            return open_ingested(folder, split)
        source = _from_folder(Path(data))
    if source.count == 0 or len(source.broken) > max_broken * source.listed:
        raise UserError(too_many_broken(source.name, source.broken, source.listed, max_broken))
    return source


def _clips_of(text: str) -> tuple[Path | None, str | None]:
    """The folder of ingested clips and the split that a text names, ("FOLDER:train"); (None, None) where it is none."""
    if is_ingested(Path(text)):
        return Path(text), None
    name, _, split = text.rpartition(":")
    return (Path(name), split) if name and is_ingested(Path(name)) else (None, None)


def _part_of(text: str) -> tuple[str, bool, int] | None:
    """See `dividing.parse_part`; None where it is the name of a folder."""
    part = dividing.parse_part(text)
    return None if part is None or Path(text).exists() else part


def absolute_name(name: str) -> str:
    """The name of a source, with its folder, where it has one, from the root: opens it from any place."""
    if (part := _part_of(name)) is not None:
        whole, training, seed = part
        return dividing.name_of_part(absolute_name(whole), training, seed)
    if Path(name).exists():
        return str(Path(name).resolve())
    folder, split = _clips_of(name)
    return name if folder is None else f"{folder.resolve()}:{split}"


def too_many_broken(name: str, broken: dict[str, str], listed: int, max_broken: float) -> str:
    """The line that says that a source has too many broken pictures, with the first one as an example."""
    path, problem = next(iter(sorted(broken.items())))
    return (
        f"{len(broken)} of {listed} pictures in {name} are broken, more than --max-broken {max_broken:g} allows;"
        f" the first: {path} {problem}. Mend or remove them, or allow more"
    )


def open_splits(
    data: Any, test: Any = None, seed: int = 0, max_broken: float = 0.01
) -> tuple[AnySource, AnySource, str]:
    """Training and test part of labelled data, and a sentence that says how they were found.

    `test` where it is given; sub-folders train/ and test/ (or val/); else 80/20 of each class by the seed, pieces of
    one recording, and pictures that are the same byte for byte, on one side: see `dividing.divide`.

    Raises:
      UserError: no labels, or classes of the two parts that differ.
    """
    folder = Path(data) if isinstance(data, (str, os.PathLike)) and ":" not in str(data) else None
    if test is None and folder is not None and is_ingested(folder):
        data, test = f"{folder}:train", f"{folder}:test"
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
        train, other = _divided(whole, seed)
        note = f"{whole.name} has no train/ and test/: divided 80/20 within each class by split seed {seed}"
        note += ", pieces of one recording on one side" if isinstance(whole, ClipSource) else ""
    for source in (train, other):
        _require_labels(source)
    if train.classes != other.classes:
        only = sorted(set(train.classes) ^ set(other.classes))
        raise UserError(
            f"{train.name} and {other.name} differ in their classes ({', '.join(only[:5])}); both need the same"
        )
    return train, other, note


def _require_labels(source: AnySource) -> None:
    if source.labels is None or len(source.classes) < 2:
        raise UserError(f"{source.name} has no labels to evaluate with; expected one sub-folder a class, two at least")


def _divided(whole: AnySource, seed: int) -> tuple[Any, Any]:
    """Training and test part of a source, whose names tell how to make them again."""
    _require_labels(whole)
    parts = dividing.divide(np.asarray(whole.labels), whole.groups, seed)
    if not len(parts[1]):
        what = "recording" if isinstance(whole, ClipSource) else "picture"
        raise UserError(
            f"{whole.name} cannot be divided: no class has more than one {what}, and what is trained on is not tested"
            " on; give --test DATA"
        )
    names = (dividing.name_of_part(whole.name, training, seed) for training in (True, False))
    train, test = (whole.subset(numbers, name) for numbers, name in zip(parts, names, strict=True))
    return train, test


def _from_folder(folder: Path) -> Source:
    if not folder.exists():
        raise UserError(f"{folder} does not exist; expected a folder of pictures, 'toy:images' or 'tfds:NAME'")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder of pictures")
    paths, sizes = walk(folder)
    if not paths:
        raise UserError(f"no picture in {folder}; expected files that end in {', '.join(ENDINGS)}, at any depth")

    contents = np.zeros(len(paths), np.uint64)

    def prefix(number: int) -> bytes:
        try:
            with open(folder / paths[number], "rb") as file:
                beginning = file.read(PREFIX_BYTES)
        except OSError:
            return b""  # an empty file is no picture, and is named as broken
        contents[number] = hash_of_picture(beginning, sizes[number])
        return beginning

    header = read_index(len(paths), prefix, lambda number: (folder / paths[number]).read_bytes())
    digest = hashlib.sha256("\n".join(f"{p} {s}" for p, s in zip(paths, sizes, strict=True)).encode())
    inside = [path.split(os.sep) for path in paths]
    names = [parts[0] for parts in inside] if all(len(parts) > 1 for parts in inside) else None
    return without_broken(str(folder), [str(folder / p) for p in paths], names, header, digest.hexdigest(), contents)


def walk(folder: Path) -> tuple[list[str], list[int]]:
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


def _from_toy_world(text: str) -> Source:
    known = {"count": 2000, "size": 64, "seed": 0, "start": 0}
    kind, given = specs.parse_call(text.removeprefix("toy:"))
    if kind != "images":
        raise specs.unknown("toy source", kind, ("images", "clips"))
    specs.check_settings("toy:images", given, known)
    values = known | given
    if values["count"] < 1 or values["size"] < 16:
        raise UserError(f"{text}: expected a count of at least 1 and a size of at least 16 pixels")
    from tfssl.pipelines import toy_world

    scenes = toy_world.scenes(**values)
    encoded = list(
        tf.data.Dataset.from_tensor_slices(scenes.image)
        .map(tf.io.encode_png, num_parallel_calls=tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
    return in_memory(text, encoded, list(scenes.label), toy_world.CLASSES)


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
    image_key: Any
    label_key: Any
    image_key, label_key = ("image", "label") if isinstance(spec, dict) else (0, 1)
    if isinstance(spec, dict) and "image" not in spec:
        raise UserError(f"{name} has no 'image'; expected dicts with one, got {', '.join(map(str, spec))}")
    has_label = label_key in spec if isinstance(spec, dict) else len(spec) > 1
    image = spec[image_key]
    if image.dtype not in (tf.string, tf.uint8) or (image.dtype == tf.uint8 and image.shape.rank != 3):
        raise UserError(
            f"{name}: images are {image.dtype.name} {image.shape}; expected encoded bytes, or uint8 [height, width, 3]"
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
    return in_memory(name, encoded, labels if has_label else None, classes)
