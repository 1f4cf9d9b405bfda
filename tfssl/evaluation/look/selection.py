"""What to label first: typical pictures that differ from each other, by TypiClust."""

import warnings

import numpy as np

LIMIT = 500
"""Clusters at most."""
LEAST = 5
"""A cluster of so many pictures or fewer is passed over."""
NEIGHBOURS = 20
"""K of typicality."""
EXACT = 50
"""Up to so many clusters by k-means, beyond by mini-batches of it."""


def select(features: np.ndarray, labelled: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Select pictures to label by TypiClust, the first one first: Hacohen et al. 2022 (arXiv 2202.02794).

    All are divided into min(labelled + count, 500) clusters by k-means. In turn, beginning with the clusters that have
    the fewest labels, and of those with the largest, the most typical picture of each is taken: typicality is one over
    the mean Euclidean distance to the K nearest of the cluster that are neither labelled nor taken, with K 20, or half
    of these where that is fewer. Clusters of 5 pictures or fewer are passed over, unless there are no others. So in the
    authors' code, which differs from this in that it squares the distances; the paper does not.

    Args:
      features: float32 [N, D], rows of length 1.
      labelled: bool [N], which have a label.
      count: how many, at most those without a label.
      seed: of k-means.

    Returns:
      int [count], in the order in which they were taken.
    """
    clusters = _clusters(features, min(int(labelled.sum()) + count, LIMIT), seed)
    sizes = np.bincount(clusters)
    labels = np.bincount(clusters[labelled], minlength=len(sizes))
    order = np.lexsort((-sizes, labels))
    large = [each for each in order.tolist() if sizes[each] > LEAST]
    small = [each for each in order.tolist() if 0 < sizes[each] <= LEAST]
    left = {each: np.flatnonzero((clusters == each) & ~labelled) for each in [*large, *small]}
    selected: list[int] = []
    while len(selected) < count:
        turn = [each for each in large if len(left[each])] or [each for each in small if len(left[each])]
        for each in turn[: count - len(selected)]:
            best = int(left[each][typicality(features[left[each]]).argmax()])
            selected.append(best)
            left[each] = left[each][left[each] != best]
    return np.array(selected)


def typicality(features: np.ndarray) -> np.ndarray:
    """Return how typical each row of a cluster is for it, float [n]: see `select`."""
    from sklearn.metrics import pairwise_distances

    k = min(NEIGHBOURS, len(features) // 2)
    if k < 1:
        return np.ones(len(features))
    parts = []
    for start in range(0, len(features), 1024):
        distances = pairwise_distances(features[start : start + 1024].astype(np.float64), features.astype(np.float64))
        distances[np.arange(len(distances)), start + np.arange(len(distances))] = np.inf  # itself
        parts.append(np.partition(distances, k - 1, 1)[:, :k].mean(1))
    return 1 / (np.concatenate(parts) + 1e-5)


def _clusters(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if count <= EXACT:
        method = KMeans(count, n_init=10, random_state=seed)
    else:
        method = MiniBatchKMeans(count, batch_size=5000, n_init=3, random_state=seed)
    with warnings.catch_warnings():  # fewer different rows than clusters are no fault here
        warnings.simplefilter("ignore")
        return method.fit_predict(features)
