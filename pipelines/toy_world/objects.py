"""The kinds of objects: how each is drawn upright, its typical colours, its key points."""

import dataclasses

import numpy as np

from tfssl.pipelines.toy_world.canvas import Canvas, Draw

BARK, STONE, DARK, WHITE = (0.40, 0.28, 0.18), (0.55, 0.54, 0.52), (0.10, 0.10, 0.12), (0.93, 0.92, 0.88)
SKIN = ((0.87, 0.68, 0.55), (0.60, 0.42, 0.30), (0.42, 0.28, 0.20))


def _draw_tree(c: Canvas) -> None:
    bark, leaf = c.colour(BARK), c.colour((0.20, 0.46, 0.13), (0.30, 0.52, 0.12), (0.16, 0.38, 0.16))
    wide, high, lop = 0.25 + 0.05 * c.vary[0], 0.64 + 0.05 * c.vary[1], 0.05 * c.vary[2]
    c.slab(0, 0, 0.60, 0.075, 0.05, bark, round=1)
    c.limb(0, 0.32, 0.16 + lop, 0.5, 0.028, bark)
    c.ball(-0.17 + lop, high - 0.06, wide, 0.18, leaf, rough=0.45)
    c.ball(0.17 + lop, high - 0.03, wide, 0.19, leaf * 0.95, rough=0.45)
    c.ball(lop, high + 0.14, wide, 0.2, leaf, rough=0.45)
    c.mark(lop, high + 0.31)
    c.mark(lop - 0.13 - wide, high - 0.06)
    c.mark(lop + 0.13 + wide, high - 0.03)
    c.mark(0, 0.38)
    c.mark(0, 0.03)


def _draw_fir(c: Canvas) -> None:
    bark, leaf = c.colour(BARK), c.colour((0.09, 0.30, 0.19), (0.12, 0.33, 0.14), (0.14, 0.32, 0.28))
    wide, step = 0.33 + 0.06 * c.vary[0], 0.02 * c.vary[1]
    c.slab(0, 0, 0.25, 0.05, 0.04, bark, round=1)
    c.slab(0, 0.15, 0.55 + step, wide, 0.05, leaf * 0.9, round=0.95, pitch=0.4, rough=0.3)
    c.slab(0, 0.40 + step, 0.78, wide * 0.78, 0.03, leaf, round=0.95, pitch=0.4, rough=0.3)
    c.slab(0, 0.63, 1.0, wide * 0.55, 0.0, leaf * 1.1, round=0.95, pitch=0.4, rough=0.3)
    c.mark(0, 0.95)
    c.mark(0.05 - wide, 0.17)
    c.mark(wide - 0.05, 0.17)
    c.mark(0, 0.58)
    c.mark(0, 0.03)


def _draw_house(c: Canvas) -> None:
    wall = c.colour((0.88, 0.80, 0.64), (0.85, 0.83, 0.80), (0.80, 0.62, 0.48))
    roof, wood = c.colour((0.62, 0.20, 0.13), (0.55, 0.26, 0.16), (0.40, 0.22, 0.20)), c.colour((0.35, 0.22, 0.14))
    glass, stone = c.colour((0.25, 0.35, 0.48)), c.colour((0.50, 0.30, 0.25))
    wide, eave, peak = 0.40 + 0.06 * c.vary[0], 0.50 + 0.06 * c.vary[1], 0.88 + 0.05 * c.vary[2]
    corner = wide * (0.25 + 0.2 * c.vary[3])
    c.slab(0.5 * wide, 0.6, peak + 0.06, 0.06, 0.06, stone, lean=c.turn)
    c.slab((corner - wide) / 2, 0, eave, (corner + wide) / 2, (corner + wide) / 2, wall, lean=-0.35)
    c.slab((corner + wide) / 2, 0, eave, (wide - corner) / 2, (wide - corner) / 2, wall * 0.96, lean=1.1)
    c.slab(0, eave - 0.03, peak, wide + 0.09, 0.55 * wide, roof, pitch=0.9, lean=-0.2, rough=0.12)
    door = -0.45 * wide + 0.08 * c.vary[4]
    c.slab(door, 0, 0.28, 0.075, 0.075, wood, lean=-0.35)
    c.slab(door + 0.25, 0.20, 0.36, 0.07, 0.07, glass, lean=-0.35, glow=0.15)
    c.slab((corner + wide) / 2, 0.20, 0.36, 0.05, 0.05, glass, lean=1.1, glow=0.15)
    c.mark(0, peak - 0.03)
    c.mark(-wide - 0.05, eave)
    c.mark(wide + 0.05, eave)
    c.mark(0.03 - wide, 0.03)
    c.mark(wide - 0.03, 0.03)
    c.mark(door, 0.14)


