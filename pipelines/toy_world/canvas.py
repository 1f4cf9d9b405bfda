"""A canvas for many objects of one kind at once: distance functions give cover and surface normals."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

RED, GREEN, BLUE, RIGHT, UP, NEAR, GLOW, COVER = range(8)
"""Channels of a layer: colour 0..1, normal (camera frame), light of its own 0..1, cover 0..1; all times cover."""
CHANNELS = 8

Number = float | np.ndarray
Colour = np.ndarray
_Part = tuple


@lru_cache(maxsize=8)
def noise_tile(size: int, wavelength: float, roughness: float = 0.0) -> np.ndarray:
    """Return seamless noise, float32 [2 * size, 2 * size], mean 0 and deviation 1.

    `wavelength` is in units of the picture's side: longer waves are kept, shorter ones fall off. `roughness` 0 keeps
    long waves as strong as those at `wavelength`, 1 weighs all waves by their length, as clouds do.
    """
    side = 2 * size
    white = np.random.Generator(np.random.Philox(key=7)).standard_normal((side, side))
    vertical, horizontal = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(vertical, horizontal) * size
    frequency[0, 0] = 1e6
    spectrum = np.fft.rfft2(white) * np.exp(-((frequency * wavelength) ** 2)) / frequency**roughness
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return (noise / noise.std()).astype(np.float32)


def _single(number: Number) -> np.ndarray:
    """Keep NumPy's double scalars from turning whole arrays into doubles, which takes twice as long."""
    return np.asarray(number, np.float32)


