"""Smaller embeddings, and of length 1: two more layers of an encoder, so that every file of an export has them."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import AnySource

SAMPLE = 2048
"""Pictures, or clips, of the run's own source on which principal components are fitted."""
BATCH = 64


def check_dimensions(dimensions: int | None, widths: Iterable[int], source: AnySource | None) -> None:
    """Raise UserError where embeddings of these widths cannot be made so small.

    Args:
      dimensions: what is asked for; None for nothing.
      widths: D of each encoder, of picture and of sound.
      source: the run's own; None where it is gone.
    """
    if dimensions is None:
        return
    largest = min(widths)
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 1 <= dimensions <= largest:
        raise UserError(f"--dimensions {dimensions!r} is given, expected 1 to {largest}: embeddings have {largest}")
    if source is None:
        raise UserError(
            f"--dimensions {dimensions} is given, but the data that the run learned from is gone or has changed, and"
            " principal components are fitted on it; bring it back, or leave --dimensions out"
        )


def project(encoder: keras.Model, dimensions: int | None, l2_normalise: bool, inputs: Iterable[Any]) -> keras.Model:
    """Make an encoder whose embeddings are projected on their first principal components, then brought to length 1.

    The components are those of the embeddings' covariance (scikit-learn's PCA), not whitened; their mean is taken off.

    Args:
      encoder: rows -> float32 [N, D].
      dimensions: components that stay; None for all of D as they are.
      l2_normalise: whether each embedding is divided by its length.
      inputs: batches of rows to fit on.

    Raises:
      UserError: fewer rows than dimensions.
    """
    outputs = encoder.outputs[0]
    if dimensions is not None:
        from sklearn.decomposition import PCA

        rows = np.concatenate([encoder(batch, training=False).numpy() for batch in inputs]).astype(np.float64)
        if len(rows) < dimensions:
            raise UserError(f"--dimensions {dimensions} is given, {len(rows)} are there to fit on; give at most that")
        fitted = PCA(dimensions, svd_solver="full").fit(rows)
        layer = keras.layers.Dense(dimensions, dtype="float32", name="principal_components")
        outputs = layer(outputs)
        layer.set_weights([fitted.components_.T, -fitted.components_ @ fitted.mean_])
    if l2_normalise:
        outputs = keras.layers.UnitNormalization(dtype="float32", name="length_1")(outputs)
    return keras.Model(encoder.inputs[0], outputs, name=encoder.name)
