"""The most similar of a stream, a few for each of some questions: what came by and is less similar is forgotten."""

import numpy as np

NONE = -1
"""The number in a place that nothing fills."""


class Closest:
    """The `count` most similar of all that `add` was given, for each of Q questions.

    Memory is taken for Q x `count`, however long the stream.

    Attributes:
      similarity: float32 [Q, count], the most similar first; -inf where there are fewer.
      numbers: int64 [Q, count], of what these are; `NONE` where there are fewer.
    """

    def __init__(self, questions: int, count: int):
        self.similarity = np.full((questions, count), -np.inf, np.float32)
        self.numbers = np.full((questions, count), NONE, np.int64)
        self._keys = np.full((questions, count), NONE, np.int64)

    def add(self, similarity: np.ndarray, numbers: np.ndarray, keys: np.ndarray) -> None:
        """Take in n more.

        Args:
          similarity: float [Q, n]; -inf for what a question must not be answered by.
          numbers: int [n], by which they are known.
          keys: int [n], 0 or more: of those with one key only the most similar is kept, the earlier of two that are
            level.
        """
        count = self.numbers.shape[1]
        scores = np.concatenate([self.similarity, similarity], 1, dtype=np.float32)
        every = [
            np.concatenate([own, np.broadcast_to(new, similarity.shape)], 1)
            for own, new in ((self.numbers, numbers), (self._keys, keys))
        ]
        order = np.argsort(-scores, 1, kind="stable")
        scores, names, marks = (np.take_along_axis(values, order, 1) for values in (scores, *every))
        by_key = np.argsort(marks, 1, kind="stable")
        sorted_marks = np.take_along_axis(marks, by_key, 1)
        again = np.zeros(marks.shape, bool)
        np.put_along_axis(again, by_key[:, 1:], sorted_marks[:, 1:] == sorted_marks[:, :-1], 1)
        scores[again] = -np.inf
        order = np.argsort(-scores, 1, kind="stable")[:, :count]
        self.similarity = np.take_along_axis(scores, order, 1)
        there = np.isfinite(self.similarity)
        self.numbers = np.where(there, np.take_along_axis(names, order, 1), NONE)
        self._keys = np.where(there, np.take_along_axis(marks, order, 1), NONE)
