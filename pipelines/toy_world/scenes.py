"""Labelled scenes: the pictures, and all that is known about them."""

import dataclasses

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.toy_world.canvas import BLUE, COVER, GLOW, RED, RIGHT
from tfssl.pipelines.toy_world.layout import MOST_TILT, OBJECTS, Layout, draw_layout
from tfssl.pipelines.toy_world.render import POINTS, Window, draw_background, draw_objects

GROUND, FIRST_OBJECT = 1, 2
"""Values of `Scenes.instances`; 0 is the sky."""
_CHUNK = 256
_LEAST_VISIBLE = 0.4
_SMALLEST = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenes:
    """N scenes of S x S pixels with K places for objects. Place 0 is the main object; a place may be empty.

    image: uint8 [N, S, S, 3].
    label: int32 [N], class of the main object, an index into `CLASSES`.
    class_ids: int32 [N, K], class of each object, -1 where there is none.
    boxes: int32 [N, K, 4], (top, left, height, width) in pixels of what is seen of the object; zeros if nothing is.
    visibility: float32 [N, K], seen pixels over all pixels of the object, hidden or outside of the picture included.
    key_points: float32 [N, K, P, 2], (y, x) in pixels, the picture's upper left corner being (0, 0); names are in
        `KEY_POINTS`; nan where there is none.
    key_point_visible: bool [N, K, P], whether the pixel there belongs to the object.
    instances: uint8 [N, S, S], 0 sky, 1 ground, 2 + k the object at place k.
    normals: float32 [N, S, S, 3], unit vectors in the camera frame: x right, y up, z towards the camera. The sky,
        which has none, faces the camera.
    mask: bool [N, S, S], where there is a surface, hence a normal: everywhere but in the sky.
    light: float32 [N, 3], unit vector towards the light, camera frame.
    """

    image: np.ndarray
    label: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    visibility: np.ndarray
    key_points: np.ndarray
    key_point_visible: np.ndarray
    instances: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    light: np.ndarray

    def __len__(self) -> int:
        return len(self.image)


def scenes(count: int, size: int = 64, seed: int = 0, start: int = 0) -> Scenes:
    """Make the scenes `start` to `start + count - 1` of a seed; each is the same whatever `count` and `start`.

    Scenes 0..9, 10..19 and so on have each class once as their main object, in random order. A scene is the same
    in all sizes, but for the grain of its textures.

    Raises:
        UserError: `count` below 1, `size` below 16, or a negative `seed` or `start`.
    """
    if count < 1 or size < _SMALLEST or seed < 0 or start < 0:
        raise UserError(
            f"toy scenes with count={count}, size={size}, seed={seed}, start={start}: expected count from 1, "
            f"size from {_SMALLEST}, seed and start from 0"
        )
    return render(draw_layout(count, seed, start), size)


def render(layout: Layout, size: int, keep_main_seen: bool = True, most_tilt: float = MOST_TILT) -> Scenes:
    """Draw the scenes of a layout, in which no object is tilted by more than `most_tilt` radians.

    `keep_main_seen` brings a main object forward that is hidden too much.
    """
    count = len(layout.class_ids)
    out = Scenes(
        image=np.empty((count, size, size, 3), np.uint8),
        label=layout.class_ids[:, 0].copy(),
        class_ids=layout.class_ids.copy(),
        boxes=np.zeros((count, OBJECTS, 4), np.int32),
        visibility=np.zeros((count, OBJECTS), np.float32),
        key_points=np.full((count, OBJECTS, POINTS, 2), np.nan, np.float32),
        key_point_visible=np.zeros((count, OBJECTS, POINTS), bool),
        instances=np.empty((count, size, size), np.uint8),
        normals=np.empty((count, size, size, 3), np.float32),
        mask=np.empty((count, size, size), bool),
        light=layout.light.copy(),
    )
    for first in range(0, count, _CHUNK):
        rows = slice(first, min(first + _CHUNK, count))
        part = layout.take(rows)
        windows = draw_objects(part, size, most_tilt)
        for begin in range(0, rows.stop - first, 16):
            few = slice(begin, min(begin + 16, rows.stop - first))
            buffer, sky = draw_background(part.take(few), size)
            out.instances[first + few.start : first + few.stop] = np.where(sky > 0.5, 0, GROUND)
            for number in range(few.start, few.stop):
                seen = {place: windows[number, place] for place in range(OBJECTS) if (number, place) in windows}
                _compose(buffer[number - begin], seen, part.y[number], out, first + number, keep_main_seen)
            _light(buffer, part.take(few), out, slice(first + few.start, first + few.stop))
    np.greater(out.instances, 0, out=out.mask)
    _see_key_points(out, size)
    return out


