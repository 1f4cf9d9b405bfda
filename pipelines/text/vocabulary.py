"""The vocabulary of a corpus: its words that come often enough, counted once."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from tfssl.pipelines.text import splitting
from tfssl.pipelines.text.corpus import Corpus

CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words by number, the commonest first; words that come equally often in the order of their bytes.

    Attributes:
      words: bytes of UTF-8.
      counts: int64 [V], how often each came in the corpus that it was counted in.
      lower: whether words were put into lower case before they were counted.
      split: how the text was split, see `splitting.SPLITS`.
    """

    words: Sequence[bytes]
    counts: np.ndarray
    lower: bool
    split: str

    def __len__(self) -> int:
        return len(self.words)

    @property
    def texts(self) -> list[str]:
        """The words as text."""
        return [word.decode() for word in self.words]

    def numbers(self, words: Iterable[bytes]) -> np.ndarray:
        """Return the number of each of these words, int32 [N], -1 of those that it lacks."""
        place = {word: number for number, word in enumerate(self.words)}
        return np.array([place.get(word, -1) for word in self._folded(list(words))], np.int32)

    def _folded(self, words: list[bytes]) -> list[bytes]:
        return _lower(words) if self.lower else words

    def as_arrays(self) -> dict[str, Any]:
        """Return what makes it again: "words", all as uint8, each ended by a zero; "counts"; "lower" and "split"."""
        joined = b"".join(word + b"\0" for word in self.words)
        words = np.frombuffer(joined, np.uint8)
        return {"words": words, "counts": self.counts, "lower": self.lower, "split": self.split}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Invert `as_arrays`."""
        words = np.asarray(arrays["words"], np.uint8).tobytes().split(b"\0")[:-1]
        return cls(words, np.asarray(arrays["counts"], np.int64), bool(arrays["lower"]), str(arrays["split"]))


def count(corpus: Corpus, min_count: int, lower: bool) -> Vocabulary:
    """Count the words of a corpus; those that come less than `min_count` times are left out."""
    counts: Counter[bytes] = Counter()
    folded = _lower(corpus.types) if lower else corpus.types
    for word, number in zip(folded, corpus.counts.tolist(), strict=True):
        counts[word] += number
    kept = sorted((-number, word) for word, number in counts.items() if number >= min_count)
    return Vocabulary([word for _, word in kept], np.array([-n for n, _ in kept], np.int64), lower, corpus.split)


def _lower(words: list[bytes]) -> list[bytes]:
    parts = (words[start : start + CHUNK] for start in range(0, len(words), CHUNK))
    return [word for part in parts for word in splitting.lower(tf.constant(part)).numpy().tolist()]
