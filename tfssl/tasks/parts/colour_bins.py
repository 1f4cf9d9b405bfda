"""Bins of colours: which are near to a colour, which are rare, and what a distribution over them means.

Colours are whole numbers a and b, so all of it is looked up in tables over the 256 x 256 values of int8.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tfssl.pipelines.ops import lab

LEVELS = 256
SMOOTHING = 5.0
"""Smoothing of the statistics of colours, in units of ab: the deviation of a Gaussian, as in Zhang et al. 2016."""

_ROWS = 4096  # of the tables, worked out at once


@dataclasses.dataclass(frozen=True, eq=False)
class Tables:
    """What is known of each colour, by `place`.

    Attributes:
      bins: float32 [Q, 2], a and b of the bins.
      neighbours: int32 [65536, k], the nearest bins, the nearest first.
      shares: float32 [65536, k], how much of the colour each of these gets; they sum to 1.
    """

    bins: np.ndarray
    neighbours: np.ndarray
    shares: np.ndarray


@functools.cache
def tables(neighbours: int = 1, sigma: float = 5.0) -> Tables:
    """Make the soft encoding: a colour belongs to its nearest bins by a Gaussian of their distance (Zhang et al. 2016).

    Args:
      neighbours: how many bins a colour is divided among.
      sigma: deviation of the Gaussian, in units of ab.
    """
    bins = lab.gamut_bins()
    count = min(neighbours, len(bins))
    values = np.arange(LEVELS) - LEVELS // 2
    colours = np.stack(np.meshgrid(values, values, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
    nearest, distances = [], []
    for start in range(0, len(colours), _ROWS):
        squared = ((colours[start : start + _ROWS, None] - bins) ** 2).sum(-1)
        chosen = np.argpartition(squared, min(count, len(bins) - 1), axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(squared, chosen, 1), axis=1, kind="stable")
        nearest.append(np.take_along_axis(chosen, order, 1))
        distances.append(np.take_along_axis(squared, nearest[-1], 1))
    squared = np.concatenate(distances)
    # Against the nearest, or colours far from every bin would have nothing but zeros.
    shares = np.exp((squared[:, :1] - squared) / (2 * sigma**2))
    shares = shares / shares.sum(1, keepdims=True)
    return Tables(bins, np.concatenate(nearest).astype(np.int32), shares.astype(np.float32))


def place(ab: tf.Tensor) -> tf.Tensor:
    """Return rows of the tables, int32 [...], for whole numbers a and b of any dtype [..., 2], from -128 to 127."""
    whole = tf.cast(ab, tf.int32) + LEVELS // 2
    return whole[..., 0] * LEVELS + whole[..., 1]


def nearest_bin(ab: tf.Tensor) -> tf.Tensor:
    """Return the nearest bin, int32 [...], of whole numbers a and b [..., 2]."""
    return tf.gather(tf.constant(tables().neighbours[:, 0]), place(ab))


def annealed_mean(logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return the colour that a distribution over bins stands for: its mean at a temperature (Zhang et al. 2016).

    Args:
      logits: float [..., Q].
      temperature: 1 for the mean, which is greyish; towards 0 for the commonest bin, which is patchy.

    Returns:
      a and b, float32 [..., 2].
    """
    sharpened = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
    return tf.tensordot(sharpened, tf.constant(lab.gamut_bins()), 1)


def shares_of_bins(counts: np.ndarray) -> np.ndarray:
    """Say how common bins are, smoothed over ab: counts [Q] -> float64 [Q], which sum to 1."""
    bins = lab.gamut_bins()
    squared = ((bins[:, None] - bins) ** 2).sum(-1)
    spread = np.exp(-squared / (2 * SMOOTHING**2))
    smooth = (counts / spread.sum(1)) @ spread
    return smooth / smooth.sum()


def rebalancing(shares: np.ndarray, rebalance: float) -> np.ndarray:
    """Return the weight of a pixel, by its bin: larger for rare colours, and 1 in the mean over pixels.

    Args:
      shares: how common each bin is, [Q].
      rebalance: part of the uniform distribution that is mixed in; 1 counts all alike, 0 by the bare inverse.

    Returns:
      float32 [Q]: 1 / ((1 - rebalance) * share + rebalance / Q), so scaled that its mean by `shares` is 1.
    """
    weights = 1 / ((1 - rebalance) * shares + rebalance / len(shares))
    return (weights / (weights * shares).sum()).astype(np.float32)
