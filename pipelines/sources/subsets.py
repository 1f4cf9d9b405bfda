"""A few of many pictures, drawn so that they stand for all."""

import numpy as np

from tfssl.pipelines.sources.source import AnySource


def limited(source: AnySource, limit: int | None, balanced: bool, seed: int) -> AnySource:
    """Draw at most `limit` pictures of a source, the same at each call, so that nothing else differs on them.

    Args:
      limit: how many; all where None.
      balanced: as many of each class as there are; where a class has too few, all of it, and more of the others.
        Otherwise any pictures, so that shares of classes, and what a top-1 means, stay about what they are.
      seed: other seeds draw others.
    """
    if limit is None or limit >= source.count:
        return source
    rng = np.random.default_rng(seed)
    order = rng.permutation(source.count)
    if balanced and source.labels is not None:
        labels = source.labels[order]
        rank = np.zeros(len(order), np.int64)  # how many of its class come before each
        for label in np.unique(labels):
            rank[labels == label] = np.arange(np.sum(labels == label))
        order = order[np.argsort(rank, kind="stable")]
    kind = "class-balanced " if balanced else ""
    return source.subset(
        np.sort(order[:limit]), f"a {kind}sample of {limit:,} of the {source.count:,} of {source.name}"
    )
