"""Text as a source: 'text:FILES', 'toy:text' and the text of TensorFlow Datasets, as passages in their order."""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base import specs
from tfssl.base.errors import UserError
from tfssl.pipelines.sources import walking
from tfssl.pipelines.sources.source import AnySource, CropReader, PictureReader
from tfssl.pipelines.text import blocks
from tfssl.pipelines.text.corpus import PASSAGE, Corpus, open_corpus
from tfssl.pipelines.text.splitting import check_split

ENDINGS = (".txt", ".text", ".txt.gz", ".text.gz")
"""What is read of a folder. A file that is named itself may have any name."""
PREFIX = re.compile(r"text(\([^()]*\))?:")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TextSource(AnySource):
    """Passages of a text by number: `corpus.PASSAGE` words and ends of lines each, one behind the other.

    Attributes:
      corpus: the text as numbers.
      numbers: of the passages in the corpus; a range where it is all of it.
      word_classes: class -> its words, where that is known: of the toy world's grammar.
    """

    corpus: Corpus
    numbers: Sequence[int]
    word_classes: Mapping[str, tuple[str, ...]]

    items = "passages"
    unit = "passage"
    moving = False
    may_break = False
    shuffled = False
    measure = "words"
    per_item = (*AnySource.per_item, "numbers")

    @property
    def measures_per_item(self) -> float:
        return self.corpus.tokens / self.corpus.passages

    @property
    def groups(self) -> np.ndarray:
        """int [N]: each passage by itself."""
        return np.arange(self.count)

    @property
    def holds(self) -> tuple[str, ...]:
        return ("words",)

    def reader(self) -> Any:
        """Make what reads passages in the graph: index int64 [B] -> int32 [B, PASSAGE], as `Corpus.ids` has them."""
        path, size = str(self.corpus.ids), 4 * PASSAGE

        def records(first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
            return tf.data.FixedLengthRecordDataset(path, size, first * size, buffer_size=1 << 16).take(count)

        def read(index: tf.Tensor) -> tf.Tensor:
            count = tf.cast(tf.size(index), tf.int64)
            if isinstance(self.numbers, range):  # one behind the other, and then from the beginning
                first = index[0]
                before_end = tf.minimum(count, self.count - first)
                found = records(first, before_end).concatenate(records(tf.zeros_like(first), count - before_end))
            else:
                places = tf.gather(tf.constant(np.asarray(self.numbers, np.int64)), index)
                found = tf.data.Dataset.from_tensor_slices(places).flat_map(lambda place: records(place, 1))
            whole = found.batch(count).get_single_element()
            return tf.ensure_shape(tf.io.decode_raw(whole, tf.int32), [None, PASSAGE])

        return read

    def crop_reader(self, size: int, memory: int, reflect: bool, verbose: int) -> CropReader:
        """Make what reads passages: {"words": int32 [B, PASSAGE]}. There is nothing to crop, and nothing breaks."""
        reader = self.reader()

        def read(index: tf.Tensor, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            return {"words": reader(index)}, tf.ones_like(index, tf.bool)

        return read

    def picture_reader(self, size: int, at: float) -> PictureReader:
        raise UserError(f"{self.name} is text, and pictures or clips are expected")

    def encoded_pictures(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        raise UserError(f"{self.name} is text, and pictures or clips are expected")


class _Names(Sequence[str]):
    """Names of passages, made when they are asked for: a list of them would be a tenth of the text."""

    def __init__(self, name: str, count: int):
        self._name, self._count = name, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        return f"{self._name}#{place % self._count}"


def is_text(data: Any) -> bool:
    """Say whether a name is 'text:FILES', with settings or without."""
    return isinstance(data, str) and PREFIX.match(data) is not None


def open_text(data: Any) -> TextSource | None:
    """Open 'text:FILES' or 'text(split='spaces'):FILES'; return None for another name.

    FILES are files of UTF-8, plain or packed by gzip, and folders, of which files ending in `ENDINGS` are read at any
    depth, with commas between several. A line is a sentence, or a document: no window reaches over its end.

    Raises:
      UserError: a file that cannot be read or is not UTF-8, nothing in it, an unknown setting.
    """
    if not is_text(data):
        return None
    split, places = _parse(data)
    paths = [path for place in places for path in _files(place)]
    return text_source(data, blocks.stamp(paths), lambda: blocks.of_files(paths), split)


def absolute_text_name(data: str) -> str:
    """Return the name of a text with its files named from the root."""
    prefix = PREFIX.match(data)[0]  # type: ignore[index]
    _, places = _parse(data)
    return prefix + ",".join(str(Path(place).resolve()) for place in places)


def text_source(
    name: str, facts: Any, text: Any, split: str = "words", word_classes: Mapping[str, tuple[str, ...]] | None = None
) -> TextSource:
    """Make a source of a text.

    Args:
      name: what the user called it.
      facts, text, split: see `corpus.open_corpus`.
      word_classes: see `TextSource`.

    Raises:
      UserError: it has no words.
    """
    corpus = open_corpus(facts, text, split, name)
    if not corpus.tokens:
        raise UserError(f"{name} has no words; expected text, UTF-8, plain or packed by gzip")
    count = corpus.passages
    return TextSource(
        name=name,
        paths=_Names(name, count),  # type: ignore[arg-type]
        labels=None,
        classes=(),
        broken={},
        listed=count,
        fingerprint=f"{corpus.digest}-{split}",
        contents=int(corpus.digest[:14], 16) + np.arange(count),
        frame_counts=np.broadcast_to(np.int32(0), count),
        seconds=np.broadcast_to(np.float32(0), count),
        has_sound=np.broadcast_to(False, count),
        corpus=corpus,
        numbers=range(count),
        word_classes=word_classes or {},
    )


def text_of_examples(name: str, facts: Any, texts: Any) -> TextSource:
    """Make a source of texts that something yields as bytes, each on lines of its own."""

    def read() -> Iterator[bytes]:
        return blocks.of_texts(iter(texts()), name)

    return text_source(name, facts, read)


def _parse(data: str) -> tuple[str, list[str]]:
    prefix = PREFIX.match(data)[0]  # type: ignore[index]
    _, given = specs.parse_call(prefix[:-1])
    specs.check_settings("text", given, {"split": "words"})
    split, rest = check_split(given.get("split", "words")), data[len(prefix) :]
    places = [rest] if os.path.exists(rest) else [part.strip() for part in rest.split(",") if part.strip()]
    if not places:
        raise UserError(f"{data} names no file; expected text:FILE, text:FOLDER, or several with commas between them")
    return split, places


def _files(place: str) -> list[str]:
    if not os.path.isdir(place):
        if problem := walking.problem_of(place):
            raise UserError(f"{place} {problem}; expected a file or a folder of text")
        return [place]
    found = walking.walk(Path(place), ENDINGS)
    walking.say_unread(Path(place), found)
    if found.problems:
        path, problem = next(iter(found.problems.items()))
        raise UserError(f"{Path(place) / path} {problem}; mend it, or leave it out")
    if not found.paths:
        raise UserError(
            f"{place} has no text{walking.only_unread(found)}; expected files that end in {', '.join(ENDINGS)}, or the"
            " names of files"
        )
    return [str(Path(place) / path) for path in found.paths]