class Canvas:
    """M windows of height x width pixels, in each one object of the same kind, drawn part by part, far to near.

    Own coordinates of an object: x to the right, y up, the origin where it stands, its height about 1. Every number
    that a part takes is a float or float32 [M, 1, 1].
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        pixels: np.ndarray,
        vary: np.ndarray,
        tint: np.ndarray,
        turn: np.ndarray,
        texture: np.ndarray,
    ) -> None:
        """Args:
        x, y: own coordinates of the pixels, float32 [M, height, width].
        pixels: pixels to a unit, float32 [M, 1, 1].
        vary: free numbers of a kind's shape, float32 [M, 8], -1..1.
        tint: float32 [M, 5]: choice among typical colours 0..1, brightness and shift of each channel -1..1.
        turn: how far the object's flat faces look to the right, float32 [M, 1, 1], -1..1.
        texture: noise, float32 [M, height, width], deviation 1.
        """
        self.x, self.y, self.pixels, self.turn, self.texture = x, y, pixels, turn, texture
        self.vary = [column[:, None, None] for column in vary.T]
        self.tint = tint
        self.layer = np.zeros((len(x), CHANNELS, *x.shape[1:]), np.float32)
        self.marks: list[np.ndarray] = []
        self._x_least, self._x_most = x.min(axis=(0, 1)), x.max(axis=(0, 1))
        self._y_least, self._y_most = y.min(axis=(0, 2)), y.max(axis=(0, 2))

    def colour(self, *typical: tuple[float, float, float], spread: float = 1.0) -> Colour:
        """Return float32 [3, M, 1, 1]: one of the typical colours for each object, made brighter and shifted."""
        choice = np.minimum((self.tint[:, 0] * len(typical)).astype(int), len(typical) - 1)
        base = np.asarray(typical, np.float32)[choice]
        mixed = base * (1 + 0.22 * spread * self.tint[:, 1:2]) + 0.05 * spread * self.tint[:, 2:5]
        return np.clip(mixed, 0.02, 0.98).T[:, :, None, None].astype(np.float32)

    def mark(self, x: Number, y: Number) -> None:
        """Note a key point; the order is that of the kind's `key_points`."""
        point = np.empty((len(self.x), 2), np.float32)
        point[:, 0], point[:, 1] = np.ravel(x), np.ravel(y)
        self.marks.append(point)

    def _part(self, left: Number, right: Number, bottom: Number, top: Number) -> _Part:
        """Return the pixels that this rectangle of own coordinates reaches in any of the windows."""
        slack = 1.0 / self.pixels.min()
        columns = np.flatnonzero((self._x_most >= np.min(left) - slack) & (self._x_least <= np.max(right) + slack))
        rows = np.flatnonzero((self._y_most >= np.min(bottom) - slack) & (self._y_least <= np.max(top) + slack))
        across = slice(columns[0], columns[-1] + 1) if len(columns) else slice(0)
        along = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0)
        return (..., along, across)

    def ball(
        self, x: Number, y: Number, width: Number, height: Number, colour: Colour, *,
        above: Number | None = None, rough: float = 0.0, glow: float = 0.0,
    ) -> None:  # fmt: skip
        """Paint an ellipsoid with these half axes; `above` cuts off what lies lower, `rough` is its texture."""
        part = self._part(x - width, x + width, y - height if above is None else above, y + height)
        across, along = (self.x[part] - x) / width, (self.y[part] - y) / height
        square = across * across + along * along
        distance = (1 - np.sqrt(square)) * _single(np.sqrt(width * height))
        if above is not None:
            distance = np.minimum(distance, self.y[part] - above)
        self._paint(part, distance, colour, across, along, np.sqrt(np.maximum(1 - square, 0.02)), rough, glow)

    def slab(
        self, x: Number, bottom: Number, top: Number, wide: Number, narrow: Number, colour: Colour, *,
        round: float = 0.0, pitch: float = 0.0, lean: Number = 0.0, rough: float = 0.0, glow: float = 0.0,
    ) -> None:  # fmt: skip
        """Paint a trapezoid, half width `wide` below and `narrow` on top: a wall, a roof, a cylinder or a cone.

        `round` 1 makes the surface a half cylinder, `pitch` tips it to the sky, `lean` turns it to the right.
        """
        least, reach = _single(np.minimum(wide, narrow)), _single(np.maximum(wide, narrow))
        part = self._part(x - reach, x + reach, bottom, top)
        offset, above = self.x[part] - x, self.y[part] - bottom
        half = np.clip(wide + above * ((narrow - wide) / (top - bottom)), least, reach)
        slant = _single(1 / np.sqrt(1 + ((wide - narrow) / (top - bottom)) ** 2))
        distance = np.minimum((half - np.abs(offset)) * slant, np.minimum(above, (top - bottom) - above))
        if round:
            across = np.clip(offset * (round / np.maximum(half, 0.01)), -1, 1)
            self._paint(part, distance, colour, across + lean, pitch, np.sqrt(1.02 - across * across), rough, glow)
        else:
            self._paint(part, distance, colour, lean, pitch, 1.0, rough, glow)

    def limb(
        self, x: Number, y: Number, to_x: Number, to_y: Number, thick: Number, colour: Colour, *, rough: float = 0.0
    ) -> None:  # fmt: skip
        """Paint a round bar of half width `thick` between two points: a leg, an arm, a branch."""
        part = self._part(
            np.minimum(x, to_x) - thick, np.maximum(x, to_x) + thick,
            np.minimum(y, to_y) - thick, np.maximum(y, to_y) + thick,
        )  # fmt: skip
        step_x, step_y = to_x - x, to_y - y
        offset_x, offset_y = self.x[part] - x, self.y[part] - y
        share = np.clip((offset_x * step_x + offset_y * step_y) / (step_x * step_x + step_y * step_y), 0, 1)
        across, along = (offset_x - share * step_x) / thick, (offset_y - share * step_y) / thick
        square = across * across + along * along
        distance = (1 - np.sqrt(square)) * thick
        self._paint(part, distance, colour, across, along, np.sqrt(np.maximum(1 - square, 0.02)), rough, 0.0)

    def _paint(
        self, part: _Part, distance: np.ndarray, colour: Colour, right: Number, up: Number, near: Number,
        rough: float, glow: float,
    ) -> None:  # fmt: skip
        """Lay a part over what is there, with a soft edge of one pixel."""
        cover = np.clip(distance * self.pixels + 0.5, 0, 1)
        layer = self.layer[part]
        layer *= (1 - cover)[:, None]
        lit = cover
        if rough:
            noise = rough * self.texture[part]
            up = up + noise
            lit = cover * (1 + 0.35 * noise)
        length = cover / np.sqrt(right * right + up * up + near * near)
        for channel, value in zip((RED, GREEN, BLUE), colour, strict=True):
            layer[:, channel] += lit * value
        for channel, value in zip((RIGHT, UP, NEAR), (right, up, near), strict=True):
            layer[:, channel] += length * value
        if glow:
            layer[:, GLOW] += glow * cover
        layer[:, COVER] += cover


Draw = Callable[[Canvas], None]
