"""Words and their windows, in the graph: sub-sampling, windows of drawn reach, and words drawn as noise.

All draws are stateless. As in word2vec's own code and in gensim, rare words and those that sub-sampling leaves out are
gone before windows are laid, so that a window reaches over them; none reaches over the end of a line.

Words are laid in rows: `ROW` of them are asked for in each, and `reach` on both sides are seen beside them. So no pair
is lost between rows, each word's vector is read about once and not once a pair, and all scores of a row are one product
of matrices. (Ji et al. 2016, arXiv 1604.04661, make such products of one word's window.)
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

ROW = 16
"""Words of a row that are asked for. Of more, more of the product is outside of windows; fewer overlap more."""
LARGEST_DRAW = 2**31 - 1


class Rows(NamedTuple):
    """Words in rows; R is fixed, and rows behind the last word are empty.

    Attributes:
      context: int32 [R, ROW + 2 reach], numbers of words, 0 where there is none.
      centre: int32 [R, ROW], those that are asked for: `context` without what is beside.
      window: bool [R, ROW, ROW + 2 reach], whether a word stands in the window of a centre.
    """

    context: tf.Tensor
    centre: tf.Tensor
    window: tf.Tensor


def keep_shares(counts: np.ndarray, sample: float) -> np.ndarray:
    """Return the share of each word's occurrences that sub-sampling keeps, float32 [V], 0..1.

    (sqrt(f / sample) + 1) * sample / f of a word of frequency f, as word2vec's code and gensim have it; the paper
    (Mikolov et al. 2013, arXiv 1310.4546) has sqrt(sample / f).

    Args:
      counts: of the vocabulary.
      sample: 0 to keep all.
    """
    if not sample:
        return np.ones(len(counts), np.float32)
    ratio = counts / (sample * counts.sum())
    return np.minimum((np.sqrt(ratio) + 1) / ratio, 1).astype(np.float32)


def noise_table(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Return cumulated chances of words as noise, int32 [V], up to `LARGEST_DRAW`: counts to the power of `exponent`.

    In whole numbers, as float32 does not tell a hundred thousand words apart.
    """
    chances = np.cumsum(counts.astype(np.float64) ** exponent)
    return np.round(chances / chances[-1] * LARGEST_DRAW).astype(np.int32)


def lay_rows(numbers: tf.Tensor, ends: tf.Tensor, keep: tf.Tensor, reach: int, seed: tf.Tensor) -> Rows:
    """Leave words out, and lay the others in rows.

    Args:
      numbers: int32 [N], N a multiple of `ROW`: the words of a text, -1 of those that the vocabulary lacks.
      ends: bool [N], where a line ends, in place of a word.
      keep: float32 [V], the share that is kept of each word.
      reach: largest reach of a window; that of each centre is drawn from 1 to it.
      seed: int32 [2].
    """
    keep_seed, reach_seed = tf.unstack(tf.random.split(seed, 2))
    count = numbers.shape[0]
    chance = tf.where(numbers >= 0, tf.gather(keep, tf.maximum(numbers, 0)), 0.0)
    kept = tf.random.stateless_uniform([count], keep_seed) < chance
    room = [[reach, count - tf.math.count_nonzero(kept, dtype=tf.int32) + reach]]
    words = tf.ensure_shape(tf.pad(tf.boolean_mask(numbers, kept), room), [count + 2 * reach])
    line = tf.pad(tf.boolean_mask(tf.cumsum(tf.cast(ends, tf.int32)), kept), room, constant_values=-1)
    rows = count // ROW
    places = np.arange(rows)[:, None] * ROW + np.arange(ROW + 2 * reach)
    context, lines = tf.gather(words, places), tf.gather(line, places)
    middle = slice(reach, reach + ROW)
    away = np.abs(np.arange(ROW + 2 * reach) - reach - np.arange(ROW)[:, None])
    reaches = tf.random.stateless_uniform([rows, ROW, 1], reach_seed, 1, reach + 1, tf.int32)
    own = lines[:, middle, None]
    window = (away > 0) & (away <= reaches) & (lines[:, None] == own) & (own >= 0)
    return Rows(context, context[:, middle], window)


def draw_noise(table: tf.Tensor, rows: int, count: int, seed: tf.Tensor) -> tf.Tensor:
    """Draw words by a `noise_table`, int32 [rows, count]."""
    drawn = tf.random.stateless_uniform([rows * count], seed, 0, LARGEST_DRAW, tf.int32)
    return tf.reshape(tf.searchsorted(table, drawn, side="right"), [rows, count])
