"""The places of pictures on a map of two dimensions."""

import warnings

import numpy as np

from tfssl.base.errors import UserError

LEAST = 16
"""Pictures: of fewer UMAP, which looks at 15 neighbours, makes no map."""


def require_umap() -> None:
    """Raise UserError where umap-learn is not installed."""
    import importlib.util

    if importlib.util.find_spec("umap") is None:
        raise UserError(
            "the map needs umap-learn: pip install 'tfssl[look]'; or give --layout pca, which needs nothing"
        )


def places(features: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, str]:
    """Place pictures so that those with like features lie side by side.

    "umap": McInnes et al. 2018 (arXiv 1802.03426), with its usual 15 neighbours and least distance 0.1. By the seed the
    same again, and so in one thread. "pca": the two directions in which features vary most, which few data has as its
    map in any case.

    Args:
      features: float32 [N, D], rows of length 1.

    Returns:
      float [N, 2], each column 0..1, and the method that was taken.
    """
    if method == "umap" and len(features) >= LEAST:
        with warnings.catch_warnings():  # of copies, whose neighbours are all the same; of what it is written with
            warnings.simplefilter("ignore")
            import umap

            made = umap.UMAP(n_neighbors=min(15, len(features) - 1), random_state=seed, n_jobs=1)
            found = np.asarray(made.fit_transform(features), float)
    else:
        from sklearn.decomposition import PCA

        method = "pca"
        found = PCA(2, svd_solver="full").fit_transform(features.astype(np.float64))
    found = found - found.min(0)
    return found / np.maximum(found.max(0), 1e-12), method
