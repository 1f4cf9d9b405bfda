"""A corpus: a text that was split into words once and lies on disk as numbers, so that any place of it can be read.

    ids.bin       int32: the number of each word in the order of the text, -1 at the end of each line; the end is filled
                  with -1 to whole passages
    words.bin     the different words in the order in which they first come, each ended by a zero byte
    counts.npy    int64 [T], how often each comes
    corpus.json   how many words and lines, hash of the text

It lies in the folder `text` of `base.files.cache_folder`, one folder a text, and is made anew where it is gone.
"""

import atexit
import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.files import cache_folder, write_errors
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.text.blocks import LINE_END
from tfssl.pipelines.text.splitting import split_words

FORMAT = 1
PASSAGE = 128
"""Numbers, ends of lines among them, that are read as one item."""
IDS, WORDS, COUNTS, RECORD = "ids.bin", "words.bin", "counts.npy", "corpus.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text as numbers.

    Attributes:
      ids: the file of its numbers, of whole passages.
      types: the different words, bytes of UTF-8, in the order in which they first come; case as in the text.
      counts: int64 [T], how often each comes.
      split: how it was split, see `splitting.SPLITS`.
      tokens: how many words it has.
      lines: how many lines have any.
      passages: how many it has.
      digest: hash of the text.
    """

    ids: Path
    types: list[bytes]
    counts: np.ndarray
    split: str
    tokens: int
    lines: int
    passages: int
    digest: str


def open_corpus(facts: Any, blocks: Callable[[], Iterator[bytes]], split: str, name: str, verbose: int = 1) -> Corpus:
    """Open a text as numbers; split it first where that was not done before.

    Args:
      facts: what tells the text from others, as JSON can hold it.
      blocks: yields the text, UTF-8, in pieces that end where a word does.
      split: see `splitting.SPLITS`.
      name: what the user called it.
      verbose: 0 to say nothing on standard error while it is split.

    Raises:
      UserError: the text cannot be read, or the numbers cannot be written.
    """
    key = hashlib.sha256(json.dumps([FORMAT, split, facts], sort_keys=True).encode()).hexdigest()
    folder = _root() / key
    if not (folder / RECORD).is_file():
        with write_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
            try:
                _write(building, blocks(), split, name, verbose)
                _rename(building, folder)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    record = json.loads((folder / RECORD).read_text())
    types = (folder / WORDS).read_bytes().split(b"\0")[:-1]
    about = {key: record[key] for key in ("tokens", "lines", "passages", "digest")}
    return Corpus(folder / IDS, types, np.load(folder / COUNTS), split, **about)


def _rename(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError:
        if not (folder / RECORD).is_file():  # else another process was faster, and has written the same
            raise


def _root() -> Path:
    kept = cache_folder() / "text"
    return kept if kept.is_absolute() else _temporary()


@functools.cache
def _temporary() -> Path:
    """Return a folder of this process alone, where a user has no home."""
    folder = tempfile.mkdtemp(prefix="tfssl-text-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _write(folder: Path, blocks: Iterator[bytes], split: str, name: str, verbose: int) -> None:
    numbers: dict[bytes, int] = {}
    counts = np.zeros(1 << 16, np.int64)
    digest = hashlib.sha256()
    tokens = lines = written = 0
    with open(folder / IDS, "wb") as file, Progress("words read", name, None, verbose, speed=True) as progress:
        at_line_end = True
        for block in blocks:
            digest.update(block)
            words, places, found = (part.numpy() for part in _splitter(split)(tf.constant(block)))
            own = np.array(
                [-1 if word == LINE_END else numbers.setdefault(word, len(numbers)) for word in words.tolist()],
                np.int32,
            )
            if len(numbers) > len(counts):
                counts = np.concatenate([counts, np.zeros(len(numbers), np.int64)])
            counts[own[own >= 0]] += found[own >= 0]
            ids = own[places]
            # Empty lines say nothing: one end after another is left out.
            before = np.concatenate([[-1 if at_line_end else 0], ids[:-1]]) if len(ids) else ids
            ids = ids[(ids >= 0) | (before >= 0)]
            file.write(ids.tobytes())
            read = int((ids >= 0).sum())
            tokens, lines, written = tokens + read, lines + len(ids) - read, written + len(ids)
            at_line_end = bool(ids[-1] < 0) if len(ids) else at_line_end
            progress.add(read)
        passages = -(-written // PASSAGE)
        file.write(np.full(passages * PASSAGE - written, -1, np.int32).tobytes())
    (folder / WORDS).write_bytes(b"".join(word + b"\0" for word in numbers))
    np.save(folder / COUNTS, counts[: len(numbers)])
    about = {"format": FORMAT, "tokens": tokens, "lines": lines, "passages": passages, "digest": digest.hexdigest()}
    (folder / RECORD).write_text(json.dumps(about))


@functools.cache
def _splitter(split: str) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """Make the function from a block of text to its different words, the place of each among them, and their counts."""

    def different(block: tf.Tensor) -> tuple[tf.Tensor, ...]:
        block = tf.strings.regex_replace(block, r"\x00", " ")  # what ends a word in words.bin
        lines = tf.strings.split(block, "\n")
        ended = tf.size(lines) - 1
        ends = tf.RaggedTensor.from_row_lengths(
            tf.fill([ended], LINE_END), tf.concat([tf.ones([ended], tf.int64), [0]], 0)
        )
        words = tf.concat([split_words(lines, split), ends], 1)
        return tuple(tf.unique_with_counts(words.flat_values))

    return tf.function(different, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
