"""Signatures of a run on text: vectors of words, of sentences, and of numbers for what has no strings."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfssl.export.signatures import limits
from tfssl.export.signatures.encoder import Signature
from tfssl.pipelines.text import splitting
from tfssl.pipelines.text.vocabulary import Vocabulary

INPUTS: dict[str, tuple[str, ...]] = {
    "serving_default": ("words",),
    "words": ("words",),
    "sentences": ("sentences",),
    "numbers": ("numbers",),
}
"""The signatures of a table of words, with the names of their inputs."""
NUMBERS = "numbers"
MAX_TEXT = 2**20
"""Bytes of a word or sentence: 1 MiB. Of a longer one nothing is known."""


class WordSignatures:
    """Signatures of a table of words, and the graph's own dictionary, which must live as long as they do.

    `serving_default` and `words` take `words` string [N] and return `embedding` float32 [N, D] and `known` bool [N]: a
    word that the vocabulary lacks gives false and zeros. `sentences` takes `sentences` string [N], splits them as the
    run's text was split, and returns the mean `embedding` of the words that are known, and `known`, whether any is.
    `numbers` takes `numbers` int32 [N], places in the vocabulary, and returns `embedding`, zeros of what is no place.

    Args:
      vocabulary: V words.
      table: float32 [V, D].
    """

    def __init__(self, vocabulary: Vocabulary, table: np.ndarray):
        self.table = tf.Variable(table, trainable=False, name="table")
        words = tf.constant(list(vocabulary.words))
        pairs = tf.lookup.KeyValueTensorInitializer(words, tf.range(len(vocabulary), dtype=tf.int32))
        self.dictionary = tf.lookup.StaticHashTable(pairs, -1)
        self._vocabulary = vocabulary

    def signatures(self) -> Sequence[Signature]:
        """Make them."""
        words, sentences = (tf.TensorSpec([None], tf.string, name=name) for name in ("words", "sentences"))
        numbers = tf.TensorSpec([None], tf.int32, name=NUMBERS)
        return [
            Signature("serving_default", (words,), self._of_words),
            Signature("words", (words,), self._of_words),
            Signature("sentences", (sentences,), self._of_sentences),
            Signature(NUMBERS, (numbers,), self._of_numbers),
        ]

    def _of_words(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(words)
        numbers = self._numbers(_short(words)[:count])
        return {"embedding": self._vectors(numbers), "known": numbers >= 0}

    def _of_sentences(self, sentences: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(sentences)
        split = splitting.split_words(_short(sentences)[:count], self._vocabulary.split)
        numbers, rows = self._numbers(split.flat_values), split.value_rowids()
        found, row = tf.boolean_mask(numbers, numbers >= 0), tf.boolean_mask(rows, numbers >= 0)
        sums = tf.math.unsorted_segment_sum(tf.gather(self.table, found), row, count)
        seen = tf.math.unsorted_segment_sum(tf.ones_like(found, tf.float32), row, count)
        return {"embedding": tf.math.divide_no_nan(sums, seen[:, None]), "known": seen > 0}

    def _of_numbers(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(numbers)
        return {"embedding": self._vectors(numbers[:count])}

    def _numbers(self, words: tf.Tensor) -> tf.Tensor:
        return self.dictionary.lookup(splitting.lower(words) if self._vocabulary.lower else words)

    def _vectors(self, numbers: tf.Tensor) -> tf.Tensor:
        known = (numbers >= 0) & (numbers < self.table.shape[0])
        return tf.where(known[:, None], tf.gather(self.table, tf.where(known, numbers, 0)), 0.0)


def _short(texts: tf.Tensor) -> tf.Tensor:
    """Return texts, with nothing in place of what is too long or no UTF-8: others of a request must not fail by it."""
    clean = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replacement_char=0x20)
    fine = (tf.strings.length(texts) <= MAX_TEXT) & (clean == texts)
    return tf.where(fine, texts, "")
