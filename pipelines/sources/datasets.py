"""Pictures of a `tf.data.Dataset` and of TensorFlow Datasets, held in memory as encoded bytes; and text of these."""

import os
import sys
from typing import Any

import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.progress import can_redraw
from tfssl.pipelines.sources import pixels
from tfssl.pipelines.sources.labels import number
from tfssl.pipelines.sources.pictures import PictureSource, in_memory
from tfssl.pipelines.sources.text import TextSource, text_of_examples

MEMORY_BYTES = 4 << 30
"""Encoded bytes that such a source may hold."""


def open_dataset(data: Any) -> PictureSource | None:
    """Open the pictures of a `tf.data.Dataset`; None for anything else. Raise UserError: see `from_dataset`."""
    return from_dataset(data, "dataset") if isinstance(data, tf.data.Dataset) else None


def open_tfds(data: Any) -> PictureSource | TextSource | None:
    """Open 'tfds:NAME[/config][:split]', split "train" where none is named; return None for another name.

    Of a data set that has no feature 'image' its feature 'text' is read, one example after the other.

    Raises:
      UserError: no such data set, without pictures and text, or one that cannot be prepared here.
    """
    text = str(data)
    if not text.startswith("tfds:"):
        return None
    import tensorflow_datasets as tfds

    name, _, split = text.removeprefix("tfds:").partition(":")
    try:
        builder = tfds.builder(name)
        feature = builder.info.features
        if "image" not in feature and "text" not in feature:
            raise UserError(f"{text} has no feature 'image' and no 'text'; it has: {', '.join(feature)}")
        if not can_redraw(sys.stderr):
            tfds.disable_progress_bar()
        builder.download_and_prepare()
        decoders = {"image": tfds.decode.SkipDecoding()} if "image" in feature else None
        dataset = builder.as_dataset(split=split or "train", decoders=decoders, shuffle_files=False)
    except UserError:
        raise
    except Exception as problem:  # of many kinds: not found, no network, no such split, disk full
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise UserError(f"cannot open {text}: {reason}") from problem
    if "image" not in feature:
        texts = dataset.map(lambda example: example["text"])
        return text_of_examples(text, [builder.info.full_name, split or "train"], texts.as_numpy_iterator)
    labelled = "label" in feature and isinstance(feature["label"], tfds.features.ClassLabel)
    classes = tuple(feature["label"].names) if labelled else ()
    return from_dataset(dataset, text, classes)


def from_dataset(
    dataset: tf.data.Dataset, name: str, classes: tuple[str, ...] = (), labels: Any = None
) -> PictureSource:
    """Read it to its end: pictures are kept encoded (PNG where they were arrays), in memory.

    Args:
      dataset: holds pictures; alone, as (picture, label), or as {"image": ..., "label": ...}, one by one or in batches.
        A picture is encoded bytes, or [H, W, C] with 1 to 4 channels, or [H, W]: whole numbers 0..255, or floats 0..1
        or 0..255. Labels are as `labels.number` takes them.
      name: the name of the source.
      classes: names of the labels; those of `keras.utils.image_dataset_from_directory` where it made the data set, else
        the labels' own.
      labels: of all pictures, where the data set has none.

    Raises:
      UserError: an endless data set, an empty one, one of something else, or of more than `MEMORY_BYTES`.
    """
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError(f"{name} never ends; expected a finite dataset: call take() on it")
    classes = classes or tuple(getattr(dataset, "class_names", None) or ())  # Keras's; a `map` loses it
    spec = dataset.element_spec
    if isinstance(spec, dict):
        if "image" not in spec:
            raise UserError(f"{name} has no 'image'; expected dicts with one, got {', '.join(map(str, spec))}")
        keys: tuple[Any, ...] = ("image", "label") if "label" in spec else ("image",)
    else:
        if not isinstance(spec, tuple):
            spec, dataset = (spec,), dataset.map(lambda image: (image,))
        keys = (0, 1) if len(spec) > 1 else (0,)
    kind = pixels.kind_of(name, *(spec[key] for key in keys))

    def choose(*parts: Any) -> tuple[tf.Tensor, ...]:
        example = parts[0] if isinstance(spec, dict) else parts
        return tuple(example[key] for key in keys)

    chosen = dataset.map(choose)
    if kind.batched:
        chosen = chosen.unbatch()
    scale = pixels.find_scale(name, chosen, kind)

    def encode(image: tf.Tensor, *label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return pixels.encode(image, kind, scale), *label

    encoded, own, held = [], [], 0
    for data, *label in chosen.map(encode, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator():
        held += len(data)
        if held > MEMORY_BYTES:
            raise UserError(
                f"{name} holds more than {MEMORY_BYTES >> 30} GiB of pictures, too much to keep in memory; "
                "write them to a folder and give that"
            )
        encoded.append(data)
        own += label
    if not encoded:
        raise UserError(f"no picture in {name}; expected at least one")
    if kind.dtype == tf.string and os.path.isfile(encoded[0]):
        raise UserError(
            f"{name} holds names of files, as {encoded[0].decode(errors='replace')}; expected what is in them: map"
            " tf.io.read_file, or give a list of the names"
        )
    given = labels if len(keys) == 1 else own
    if given is None:
        return in_memory(name, encoded, None, ())
    numbers, classes = number(name, given, classes)
    return in_memory(name, encoded, numbers.tolist(), classes)
