"""Patches of a picture in the model: standardised each on its own, and through the trunk as one batch."""

from typing import Any

import keras

from tfssl.base.errors import UserError
from tfssl.models.trunks import Trunk

FLAT = 1.0
"""Grey levels. A patch whose deviation is below is as good as flat: its noise is not made as loud as a thing."""


def standardise(patches: Any) -> Any:
    """Standardise each patch: minus its mean, over its own deviation, over all places and channels together.

    Args:
      patches: [..., h, w, c], uint8 or float in grey levels from 0 to 255.

    Returns:
      float32 [..., h, w, c] with mean 0 and deviation 1; less where a patch is nearly flat.
    """
    patches = keras.ops.cast(patches, "float32")
    axes = (-3, -2, -1)
    patches = patches - keras.ops.mean(patches, axes, keepdims=True)
    variance = keras.ops.mean(keras.ops.square(patches), axes, keepdims=True)
    return patches / keras.ops.sqrt(keras.ops.maximum(variance, FLAT**2))


def features_of_tiles(trunk: Trunk, tiles: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return the trunk's features of each tile: all tiles go through its body as one batch.

    Args:
      trunk: shared.
      tiles: float [B, n, t, t, 3], standardised.
      name: the name of the task; layers' names begin with it.

    Returns:
      float [B, n, C], the last stage's map averaged over all places.

    Raises:
      UserError: tiles that the trunk cannot take, or of which nothing is left behind its strides.
    """
    number, tile = tiles.shape[1:3]
    check_tiles(trunk, tile, name)
    flat = keras.ops.reshape(tiles, (-1, tile, tile, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(trunk.body(flat))
    return keras.ops.reshape(pooled, (-1, number, pooled.shape[-1]))


def check_tiles(trunk: Trunk, tile: int, name: str) -> None:
    """Raise UserError where the trunk makes no feature map of tiles of `tile` pixels."""
    fixed = [side for side in trunk.body.inputs[0].shape[1:3] if side not in (None, tile)]
    if fixed:
        raise UserError(
            f"{name}: tiles are {tile} px, but the trunk takes {fixed[0]} px only;"
            " give a trunk whose input is (None, None, 3)"
        )
    try:
        shape = trunk.body.compute_output_shape((1, tile, tile, 3))
    except ValueError:  # a window larger than what is left of the map
        shape = (1, 0, 0, 0)
    if min(shape[1:3]) < 1:
        raise UserError(
            f"{name}: tiles are {tile} px, of which the trunk makes an empty map; give a larger --size,"
            " grid=2, or a trunk with fewer strides"
        )
