"""Word2vec: which word is missing?"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.words import Embedding
from tfssl.pipelines.text import vocabulary, windows
from tfssl.pipelines.text.vocabulary import Vocabulary
from tfssl.tasks.base import Batch, Encoders, Puzzle
from tfssl.tasks.parts.many_updates import ManyUpdates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tfssl.pipelines.sources.any_source import AnySource

MODELS = ("cbow", "skipgram")


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """A text as a vocabulary reads it: the number of each of its different words, int32 [T], -1 of those it lacks."""

    numbers: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Word2Vec(ManyUpdates):
    """Which word is missing? (Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546)

    A word of a sentence is left out, and told from words drawn at random (negative sampling): "cbow" by the mean of the
    words around it, "skipgram" by each of them. Settings and defaults are gensim's (4.4, `Word2Vec`), whose code is
    followed: windows of drawn reach, sub-sampling before windows are laid, two tables, of which the first begins
    uniform and the second at zero, and the first is what is learned.

    Differs from gensim:
      noise: gensim draws `negatives` words anew for each pair. Here `pool` are drawn for a row of 16 words, which share
        them, each counted negatives / pool times: the same in expectation, and ten times less to read and write.
      updates: gensim changes the tables after each pair. Here the gradients of `update` words, from all over a step,
        are summed first; a word that comes often among them goes no farther than to where its loss is least.
      the end of a step: windows do not reach over it, as gensim's do not over 10,000 words.

    Puzzle: {"words": int32 [8B, C], "targets": int32 [8B, 16 + pool]} of B passages, C = 16 + 2 window: rows of words
      in their order; the words that are asked for, those in the middle of `words`, and the noise. With "cbow" also
      "window": float32 [8B, 16, C], 1 for the words that each of the 16 is asked for by, 0 for others.
    Answer: float32 [8B, 1, 16 + pool], 1 for words and 0 for noise.
    Weight: float32 [8B, C, 16 + pool] ("cbow": [8B, 16, 16 + pool]), how often each score counts; 0 outside of
      windows, of words that are not asked for, in rows that are empty, and where noise is the word itself.
    Head: scores, float32 of the shape of the weights: how much more likely a word is here than as noise, as log odds.
    Loss: binary cross-entropy, the sum over a row, the mean over rows. What a run logs is the mean over words (pairs)
      with their noise; (1 + negatives) * ln 2 as long as nothing is learned.

    Settings, gensim's names where they differ in parentheses:
      model: "cbow" or "skipgram" (sg).
      size: D, numbers of a vector (vector_size).
      window: largest reach of a window; that of each word is drawn from 1 to it.
      min_count: rarer words are left out.
      negatives: words of noise for each word or pair (negative).
      exponent: of the counts, for the chances of words as noise (ns_exponent).
      sample: frequency from which on words are thinned out; 0 for none.
      alpha, min_alpha: learning rate at the beginning and at the end, linear in between.
      lower: whether words are put into lower case; gensim leaves that to its caller.
      pool: words of noise that a row of 16 words shares.
      update: words of an update, a multiple of 16.
    """

    model: str = "cbow"
    size: int = 100
    window: int = 5
    min_count: int = 5
    negatives: int = 5
    exponent: float = 0.75
    sample: float = 1e-3
    alpha: float = 0.025
    min_alpha: float = 0.0001
    lower: bool = True
    pool: int = 32
    update: int = 256
    vocabulary: Any = dataclasses.field(default=(), repr=False, compare=False, metadata={"learned": True})
    reading: Any = dataclasses.field(default=None, repr=False, compare=False, metadata={"learned": True})
    name: ClassVar[str] = "word2vec"
    reads: ClassVar[tuple[str, ...]] = ("words",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in MODELS:
            raise UserError(f"word2vec: model={self.model!r} is given, expected one of: {', '.join(MODELS)}")
        for setting in ("size", "window", "min_count", "negatives", "pool"):
            if getattr(self, setting) < 1:
                raise UserError(f"word2vec: {setting}={getattr(self, setting)} is given, expected at least 1")
        if self.update < windows.ROW or self.update % windows.ROW:
            raise UserError(f"word2vec: update={self.update} is given, expected a multiple of {windows.ROW}")
        if not 0 <= self.sample < 1:
            raise UserError(f"word2vec: sample={self.sample} is given, expected 0 (none), or a frequency below 1")
        if not 0 < self.min_alpha <= self.alpha < float("inf"):
            raise UserError(
                f"word2vec: alpha={self.alpha} and min_alpha={self.min_alpha} are given, expected"
                " 0 < min_alpha <= alpha"
            )

    def prepared(self, source: "AnySource") -> Self:
        """Count the vocabulary. Raise UserError where it has fewer words than there are negatives."""
        counted = vocabulary.count(source.corpus, self.min_count, self.lower)  # type: ignore[attr-defined]
        if len(counted) <= self.negatives:
            raise UserError(
                f"word2vec: {len(counted)} words of {source.name} come {self.min_count} times or more, and"
                f" negatives={self.negatives} need more than so many; give more text, or a smaller min_count or"
                " negatives"
            )
        return dataclasses.replace(self, vocabulary=counted)

    def learned(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary.as_arrays()}

    def with_learned(self, values: Any) -> Self:
        return dataclasses.replace(self, vocabulary=Vocabulary.from_arrays(values["vocabulary"]))

    def on(self, source: "AnySource") -> Self:
        corpus = source.corpus  # type: ignore[attr-defined]
        if corpus.split != self.vocabulary.split:
            raise UserError(
                f"{source.name} is split at {corpus.split}, and the text of the run was split at"
                f" {self.vocabulary.split}; give text(split={self.vocabulary.split!r}):FILES"
            )
        return dataclasses.replace(self, reading=Reading(self.vocabulary.numbers(corpus.types)))

    def for_shapes(self) -> Self:
        some = Vocabulary([b"a", b"b"], np.ones(2, np.int64), self.lower, "words")
        return dataclasses.replace(self, vocabulary=some, reading=Reading(np.zeros(1, np.int32)))

    def advice(self, size: int, source: "AnySource | None" = None) -> list[str]:
        kept = int(self.vocabulary.counts.sum()) if self.vocabulary else 0
        if source is None or not kept:
            return []
        tokens = source.corpus.tokens  # type: ignore[attr-defined]
        remain = float((self._keep * self.vocabulary.counts).sum()) / kept
        return [
            f"a vocabulary of {len(self.vocabulary):,} words, {100 * kept / tokens:.1f} % of the {tokens:,} of the"
            f" text; {100 * remain:.1f} % of these remain after sub-sampling"
        ]

    @property
    def rows_an_update(self) -> int:
        return self.update // windows.ROW

    @property
    def table_shape(self) -> tuple[int, int]:
        return len(self.vocabulary), self.size

    def learning_rate(self, done: float) -> float:
        return self.alpha - (self.alpha - self.min_alpha) * min(1.0, done)

    @functools.cached_property
    def _keep(self) -> np.ndarray:
        return windows.keep_shares(self.vocabulary.counts, self.sample)

    def puzzles(self, batch: Batch, seed: tf.Tensor) -> Puzzle:
        window_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
        read = tf.reshape(batch["words"], [-1])
        with tf.init_scope():  # constants beside the graph, not in it
            numbers, keep = tf.constant(self.reading.numbers), tf.constant(self._keep)
            table = tf.constant(windows.noise_table(self.vocabulary.counts, self.exponent))
        known = tf.where(read >= 0, tf.gather(numbers, tf.maximum(read, 0)), -1)
        rows = windows.lay_rows(known, read < 0, keep, self.window, window_seed)
        noise = windows.draw_noise(table, rows.context.shape[0], self.pool, noise_seed)
        puzzle = {"words": rows.context, "targets": tf.concat([rows.centre, noise], 1)}
        window = tf.cast(rows.window, tf.float32)
        each = self.negatives / self.pool
        differs = each * tf.cast(rows.centre[:, :, None] != noise[:, None], tf.float32)
        if self.model == "cbow":
            seen = tf.reduce_sum(window, 2, keepdims=True)
            puzzle["window"] = window
            own = tf.eye(windows.ROW, batch_shape=[window.shape[0]])
            weight = tf.concat([own, differs], 2) * tf.cast(seen > 0, tf.float32)
        else:
            weight = tf.concat([tf.transpose(window, [0, 2, 1]), tf.matmul(window, differs, transpose_a=True)], 2)
        truth = tf.concat([tf.ones([windows.ROW]), tf.zeros([self.pool])], 0)
        answer = tf.tile(truth[None, None], [weight.shape[0], 1, 1])
        return puzzle, answer, weight

    def head(self, encoders: Encoders, puzzle: Any) -> keras.KerasTensor:
        table = Embedding(*self.table_shape, embeddings_initializer="zeros", name="word2vec_second_table")
        seen, targets = encoders["words"](puzzle["words"]), table(puzzle["targets"])
        asking = seen if self.model == "skipgram" else WindowMean(name="word2vec_mean")([puzzle["window"], seen])
        return keras.layers.Dot((2, 2), name="word2vec_scores")([asking, targets])

    def learn(
        self,
        variables: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        puzzle: Any,
        answer: tf.Tensor,
        weight: tf.Tensor,
    ) -> tf.Tensor:
        table, second = variables
        words, targets = puzzle["words"], puzzle["targets"]
        seen, before = tf.gather(table.value, words), tf.gather(second.value, targets)
        asking = seen if self.model == "skipgram" else window_mean(puzzle["window"], seen)
        scores = tf.matmul(asking, before, transpose_b=True)
        likely = tf.sigmoid(scores)
        by_score = self.weight * weight * (likely - answer)
        steep = self.weight * weight * likely * (1 - likely)
        rate = tf.cast(optimizer.learning_rate, tf.float32)
        by_targets = tf.matmul(by_score, asking, transpose_a=True)
        steep_targets = tf.matmul(steep, _squares(asking), transpose_a=True)
        optimizer.apply([_rows(by_targets, steep_targets, targets, second, rate)], [second])
        # gensim's skip-gram changes a word's second vector between the words of its window, each of which then learns
        # from what it has become. All at once they would learn from what it was, and lag behind: the mean of both lets
        # both tables grow alike, as they do word by word. By one mean of its window, cbow learns at once there too.
        now = before if self.model == "cbow" else (before + tf.gather(second.value, targets)) / 2
        by_asking, steep_asking = tf.matmul(by_score, now), tf.matmul(steep, _squares(before))
        if self.model == "cbow":
            window = puzzle["window"]
            by_asking, steep_asking = (tf.matmul(window, each, transpose_a=True) for each in (by_asking, steep_asking))
        optimizer.apply([_rows(by_asking, steep_asking, words, table, rate)], [table])
        return tf.reduce_sum(weight * (tf.nn.softplus(scores) - answer * scores))

    def make_loss(self) -> keras.losses.Loss:
        return TrueOrNoise()

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def picture(self, puzzle: Any, answer: Any, prediction: Any = None, count: int = 8) -> "Figure":
        from matplotlib.figure import Figure

        words, middle = np.asarray(puzzle["words"]), self.window + windows.ROW // 2
        reach = slice(middle - self.window, middle + self.window + 1)
        rows = [row for row in range(len(words)) if np.asarray(self._counted(puzzle, row)).any()][:count]
        figure = Figure(figsize=(9, 0.4 * len(rows) + 0.4), layout="constrained")
        for line, row in enumerate(rows):
            said = [self.vocabulary.words[number].decode() for number in words[row, reach]]
            said[self.window] = "____"
            if "window" in puzzle:  # as cbow has it; others show what is beyond the window or the line, too
                seen = np.asarray(puzzle["window"])[row, windows.ROW // 2, reach] > 0
                said = [word for place, word in enumerate(said) if seen[place] or place == self.window]
            noise = [self.vocabulary.words[number].decode() for number in np.asarray(puzzle["targets"])[row, -3:]]
            text = f"{' '.join(said)}    {self.vocabulary.words[words[row, middle]].decode()}, not {', '.join(noise)}"
            figure.text(0.01, 1 - (line + 0.7) / (len(rows) + 1), text, fontsize=9, parse_math=False)
        return figure

    def _counted(self, puzzle: Any, row: int) -> Any:
        return puzzle["window"][row] if "window" in puzzle else puzzle["words"][row]


class WindowMean(keras.layers.Layer):
    """The mean of the words around each that is asked for.

    Its gradient is that of the sum: word2vec's own code and gensim (`cbow_mean=1`) hand all of the mean's gradient to
    each of the words, and do not divide it by their count.

    Input: window float32 [R, L, C] of zeros and ones, vectors of words [R, C, D]. Output: [R, L, D].
    """

    def call(self, inputs: Any) -> tf.Tensor:
        window, seen = inputs
        total = tf.matmul(window, seen)
        return total + tf.stop_gradient(window_mean(window, seen) - total)


def window_mean(window: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Return the means of the words of windows, float32 [R, L, D]; zeros of an empty one. Inputs as of `WindowMean`."""
    return tf.math.divide_no_nan(tf.matmul(window, seen), tf.reduce_sum(window, 2, keepdims=True))