def _compose(
    buffer: np.ndarray, windows: dict[int, Window], depth: np.ndarray, out: Scenes, scene: int, keep_main_seen: bool
) -> None:  # fmt: skip
    """Lay the objects over the background, far to near, and note what is seen of each."""
    instances, size = out.instances[scene], buffer.shape[1]
    clear = instances.copy()
    order = sorted(windows, key=lambda place: depth[place])
    while True:
        for place in order:
            frame, inside = _overlap(windows[place], size)
            instances[frame][windows[place].solid[inside]] = FIRST_OBJECT + place
        whole = np.count_nonzero(windows[0].solid)
        if order[-1] == 0 or not keep_main_seen or np.count_nonzero(instances == FIRST_OBJECT) > _LEAST_VISIBLE * whole:
            break
        order = [place for place in order if place] + [0]
        instances[...] = clear
    for place in order:
        window = windows[place]
        frame, inside = _overlap(window, size)
        rows, columns = frame
        target, layer = buffer[:, rows, columns], window.layer[:, inside[0], inside[1]]
        target[COVER] *= window.shadow[inside]
        target *= 1 - layer[COVER]
        target += layer
        out.key_points[scene, place] = window.points
        own = instances[frame] == FIRST_OBJECT + place
        area = np.count_nonzero(own)
        if area:
            down, across = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
            out.boxes[scene, place] = (
                rows.start + down[0], columns.start + across[0], down[-1] - down[0] + 1, across[-1] - across[0] + 1
            )  # fmt: skip
            out.visibility[scene, place] = area / np.count_nonzero(window.solid)


def _overlap(window: Window, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where the window lies in the picture, and which part of the window that is."""
    height, width = window.solid.shape
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = max(min(window.top + height, size), top), max(min(window.left + width, size), left)
    inside = slice(top - window.top, bottom - window.top), slice(left - window.left, right - window.left)
    return (slice(top, bottom), slice(left, right)), inside


def _light(buffer: np.ndarray, layout: Layout, out: Scenes, rows: slice) -> None:
    """Light all surfaces by their normals (Lambert), with the sky's light from everywhere."""
    right, up, near = (buffer[:, RIGHT + number] for number in range(3))
    length = 1 / np.sqrt(right * right + up * up + near * near)
    facing = np.zeros_like(right)
    for number, along in enumerate((right, up, near)):
        normal = along * length
        out.normals[rows, :, :, number] = normal
        facing += normal * layout.light[:, number, None, None]
    ambient = layout.ambient[:, None, None]
    arriving = (ambient + (1.25 - ambient) * np.maximum(facing, 0)) * buffer[:, COVER]
    glow = buffer[:, GLOW]
    for number in range(RED, BLUE + 1):
        warm = layout.warmth[:, number, None, None]
        colour = buffer[:, RED + number] * (glow + (1 - glow) * (warm * arriving))
        out.image[rows, :, :, number] = np.clip(colour * 255 + 0.5, 0, 255)


def _see_key_points(out: Scenes, size: int) -> None:
    """Fill in which key points are seen."""
    known = ~np.isnan(out.key_points[..., 0])
    pixel = np.floor(np.where(known[..., None], out.key_points, -1)).astype(int)
    inside = known & (pixel >= 0).all(axis=-1) & (pixel < size).all(axis=-1)
    scene, place, point = np.nonzero(inside)
    row, column = pixel[scene, place, point].T
    out.key_point_visible[scene, place, point] = out.instances[scene, row, column] == FIRST_OBJECT + place
