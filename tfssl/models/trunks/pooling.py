"""From a feature map to an embedding, by Keras's own layers: what is probed and what is exported go through here."""

import keras

from tfssl.base.errors import UserError


def embedded(features: keras.KerasTensor, pool: int = 1, name: str | None = None) -> keras.KerasTensor:
    """Average a map to `pool` x `pool` places, as one row of numbers.

    Place (i, j) averages rows floor(i H / pool) to ceil((i + 1) H / pool) - 1 of the map, and columns alike: windows of
    equal size without overlap where `pool` divides the side; else neighbours share a row or a column.

    Args:
      features: float [N, H, W, C] with static H, W and C.
      pool: places a side, at most H and W; 1 for the mean over all places.
      name: the name of the last layer.

    Returns:
      float32 [N, pool * pool * C]: the C numbers of a place beside each other, places row by row.
    """
    height, width = features.shape[1:3]
    if pool == 1:
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name=name)(features)
    if (height, width) != (pool, pool):
        settings = {"dtype": "float32", "name": name and f"{name}_places"}
        if height % pool or width % pool:
            layer = keras.layers.AdaptiveAveragePooling2D(pool, **settings)
        else:
            layer = keras.layers.AveragePooling2D((height // pool, width // pool), **settings)
        features = layer(features)
    return keras.layers.Flatten(dtype="float32", name=name)(features)


def check_pool(pool: int, features: keras.KerasTensor, stage: str) -> None:
    """Raise UserError where the map of a stage, float [N, H, W, C], has no `pool` x `pool` places."""
    height, width = features.shape[1:3]
    largest = min(height, width)
    if isinstance(pool, bool) or not isinstance(pool, int) or not 1 <= pool <= largest:
        raise UserError(
            f"--pool {pool!r} is given, expected 1 to {largest}: the map of {stage} has {height} x {width} places"
        )