def _squares(vectors: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(vectors), -1, keepdims=True)


def _rows(
    gradient: tf.Tensor, steep: tf.Tensor, numbers: tf.Tensor, table: keras.Variable, rate: tf.Tensor
) -> tf.IndexedSlices:
    """Make the gradient of a table of that of its rows: only these are read and written, whatever its length.

    A word that comes often in one update is changed by the sum of its gradients, all of them of what it was. Word by
    word it would come to rest where the sum goes far beyond, and then diverges. So a row goes at most as far as to
    where its loss is least, as its curvature tells: rarely shorter than the sum, and always stable.

    Args:
      gradient, steep: float32 [R, n, D] and [R, n, 1], gradients of rows, and curvatures of the loss along them.
      numbers: int32 [R, n].
      rate: the learning rate.
    """
    places = tf.reshape(numbers, [-1])
    different, place = tf.unique(places)
    curvature = tf.math.unsorted_segment_sum(tf.reshape(steep, [-1]), place, tf.size(different))
    scale = tf.minimum(1.0, tf.math.divide_no_nan(1.0, rate * curvature) + tf.cast(curvature <= 0, tf.float32))
    values = tf.reshape(gradient, [-1, table.shape[1]]) * tf.gather(scale, place)[:, None]
    return tf.IndexedSlices(values, places, tf.constant([*table.shape]))


class TrueOrNoise(keras.losses.Loss):
    """Binary cross-entropy of log odds [R, n, m], the sum over a row and the mean over rows; answers broadcast."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        size = float(y_pred.shape[1] * y_pred.shape[2])  # Keras takes the mean over all
        return size * (tf.nn.softplus(y_pred) - y_true * y_pred)
