"""Pictures of a `tf.data.Dataset` and of TensorFlow Datasets, held in memory as encoded bytes."""

import sys
from typing import Any

import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.progress import can_redraw
from tfssl.pipelines.sources.pictures import PictureSource, in_memory

MEMORY_BYTES = 4 << 30
"""Encoded bytes that such a source may hold."""


def open_dataset(data: Any) -> PictureSource | None:
    """Open the pictures of a `tf.data.Dataset`; None for anything else. Raise UserError: see `from_dataset`."""
    return from_dataset(data, "dataset") if isinstance(data, tf.data.Dataset) else None


def open_tfds(data: Any) -> PictureSource | None:
    """Open 'tfds:NAME[/config][:split]', split "train" where none is named; return None for another name.

    Raises:
      UserError: no such data set, without pictures, or one that cannot be prepared here.
    """
    text = str(data)
    if not text.startswith("tfds:"):
        return None
    import tensorflow_datasets as tfds

    name, _, split = text.removeprefix("tfds:").partition(":")
    try:
        builder = tfds.builder(name)
        feature = builder.info.features
        if "image" not in feature:
            raise UserError(f"{text} has no feature 'image'; it has: {', '.join(feature)}")
        if not can_redraw(sys.stderr):
            tfds.disable_progress_bar()
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
    return from_dataset(dataset, text, classes)


def from_dataset(dataset: tf.data.Dataset, name: str, classes: tuple[str, ...] = ()) -> PictureSource:
    """Read it in one pass: pictures are kept encoded (PNG where they were arrays), in memory.

    Args:
      dataset: holds uint8 [H, W, C] or encoded bytes; alone, as (picture, label), or as {"image": ..., "label": ...}.
      name: the name of the source.
      classes: names of the labels; their numbers where none are given.

    Raises:
      UserError: an endless data set, an empty one, one of something else, or of more than `MEMORY_BYTES`.
    """
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