def _draw_car(c: Canvas) -> None:
    paint = c.colour((0.78, 0.10, 0.09), (0.72, 0.12, 0.10), (0.12, 0.25, 0.65), (0.90, 0.70, 0.10), (0.75, 0.76, 0.78))
    glass, tyre, hub = c.colour((0.28, 0.38, 0.46)), c.colour(DARK, spread=0.5), c.colour(STONE)
    lamp = c.colour((0.97, 0.92, 0.65))
    long, high, cabin = 0.56 + 0.06 * c.vary[0], 0.52 + 0.05 * c.vary[1], -0.06 + 0.06 * c.vary[2]
    wheel, front = 0.115 + 0.015 * c.vary[3], long - 0.18
    c.slab(cabin, 0.28, high, 0.36, 0.22, paint, pitch=0.35, lean=c.turn)
    c.slab(cabin - 0.15, 0.31, high - 0.05, 0.12, 0.07, glass, pitch=0.2, lean=c.turn, glow=0.15)
    c.slab(cabin + 0.14, 0.31, high - 0.05, 0.13, 0.07, glass, pitch=0.2, lean=c.turn, glow=0.15)
    c.slab(0, 0.09, 0.22, long, long, paint * 0.92, lean=c.turn, pitch=-0.25)
    c.slab(0, 0.19, 0.33, long, long - 0.05, paint, lean=c.turn, pitch=0.35)
    c.ball(long - 0.04, 0.24, 0.05, 0.04, lamp, glow=0.5)
    for spot in (-front, front):
        c.ball(spot, wheel, wheel, wheel, tyre)
        c.ball(spot, wheel, 0.45 * wheel, 0.45 * wheel, hub)
    c.mark(front, wheel)
    c.mark(-front, wheel)
    c.mark(cabin, high - 0.03)
    c.mark(long - 0.05, 0.24)
    c.mark(0.04 - long, 0.24)


def _draw_person(c: Canvas) -> None:
    skin, hair = c.colour(*SKIN), c.colour((0.20, 0.13, 0.08), (0.10, 0.08, 0.07), (0.65, 0.45, 0.20))
    shirt = c.colour((0.20, 0.35, 0.62), (0.70, 0.22, 0.20), (0.85, 0.80, 0.72), (0.25, 0.50, 0.35))
    cloth, shoe = c.colour((0.18, 0.20, 0.30), (0.35, 0.30, 0.25), spread=0.7), c.colour(DARK)
    stride, swing = 0.10 + 0.06 * c.vary[0], 0.20 + 0.09 * c.vary[1]
    left, right = 0.50 + 0.17 * c.vary[2], 0.50 + 0.17 * c.vary[3]
    c.limb(-0.06, 0.45, -stride, 0.05, 0.062, cloth)
    c.limb(0.06, 0.45, stride, 0.05, 0.062, cloth)
    c.ball(-stride - 0.01, 0.035, 0.075, 0.04, shoe)
    c.ball(stride + 0.01, 0.035, 0.075, 0.04, shoe)
    c.limb(-0.12, 0.70, -swing - 0.03, left, 0.042, shirt)
    c.limb(0.12, 0.70, swing + 0.03, right, 0.042, shirt)
    c.slab(0, 0.42, 0.76, 0.115, 0.14, shirt, round=0.85, pitch=0.1)
    c.ball(-swing - 0.04, left, 0.045, 0.045, skin)
    c.ball(swing + 0.04, right, 0.045, 0.045, skin)
    c.ball(0, 0.89, 0.105, 0.12, hair)
    c.ball(0, 0.865, 0.088, 0.10, skin)
    c.mark(0, 0.88)
    c.mark(-swing - 0.04, left)
    c.mark(swing + 0.04, right)
    c.mark(0, 0.45)
    c.mark(-stride, 0.04)
    c.mark(stride, 0.04)


