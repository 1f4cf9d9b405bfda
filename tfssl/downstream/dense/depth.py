"""From depth to surface normals."""

from collections.abc import Sequence

import numpy as np

WINDOW = 7
"""Pixels a side of the neighbourhood through which a plane is laid."""
JUMP = 0.1
"""Largest change of depth within it, as a share: more is the edge of something, and has no plane."""


def normals_of(depth: np.ndarray, intrinsics: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Lay a plane through the neighbourhood of each pixel, by least squares of n p = 1 (Badino et al. 2011).

    Args:
      depth: [H, W], along the camera's axis, in any unit; 0 where unknown.
      intrinsics: fx, fy, cx, cy in pixels of the depth; the centre of the upper left pixel is (0, 0).

    Returns:
      float64 [H, W, 3] of length 1, x right, y up, z towards the camera; and bool [H, W], where it is known.
    """
    from scipy import ndimage

    fx, fy, cx, cy = intrinsics
    far = np.asarray(depth, np.float64)
    held = np.isfinite(far) & (far > 0)
    scale = far[held].mean() if held.any() else 1.0  # the unit does not matter, but for rounding
    z = np.where(held, far, 0.0) / scale
    rows, columns = np.indices(z.shape)
    points = np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z])
    # No plane through the camera is n p = 1; nothing is seen of such a one.
    products = np.einsum("ahw,bhw->abhw", points, points)
    size = (WINDOW, WINDOW)
    moments = np.stack(
        [ndimage.uniform_filter(products[a, b], size, mode="constant") for a in range(3) for b in range(3)], -1
    ).reshape(*z.shape, 3, 3)
    sums = np.stack([ndimage.uniform_filter(each, size, mode="constant") for each in points], -1)
    nearest = ndimage.minimum_filter(np.where(held, z, np.inf), size)
    farthest = ndimage.maximum_filter(np.where(held, z, -np.inf), size)
    enough = ndimage.uniform_filter(held.astype(np.float64), size, mode="constant") > 0.5
    known = held & enough & (farthest - nearest < JUMP * nearest)
    regular = np.where(known[..., None, None], moments, np.eye(3)) + 1e-12 * np.eye(3)
    normals = np.linalg.solve(regular, sums[..., None])[..., 0]
    length = np.linalg.norm(normals, axis=-1)
    known &= length > 0
    normals = normals / np.maximum(length, 1e-12)[..., None]
    away = (normals * points.transpose(1, 2, 0)).sum(-1) > 0
    normals = np.where(away[..., None], -normals, normals)
    return normals * np.array([1.0, -1.0, -1.0]), known
