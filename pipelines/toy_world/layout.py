"""What stands where: every number that a scene is drawn from, as arrays over scenes and objects."""

import dataclasses

import numpy as np

from tfssl.pipelines.toy_world.objects import CLASSES

OBJECTS = 5
"""Places for objects in a scene; the first is the main object, the second the one in front of it."""
MOST_TILT = 0.13
"""Radians."""
_SCENE, _OBJECT = 48, 24
_DRAWS = _SCENE + OBJECTS * _OBJECT

SKIES = np.array(  # top, bottom
    [
        [(0.25, 0.48, 0.85), (0.70, 0.83, 0.95)],
        [(0.55, 0.60, 0.66), (0.80, 0.82, 0.84)],
        [(0.35, 0.30, 0.50), (0.95, 0.62, 0.40)],
        [(0.06, 0.08, 0.20), (0.20, 0.22, 0.40)],
        [(0.75, 0.80, 0.88), (0.55, 0.70, 0.90)],
        [(0.62, 0.52, 0.40), (0.50, 0.40, 0.32)],
    ],
    np.float32,
)
GROUNDS = np.array(
    [
        (0.33, 0.50, 0.20), (0.42, 0.48, 0.18), (0.72, 0.62, 0.42), (0.86, 0.88, 0.92),
        (0.38, 0.38, 0.40), (0.48, 0.34, 0.22), (0.30, 0.45, 0.62), (0.55, 0.52, 0.46),
    ],
    np.float32,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """All arrays float32 but the integers; lengths are shares of the picture's side, y runs down.

    Of scenes: horizon, pitch, haze, clouds, ground_noise, path (x, slope, width; width 0 where none), path_colour [N]
    or [N, .], hills [N, 2, 3] (height, phase, waves), sky [N, 2, 3] (top, bottom), ground [N, 2, 3] (near, far),
    light [N, 3] (unit, towards the light, camera frame), ambient [N], warmth [N, 3], noise_offset [N, 4].
    Of objects [N, OBJECTS, ..]: class_ids int32 (-1: none), x and y of where it stands, lift off the ground, scale
    (side lengths to an own unit), stretch (width over height), tilt (radians), facing (1 or -1), turn, vary [.., 8],
    tint [.., 5], texture_offset [.., 2].
    """

    class_ids: np.ndarray
    horizon: np.ndarray
    pitch: np.ndarray
    haze: np.ndarray
    clouds: np.ndarray
    ground_noise: np.ndarray
    path: np.ndarray
    path_colour: np.ndarray
    hills: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    light: np.ndarray
    ambient: np.ndarray
    warmth: np.ndarray
    noise_offset: np.ndarray
    x: np.ndarray
    y: np.ndarray
    lift: np.ndarray
    scale: np.ndarray
    stretch: np.ndarray
    tilt: np.ndarray
    facing: np.ndarray
    turn: np.ndarray
    vary: np.ndarray
    tint: np.ndarray
    texture_offset: np.ndarray

    def take(self, rows: slice | np.ndarray) -> "Layout":
        """Return the layout of some scenes."""
        return Layout(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})