def _draw_dog(c: Canvas) -> None:
    fur = c.colour((0.55, 0.36, 0.18), (0.62, 0.46, 0.28), (0.32, 0.22, 0.16))
    pale, nose = c.colour((0.85, 0.76, 0.62)), c.colour(DARK, spread=0.5)
    back, gait, chin = 0.46 + 0.04 * c.vary[0], 0.07 * c.vary[1], 0.70 + 0.07 * c.vary[2]
    tail = 0.68 + 0.14 * c.vary[3]
    for spot, swing, shade in ((-0.24, -gait, 0.7), (0.24, gait, 0.7), (-0.32, gait, 1.0), (0.30, -gait, 1.0)):
        c.limb(spot, back - 0.05, spot + swing, 0.06, 0.052, fur * shade)
    c.limb(-0.34, back + 0.02, -0.56, tail, 0.038, fur)
    c.limb(-0.28, back, 0.26, back + 0.02, 0.145, fur, rough=0.15)
    c.limb(0.28, back + 0.06, 0.40, chin, 0.10, fur)
    c.ball(0.42, chin + 0.04, 0.15, 0.13, fur)
    c.ball(0.55, chin - 0.01, 0.11, 0.07, pale)
    c.ball(0.64, chin + 0.02, 0.035, 0.03, nose)
    c.ball(0.34, chin + 0.03, 0.055, 0.13, fur * 0.65)
    c.ball(0.46, chin + 0.08, 0.022, 0.025, nose)
    c.mark(0.63, chin + 0.02)
    c.mark(0.34, chin + 0.05)
    c.mark(-0.55, tail - 0.02)
    c.mark(0.30 - gait, 0.06)
    c.mark(-0.32 + gait, 0.06)


def _draw_flower(c: Canvas) -> None:
    petal = c.colour((0.88, 0.30, 0.50), (0.92, 0.35, 0.60), (0.60, 0.30, 0.75), (0.95, 0.93, 0.90))
    heart, stem = c.colour((0.93, 0.74, 0.12)), c.colour((0.25, 0.55, 0.16))
    sway, high, wide = 0.07 * c.vary[0], 0.72 + 0.05 * c.vary[1], 0.15 + 0.02 * c.vary[2]
    turn, leaf = 0.6 * c.vary[3], 0.24 + 0.06 * c.vary[4]
    c.limb(0, 0, sway, high, 0.026, stem)
    c.limb(0.01, 0.12, 0.23, leaf + 0.08, 0.055, stem)
    c.limb(-0.01, 0.08, -0.20, leaf, 0.055, stem * 0.92)
    for number in range(6):
        angle = turn + number * np.pi / 3
        c.ball(
            sway + wide * np.cos(angle), high + wide * np.sin(angle), 0.105, 0.105, petal * (0.92 + 0.04 * (number % 3))
        )
    c.ball(sway, high, 0.10, 0.10, heart, rough=0.2)
    c.mark(sway, high)
    c.mark(0.22, leaf + 0.08)
    c.mark(-0.19, leaf)
    c.mark(0, 0.02)


def _draw_mushroom(c: Canvas) -> None:
    cap, stem = c.colour((0.78, 0.13, 0.10), (0.70, 0.18, 0.10), (0.55, 0.34, 0.20)), c.colour((0.90, 0.86, 0.76))
    white, gill = c.colour(WHITE), c.colour((0.72, 0.62, 0.50))
    wide, rim, thick = 0.42 + 0.07 * c.vary[0], 0.48 + 0.07 * c.vary[1], 0.12 + 0.03 * c.vary[2]
    rise = 0.92 - rim
    c.slab(0, 0, rim + 0.05, thick + 0.05, thick, stem, round=1)
    c.ball(0, rim + 0.03, wide * 0.97, 0.07, gill)
    c.ball(0, rim, wide, rise, cap, above=rim + 0.02)
    for across, along, radius in ((-0.5, 0.35, 0.055), (0.1, 0.7, 0.06), (0.55, 0.3, 0.05), (-0.1, 0.25, 0.045)):
        c.ball(wide * (across + 0.1 * c.vary[3]), rim + rise * along, radius, radius * 0.8, white)
    c.mark(0, rim + rise - 0.03)
    c.mark(0.04 - wide, rim + 0.04)
    c.mark(wide - 0.04, rim + 0.04)
    c.mark(0, rim * 0.5)
    c.mark(0, 0.03)


def _draw_lamp(c: Canvas) -> None:
    iron = c.colour((0.16, 0.20, 0.22), (0.22, 0.28, 0.24), (0.25, 0.20, 0.18))
    light = c.colour((0.99, 0.90, 0.55), spread=0.5)
    high, wide, foot = 0.70 + 0.04 * c.vary[0], 0.10 + 0.02 * c.vary[1], 0.11 + 0.02 * c.vary[2]
    c.slab(0, 0, 0.09, foot, foot * 0.7, iron, round=0.9, pitch=0.2)
    c.slab(0, 0.07, high, 0.034, 0.026, iron, round=1)
    c.slab(0, 0.45, 0.48, 0.06, 0.06, iron, round=1)
    c.slab(0, high, high + 0.17, wide * 0.65, wide, light, round=0.8, glow=0.75)
    c.slab(0, high - 0.02, high + 0.02, wide * 0.75, wide * 0.75, iron, round=0.9)
    c.slab(0, high + 0.16, high + 0.25, wide * 1.3, wide * 0.3, iron, round=0.9, pitch=0.6)
    c.ball(0, high + 0.26, 0.025, 0.025, iron)
    c.mark(0, high + 0.23)
    c.mark(0, high + 0.09)
    c.mark(0, 0.47)
    c.mark(0, 0.03)


