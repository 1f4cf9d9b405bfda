"""Draws a layout: background, objects from far to near, then one light over the normals of all."""

import dataclasses

import numpy as np

from tfssl.pipelines.toy_world.canvas import CHANNELS, COVER, GLOW, NEAR, RED, RIGHT, UP, Canvas, noise_tile
from tfssl.pipelines.toy_world.layout import Layout
from tfssl.pipelines.toy_world.objects import KINDS, Kind

KINDS_LIST = tuple(KINDS.values())
POINTS = max(len(kind.key_points) for kind in KINDS_LIST)
_SHADE = COVER  # a scene's own cover is 1 everywhere: its channel holds how much of the light arrives


@dataclasses.dataclass(slots=True)
class Window:
    """One drawn object.

    top, left: its upper left pixel in the scene, which may lie outside.
    layer: float32 [CHANNELS, height, width]. shadow: the share of the light that it leaves to what is behind it,
    float32 [height, width]. solid: bool [height, width], its silhouette. points: key points in the scene, float32
    [POINTS, 2] (y, x), pixels.
    """

    top: int
    left: int
    layer: np.ndarray
    shadow: np.ndarray
    solid: np.ndarray
    points: np.ndarray


def draw_background(layout: Layout, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scenes without objects, float32 [N, CHANNELS, size, size], and the sky's share of a pixel."""
    count = len(layout.horizon)
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    horizon = layout.horizon[:, None]
    height, phase, waves = (layout.hills[..., None, number] for number in range(3))
    angle = 2 * np.pi * waves * place + phase
    ridge = (horizon - (height * (1 + np.sin(angle))).sum(axis=1)).astype(np.float32)
    slope = (2 * np.pi * height * waves * np.cos(angle)).sum(axis=1)
    sky = np.clip((ridge[:, None, :] - place[:, None]) * size + 0.5, 0, 1)

    depth = np.clip((place - horizon) / (1 - horizon), 0, 1)[:, :, None]  # 0 far, 1 at the lower edge
    compress = 1 / (0.25 + depth)
    fine, coarse = noise_tile(size, 0.035, 0.5), noise_tile(size, 0.10, 1.0)
    offset = (layout.noise_offset * 2 * size).astype(np.int32)
    rows = (place[:, None] * size * compress * 1.6).astype(np.int32) + offset[:, 0, None, None]
    columns = ((place - 0.5) * size * compress + 2 * size).astype(np.int32) + offset[:, 1, None, None]
    spot = (rows % (2 * size)) * (2 * size) + columns % (2 * size)
    grain = fine.reshape(-1)[spot] * (0.35 + 0.65 * depth)
    rise = coarse.reshape(-1)[spot]

    scene = np.empty((count, CHANNELS, size, size), np.float32)
    near, far = layout.ground[:, 0, :, None], layout.ground[:, 1, :, None]
    ground = far + (near - far) * depth[:, None, :, 0]
    fall = np.clip(place / np.maximum(horizon, 0.02), 0, 1)[:, None, :]  # 0 at the upper edge, 1 at the horizon
    sky_colour = layout.sky[:, 0, :, None] + (layout.sky[:, 1] - layout.sky[:, 0])[:, :, None] * fall
    cloud = np.stack([
        coarse[row : row + size, column : column + size]
        for row, column in zip(offset[:, 2] // 2, offset[:, 3] // 2, strict=True)
    ])  # fmt: skip
    cloud = np.clip(cloud, 0, 1) * layout.clouds[:, None, None]
    bright = 1 + layout.ground_noise[:, None, None] * grain
    middle = layout.path[:, 0, None, None] + layout.path[:, 1, None, None] * (1 - depth) * 0.5
    width = layout.path[:, 2, None, None] * (0.15 + depth)
    path = np.clip((width - np.abs(place - middle)) * size + 0.5, 0, 1) * (width > 0) * (depth > 0)
    for number in range(3):
        colour = ground[:, number, :, None]
        colour = (colour + path * (layout.path_colour[:, number, None, None] - colour)) * bright
        above = sky_colour[:, number, :, None]
        above = above + cloud * (0.9 - above)
        scene[:, RED + number] = colour + sky * (above - colour)
    level = 1 - sky
    hill = (depth == 0) * level
    scene[:, RIGHT] = level * rise * (1.5 * layout.ground_noise[:, None, None]) + hill * slope[:, None, :] * 2
    scene[:, UP] = level * np.cos(layout.pitch)[:, None, None]
    scene[:, NEAR] = sky + level * np.sin(layout.pitch)[:, None, None] + 0.5 * hill
    scene[:, GLOW] = sky
    scene[:, _SHADE] = 1
    return scene, sky


def draw_objects(layout: Layout, size: int, most_tilt: float) -> dict[tuple[int, int], Window]:
    """Draw every object by itself, those of a kind and about a size at once. Keys: (scene, place of the object)."""
    texture = noise_tile(size, 0.02)
    scenes, places = np.nonzero(layout.class_ids >= 0)
    kinds = layout.class_ids[scenes, places]
    pixels = layout.scale[scenes, places] * size * np.array([kind.size for kind in KINDS_LIST], np.float32)[kinds]
    buckets = np.ceil(np.log(pixels) / np.log(1.25)).astype(int)
    windows: dict[tuple[int, int], Window] = {}
    group_of = kinds * 1000 + buckets
    for group in np.unique(group_of):
        members = np.flatnonzero(group_of == group)
        kind = KINDS_LIST[kinds[members[0]]]
        most = 1.25 ** buckets[members[0]]
        for window, member in zip(
            _draw_group(
                layout, size, kind, most, pixels[members], scenes[members], places[members], texture, most_tilt
            ),
            members,
            strict=True,
        ):
            windows[int(scenes[member]), int(places[member])] = window
    return windows


def _draw_group(
    layout: Layout, size: int, kind: Kind, most: float, pixels: np.ndarray, scenes: np.ndarray, places: np.ndarray,
    texture: np.ndarray, most_tilt: float,
) -> list[Window]:  # fmt: skip
    """Draw objects of one kind, all of at most `most` pixels to their unit, in windows of one size."""
    reach = int(np.ceil(most * (1.18 * kind.width + most_tilt * kind.height))) + 2
    over, under = int(np.ceil(most * (kind.height + most_tilt * kind.width))) + 2, int(np.ceil(most * 0.16)) + 2
    at = (scenes, places)
    x, y = layout.x[at] * size, (layout.y[at] - layout.lift[at]) * size
    top, left = np.floor(y) - over, np.floor(x) - reach
    height, width = over + under, 2 * reach + 1
    facing = layout.facing[at] if kind.faces else np.ones_like(x)
    base = np.where(facing > 0, x - left, width - (x - left))[:, None, None]
    tilt, stretch = layout.tilt[at][:, None, None] * facing[:, None, None], layout.stretch[at][:, None, None]
    scale = pixels[:, None, None]
    across = (np.arange(width, dtype=np.float32) + 0.5 - base) / scale
    along = ((y - top)[:, None, None] - np.arange(height, dtype=np.float32)[:, None] - 0.5) / scale
    cosine, sine = np.cos(tilt), np.sin(tilt)
    offset = (layout.texture_offset[at] * size).astype(int)
    rows = (offset[:, :1] + np.arange(height) - over) % (2 * size)
    columns = (offset[:, 1:] + np.arange(width) - reach) % (2 * size)
    noise = texture.reshape(-1)[rows[:, :, None] * (2 * size) + columns[:, None, :]]
    canvas = Canvas(
        ((cosine * across + sine * along) / stretch).astype(np.float32),
        (cosine * along - sine * across).astype(np.float32),
        scale,
        layout.vary[at],
        layout.tint[at],
        0.5 * layout.turn[at][:, None, None],
        noise,
    )
    kind.draw(canvas)
    layer = canvas.layer
    right, up = layer[:, RIGHT].copy(), layer[:, UP].copy()
    layer[:, RIGHT], layer[:, UP] = cosine * right - sine * up, sine * right + cosine * up
    haze = (layout.haze[scenes] * np.clip(1 - layout.scale[at] / 0.5, 0, 1))[:, None, None]
    for number in range(3):
        far = layout.sky[scenes, 1, number][:, None, None]
        layer[:, RED + number] += haze * (far * layer[:, COVER] - layer[:, RED + number])
    layer[:, GLOW] = np.maximum(layer[:, GLOW], haze * layer[:, COVER])

    fall = -layout.light[scenes, 0][:, None, None] * 0.25 * facing[:, None, None]
    lift = (layout.lift[at] * size)[:, None, None] / scale
    dark = 1 - ((across - fall) / (kind.width * 0.85 * stretch)) ** 2 - ((along + lift + 0.01) / 0.13) ** 2
    shadow = 1 - 0.5 * np.clip(1.5 * dark, 0, 1) / (1 + 2 * lift)

    points = np.full((len(x), POINTS, 2), np.nan, np.float32)
    marks = np.stack(canvas.marks, axis=1)
    mark_x, mark_y = marks[..., 0] * stretch[:, 0], marks[..., 1]
    turned = cosine[:, 0] * mark_x - sine[:, 0] * mark_y, sine[:, 0] * mark_x + cosine[:, 0] * mark_y
    points[:, : marks.shape[1], 0] = y[:, None] - turned[1] * pixels[:, None]
    points[:, : marks.shape[1], 1] = x[:, None] + turned[0] * (pixels * facing)[:, None]
    mirrored = facing < 0
    layer[mirrored] = layer[mirrored][..., ::-1]
    layer[mirrored, RIGHT] *= -1
    shadow[mirrored] = shadow[mirrored][..., ::-1]
    solid = layer[:, COVER] > 0.5
    return [
        Window(*parts)
        for parts in zip(top.astype(int).tolist(), left.astype(int).tolist(), layer, shadow, solid, points, strict=True)
    ]
