"""What dense targets find, drawn: joints and bones, boxes on the picture, classes over it, normals beside it."""

import colorsys
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BONES = (
    ("ankle", "knee"), ("knee", "hip"), ("hip", "shoulder"), ("shoulder", "elbow"), ("elbow", "wrist"),
)  # fmt: skip
"""Joints of one side that are joined by a line, where both are there."""
ACROSS = ("hip", "shoulder")
"""Joints whose two sides are joined."""
MIDDLE = (("neck", "head"), ("hip", "head"), ("hip", "left hand"), ("hip", "right hand"), ("hip", "left foot"),
          ("hip", "right foot"))  # fmt: skip
"""Whole names that are joined, where both are there: of the toy world's people too."""
UNSURE = 0.15
"""Scores below which a joint is drawn hollow."""

LEAST_DRAWN, SURE, MOST_DRAWN = 0.15, 0.3, 10
"""Boxes below the first score are not drawn, those below the second thin; of a picture so many at most."""

Draw = Callable[[np.ndarray, Mapping[str, np.ndarray], Sequence[str]], np.ndarray]
"""(picture uint8 [D, D, 3], what is found in it, names) -> what is drawn, uint8 [D, ., 3]."""


def colours(count: int) -> np.ndarray:
    """Return colours that differ from their neighbours, uint8 [count, 3]."""
    made = [colorsys.hsv_to_rgb((0.61 * number) % 1, 0.55 + 0.4 * (number % 2), 0.95) for number in range(count)]
    return np.round(255 * np.array(made).reshape(-1, 3)).astype(np.uint8)


def joints(image: np.ndarray, found: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Draw joints, shares of the sides, and bones where names tell them; those of low score, or of nan, hollow."""
    drawn = Image.fromarray(image)
    brush, side = ImageDraw.Draw(drawn), image.shape[0]
    places = found["joints"] * np.array([image.shape[1], side])
    scores = found.get("scores", np.ones(len(places)))
    radius = max(2, side // 60)
    for one, other in bones_of(names):
        if np.isfinite(places[[one, other]]).all():
            brush.line([tuple(places[one]), tuple(places[other])], fill=(255, 255, 255), width=max(1, radius // 2))
    for place, score, colour in zip(places, scores, colours(len(names)), strict=True):
        if np.isfinite(place).all():
            box = [*(place - radius), *(place + radius)]
            fill = tuple(colour.tolist()) if score >= UNSURE else None
            brush.ellipse(box, fill=fill, outline=tuple(colour.tolist()) if fill is None else (0, 0, 0))
    return np.asarray(drawn)


def bones_of(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return which joints are joined by a line, by their names."""
    place = {_words(name): number for number, name in enumerate(names)}
    sides = ("left", "right")
    pairs = [(f"{side} {one}", f"{side} {other}") for side in sides for one, other in BONES]
    pairs += [(f"left {name}", f"right {name}") for name in ACROSS]
    return [(place[one], place[other]) for one, other in [*pairs, *MIDDLE] if one in place and other in place]


def _words(name: str) -> str:
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    return " ".join({"l": "left", "r": "right"}.get(word, word) for word in words)


def boxes(image: np.ndarray, found: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Draw boxes, shares of the sides, with names and scores; the best ones, those of low score thin."""
    drawn = Image.fromarray(image)
    brush, side = ImageDraw.Draw(drawn), image.shape[0]
    wide, palette = max(2, side // 100), colours(len(names))
    font = ImageFont.load_default(max(9, side // 24))
    rows = range(min(int(found["count"]), MOST_DRAWN))
    for row in reversed([row for row in rows if found["scores"][row] >= LEAST_DRAWN]):
        number, score = int(found["classes"][row]), float(found["scores"][row])
        left, top, right, bottom = (found["boxes"][row] * (side - 1)).round().tolist()
        colour = tuple(palette[number].tolist())
        brush.rectangle([left, top, right, bottom], outline=colour, width=wide if score >= SURE else 1)
        if score >= SURE:
            text = f"{names[number]} {score:.2f}" if score < 1 else names[number]
            *_, width, height = brush.textbbox((0, 0), text, font)
            # Above the box where there is room, and inside of the picture.
            corner = (max(0, min(left + 1, side - width)), top - height - 1 if top > height else top)
            brush.rectangle(brush.textbbox(corner, text, font), fill=colour)
            brush.text(corner, text, (0, 0, 0), font)
    return np.asarray(drawn)


def class_map(image: np.ndarray, found: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Lay the colour of each pixel's class over the picture; 255 leaves it as it is."""
    numbers = enlarged(found["class_map"], image.shape[:2])
    table = np.zeros((256, 3), np.uint8)
    table[: len(names)] = colours(len(names))
    mixed = (0.45 * image + 0.55 * table[numbers]).round().astype(np.uint8)
    return np.where((numbers == 255)[..., None], image, mixed)


def normals(image: np.ndarray, found: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Lay normals as colours over the picture: red to the right, green up, blue towards the camera."""
    return as_colours(enlarged(found["normals"], image.shape[:2]))


def as_colours(vectors: np.ndarray) -> np.ndarray:
    """Return normals float [H, W, 3] as uint8, (n + 1) / 2; black where there is none."""
    known = np.abs(vectors).sum(-1, keepdims=True) > 0
    return np.where(known, np.round((np.clip(vectors, -1, 1) + 1) * 127.5), 0).astype(np.uint8)


def enlarged(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return a map [h, w, ...] at another size, each pixel that of the nearest place."""
    rows, columns = (
        ((np.arange(side) + 0.5) * own / side).astype(int) for side, own in zip(shape, values.shape, strict=False)
    )
    return values[rows][:, columns]


DRAW: dict[str, Draw] = {"keypoints": joints, "segmentation": class_map, "normals": normals, "detection": boxes}
"""Target -> what draws what it finds."""