def _draw_duck(c: Canvas) -> None:
    down = c.colour((0.95, 0.80, 0.15), (0.93, 0.74, 0.18), (0.94, 0.90, 0.80))
    beak, eye = c.colour((0.92, 0.45, 0.10)), c.colour(DARK, spread=0.5)
    plump, neck, wing = 0.27 + 0.03 * c.vary[0], 0.74 + 0.06 * c.vary[1], 0.06 * c.vary[2]
    c.limb(-0.06, 0.18, -0.06, 0.03, 0.03, beak)
    c.limb(0.08, 0.18, 0.08, 0.03, 0.03, beak)
    c.ball(-0.03, 0.03, 0.08, 0.03, beak)
    c.ball(0.11, 0.03, 0.08, 0.03, beak)
    c.limb(-0.28, 0.36, -0.47, 0.50 + wing, 0.075, down * 0.95)
    c.ball(0, 0.35, 0.38, plump, down, rough=0.1)
    c.limb(0.22, 0.45, 0.26, neck, 0.10, down)
    c.ball(0.27, neck + 0.03, 0.155, 0.15, down)
    c.limb(0.40, neck, 0.50, neck - 0.015, 0.042, beak)
    c.ball(0.32, neck + 0.07, 0.028, 0.03, eye)
    c.ball(-0.06, 0.38 + 0.3 * wing, 0.22, 0.13, down * 0.82, rough=0.1)
    c.mark(0.50, neck - 0.01)
    c.mark(0.25, neck + 0.15)
    c.mark(-0.46, 0.49 + wing)
    c.mark(-0.06, 0.38)
    c.mark(0.08, 0.05)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A class of objects: its half width and its height in own units, and what its key points are called.

    `faces` says that it looks to one side: only then is it mirrored, so that left stays left elsewhere.
    `size` evens out how large the kinds look.
    """

    draw: Draw
    width: float
    height: float
    key_points: tuple[str, ...]
    faces: bool = False
    size: float = 1.0


KINDS: dict[str, Kind] = {
    "tree": Kind(draw=_draw_tree, width=0.54, height=1.06, key_points=("top", "left", "right", "fork", "foot")),
    "fir": Kind(draw=_draw_fir, width=0.42, height=1.03, key_points=("top", "left", "right", "middle", "foot")),
    "house": Kind(
        draw=_draw_house, width=0.57, height=1.02, size=0.9,
        key_points=("ridge", "left eave", "right eave", "left corner", "right corner", "door"),
    ),
    "car": Kind(
        draw=_draw_car, width=0.66, height=0.6, size=1.1, faces=True,
        key_points=("front wheel", "rear wheel", "roof", "headlight", "tail"),
    ),
    "person": Kind(
        draw=_draw_person, width=0.40, height=1.03,
        key_points=("head", "left hand", "right hand", "hip", "left foot", "right foot"),
    ),
    "dog": Kind(
        draw=_draw_dog, width=0.70, height=0.96, size=0.85, faces=True,
        key_points=("nose", "ear", "tail", "front foot", "rear foot"),
    ),
    "flower": Kind(draw=_draw_flower, width=0.38, height=1.07, key_points=("heart", "right leaf", "left leaf", "foot")),
    "mushroom": Kind(
        draw=_draw_mushroom, width=0.52, height=0.96, size=0.85, key_points=("top", "left", "right", "stem", "foot")
    ),
    "lamp": Kind(draw=_draw_lamp, width=0.20, height=1.05, size=1.1, key_points=("top", "light", "ring", "foot")),
    "duck": Kind(
        draw=_draw_duck, width=0.58, height=1.02, size=0.85, faces=True,
        key_points=("beak", "crown", "tail", "wing", "foot"),
    ),
}  # fmt: skip
CLASSES: tuple[str, ...] = tuple(KINDS)
KEY_POINTS: tuple[tuple[str, ...], ...] = tuple(kind.key_points for kind in KINDS.values())
"""Names of the key points of each class, in the order of `CLASSES`."""