def uniforms(seed: int, stream: int, start: int, count: int, width: int) -> np.ndarray:
    """Return float32 [count, width], 0 <= . < 1. Row i depends on (seed, stream, start + i) only.

    Philox is a function of its counter, so a row is found without drawing the rows before it; `width` is a multiple
    of 4, the numbers of one counter. Different streams of a seed have nothing to do with each other.
    """
    if width % 4:
        raise ValueError(f"width {width} is no multiple of 4")
    key = np.array([seed, stream], np.uint64)
    bits = np.random.Philox(key=key, counter=start * (width // 4)).random_raw(count * width)
    return ((bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(count, width)


def draw_labels(count: int, seed: int, start: int, stream: int) -> np.ndarray:
    """Return int32 [count]: scenes 0..9 have every class once in random order, so have 10..19, and so on."""
    kinds = len(CLASSES)
    first, last = start // kinds, (start + count - 1) // kinds
    order = np.argsort(uniforms(seed, stream, first, last - first + 1, -(-kinds // 4) * 4)[:, :kinds], axis=1)
    return order.reshape(-1)[start - first * kinds :][:count].astype(np.int32)


def draw_layout(count: int, seed: int, start: int, stream: int = 0) -> Layout:
    """Draw `count` scenes, of which scene i depends on (seed, stream, start + i) only."""
    drawn = uniforms(seed, 2 * stream, start, count, _DRAWS)
    scene, thing = drawn[:, :_SCENE], drawn[:, _SCENE:].reshape(count, OBJECTS, _OBJECT)
    labels = draw_labels(count, seed, start, 2 * stream + 1)
    both = 2 * scene - 1

    def pick(table: np.ndarray, share: np.ndarray) -> np.ndarray:
        return table[np.minimum((share * len(table)).astype(int), len(table) - 1)]

    # A third looks down on the ground: where every picture has its sky on top, rotation is answered by colour alone.
    no_sky = scene[:, 0] < 0.33
    horizon = np.where(no_sky, -0.1 - 0.4 * scene[:, 1], 0.15 + 0.5 * scene[:, 1])
    direction = np.stack([0.9 * both[:, 2], np.ones(count), 0.35 + 0.45 * scene[:, 3]], axis=1)
    sky = np.clip(pick(SKIES, scene[:, 4]) + 0.07 * both[:, None, 5:8], 0, 1)
    near = pick(GROUNDS, scene[:, 8]) * (1 + 0.2 * both[:, 9:10]) + 0.04 * both[:, 10:13]
    far = 0.55 * near + 0.45 * pick(GROUNDS, scene[:, 13]) * (1 + 0.3 * both[:, 14:15])
    hills = np.stack(
        [0.005 + 0.075 * scene[:, 15:17], 6.283 * scene[:, 17:19], 0.7 + np.array([1.5, 4]) * scene[:, 19:21]], axis=2
    )
    path = np.stack([scene[:, 22], both[:, 23], (scene[:, 21] < 0.35) * (0.08 + 0.15 * scene[:, 24])], axis=1)

    main_scale, main_x, main_y = (
        0.44 + 0.36 * thing[:, 0, 0],
        0.18 + 0.64 * thing[:, 0, 1],
        0.72 + 0.25 * thing[:, 0, 2],
    )
    low = np.clip(horizon + 0.04, 0.12, None)[:, None]
    y = low + (main_y[:, None] - 0.03 - low) * thing[:, :, 2]
    nearness = (y - low) / np.maximum(main_y[:, None] - low, 0.1)
    scale = (0.16 + 0.10 * nearness) + (0.06 + 0.08 * nearness) * thing[:, :, 0]
    x = -0.02 + 1.04 * thing[:, :, 1]
    x[:, 0], y[:, 0], scale[:, 0] = main_x, main_y, main_scale
    aside = np.where(thing[:, 1, 1] < 0.5, -1, 1) * (0.02 + 0.28 * np.abs(2 * thing[:, 1, 1] - 1)) * main_scale
    x[:, 1], y[:, 1] = main_x + aside, main_y + 0.02 + 0.10 * thing[:, 1, 2]
    scale[:, 1] = main_scale * (0.55 + 0.25 * thing[:, 1, 0])
    class_ids = np.minimum((thing[:, :, 3] * (len(CLASSES) - 1)).astype(np.int32), len(CLASSES) - 2)
    class_ids += class_ids >= labels[:, None]
    class_ids[thing[:, :, 4] > np.array([1.0, 0.42, 0.75, 0.6, 0.45])] = -1
    class_ids[:, 0] = labels

    def single(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values, dtype=np.float32)

    return Layout(
        class_ids=class_ids,
        horizon=single(horizon),
        pitch=single(0.15 + 0.25 * scene[:, 25] + 0.3 * no_sky),
        haze=single(0.45 * scene[:, 26] ** 2),
        clouds=single(0.6 * np.maximum(0, scene[:, 27] * 1.5 - 0.5)),
        ground_noise=single(0.03 + 0.13 * scene[:, 28]),
        path=single(path),
        path_colour=single(pick(GROUNDS, scene[:, 29]) * (0.8 + 0.3 * scene[:, 30:31])),
        hills=single(hills),
        sky=single(sky),
        ground=single(np.clip(np.stack([near, far], axis=1), 0.03, 0.97)),
        light=single(direction / np.linalg.norm(direction, axis=1, keepdims=True)),
        ambient=single(0.30 + 0.25 * scene[:, 31]),
        warmth=single((0.82 + 0.3 * scene[:, 32:33]) * (1 + np.array([0.08, 0.0, -0.1]) * both[:, 33:34])),
        noise_offset=single(scene[:, 34:38]),
        x=single(x),
        y=single(y),
        lift=np.zeros_like(single(x)),
        scale=single(scale),
        stretch=single(1 + 0.18 * (2 * thing[:, :, 5] - 1)),
        tilt=single(MOST_TILT * (2 * thing[:, :, 6] - 1)),
        facing=single(np.where(thing[:, :, 7] < 0.5, -1, 1)),
        turn=single(0.8 * (2 * thing[:, :, 8] - 1)),
        vary=single(2 * thing[:, :, 9:17] - 1),
        tint=single(np.concatenate([thing[:, :, 17:18], 2 * thing[:, :, 18:22] - 1], axis=2)),
        texture_offset=single(thing[:, :, 22:24]),
    )
