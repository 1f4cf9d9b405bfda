"""A table of words: the encoder of a run on text."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf


class Embedding(keras.layers.Embedding):
    """Keras's Embedding, of whose table only the rows that are asked for are read.

    Keras converts the table to a tensor first (3.15): TensorFlow then copies all of it at the next update, at every
    step, as a tensor must not change.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._embeddings.value, inputs)


Embedding.__module__ = "keras.layers"
"""So a saved model names Keras's own layer, whose function, weights and settings are the same, and loads anywhere."""


@dataclasses.dataclass(frozen=True)
class WordTable:
    """A table of vectors, one a word.

    Attributes:
      body: int32 [N, (words)] -> float32 [N, (words), D].
    """

    body: keras.Model

    def __call__(self, words: Any) -> keras.KerasTensor:
        return self.body(words)

    @property
    def layer(self) -> keras.layers.Embedding:
        """The layer that holds the table, [V, D]."""
        return self.body.layers[-1]

    def flat(self) -> keras.Model:
        """Return the table as a model of single words: int32 [N] -> float32 [N, D]."""
        words = keras.Input((), dtype="int32", name="words")
        return keras.Model(words, self.layer(words), name="words")


def make_table(count: int, size: int) -> WordTable:
    """Make a table of `count` vectors of `size` numbers, uniform in -1 / size .. 1 / size.

    So it is in gensim (4.4); word2vec's own code has half of it, and learns less in the first epoch of a small text.
    """
    draw = keras.initializers.RandomUniform(-1 / size, 1 / size)
    return _around(Embedding(count, size, embeddings_initializer=draw, name="table"))


def table_of(model: keras.Model) -> WordTable:
    """Return the table of a model that `WordTable.flat` made and Keras has loaded."""
    return _around(model.layers[-1])


def _around(layer: keras.layers.Embedding) -> WordTable:
    words = keras.Input((None,), dtype="int32", name="words")
    return WordTable(keras.Model(words, layer(words), name="body"))
