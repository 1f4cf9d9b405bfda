"""What a part of a puzzle should not tell its answer by. A few figures a part."""

from collections.abc import Callable

import numpy as np

WIDEST = 8  # lines of a mirrored edge that are looked for
EIGHTHS, BANDS = 8, 24
QUIET = 1e-4  # 80 dB below full, at the level of what 16 bits resolve
PERIODS = (8, 3, 5)  # JPEG codes blocks of 8 pixels; resizing to 3/4 or 4/5 repeats after 3 or 5 (8 holds 2 and 4)


def features(parts: np.ndarray) -> dict[str, np.ndarray]:
    """Return nuisance -> float32 [Q, n, numbers] of parts uint8 [Q, n, h, w, 3].

    "mean colours": mean and deviation of each channel.
    "borders": of the four edges mean colour, step to the next line, and step along the edge.
    "noise level", "noise directions": what a Laplacian leaves (Immerkaer 1996); how it differs between rows and columns
    and between halves.
    "block phase": how much larger the steps at each offset of a grid of 8 (3, 5) pixels are than those beside them.
    "mirrored edges": how many lines at each edge mirror those further in, exactly, as a reflected border does.
    "sharpness level", "sharpness directions": energy of steps over 1, 2 and 4 pixels, and rows against columns.
    """
    flat = parts.reshape(-1, *parts.shape[2:]).astype(np.float32)
    grey = flat.mean(3)
    return {name: measure(flat, grey).reshape(*parts.shape[:2], -1) for name, measure in NUISANCES.items()}


def of_sound(waves: np.ndarray) -> dict[str, np.ndarray]:
    """Return nuisance -> float32 [Q, 1, numbers] of sounds float32 [Q, samples].

    "loudness": level of the whole, of eighths against that, the largest sample against it.
    "spectrum": level of 24 bands, alike on a logarithmic scale, and how much each changes between eighths.
    "ends of the sound": silence at both ends, the first and the last sample, the mean.
    """
    count, samples = waves.shape
    parts = waves[:, : samples - samples % EIGHTHS].reshape(count, EIGHTHS, -1)
    level = _level(waves)
    course = _level(parts) - level[:, None]
    peak = 20 * np.log10(np.abs(waves).max(1) + QUIET) - level
    power = np.square(np.abs(np.fft.rfft(parts * np.hanning(parts.shape[2]))))
    edges = np.unique(np.round(np.geomspace(1, power.shape[2], BANDS + 1)).astype(int))
    bands = 10 * np.log10(np.add.reduceat(power, edges[:-1], 2) / parts.shape[2] + QUIET**2)
    sounds = waves != 0
    ends = [sounds.argmax(1), sounds[:, ::-1].argmax(1), waves[:, 0], waves[:, -1], np.abs(waves[:, 0]), waves.mean(1)]
    measures = {
        "loudness": np.concatenate([level[:, None], course, peak[:, None]], 1),
        "spectrum": np.concatenate([bands.mean(1), bands.std(1)], 1),
        "ends of the sound": np.stack(ends, 1),
    }
    return {name: values[:, None].astype(np.float32) for name, values in measures.items()}


def _level(waves: np.ndarray) -> np.ndarray:
    """Measure the level: float [..., samples] -> [...], decibels below full."""
    return 20 * np.log10(np.sqrt(np.square(waves).mean(-1)) + QUIET)


def _colours(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del grey
    return np.concatenate([flat.mean((1, 2)), flat.std((1, 2))], 1)


def _borders(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del grey
    columns = []
    for lines in (flat, flat[:, ::-1], flat.swapaxes(1, 2), flat.swapaxes(1, 2)[:, ::-1]):
        edge, inner = lines[:, 0], lines[:, 1]
        steps = [np.abs(edge - inner).mean((1, 2)), np.abs(np.diff(edge, axis=1)).mean((1, 2))]
        columns += [edge.mean(1), _log(np.stack(steps, 1))]
    return np.concatenate(columns, 1)


def _second(grey: np.ndarray, axis: int) -> np.ndarray:
    return np.diff(grey, 2, axis)


def _noise_level(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del flat
    left = np.abs(_second(_second(grey, 1), 2)).reshape(len(grey), -1)
    return _log(np.stack([left.mean(1), np.median(left, 1), np.quantile(left, 0.1, 1)], 1))


def _noise_directions(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del flat
    down, across = np.abs(_second(grey, 1)), np.abs(_second(grey, 2))
    both = np.abs(_second(_second(grey, 1), 2))
    tall, wide = both.shape[1] // 2, both.shape[2] // 2
    halves = [both[:, :tall], both[:, -tall:], both[:, :, :wide], both[:, :, -wide:]]
    top, bottom, left, right = (_log(half.mean((1, 2))) for half in halves)
    medians = [_log(np.median(values.reshape(len(grey), -1), 1)) for values in (down, across)]
    means = [_log(values.mean((1, 2))) for values in (down, across)]
    return np.stack([means[0] - means[1], medians[0] - medians[1], top - bottom, left - right], 1)


def _block_phase(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del flat
    columns = []
    for lines in (grey, grey.swapaxes(1, 2)):
        steps = np.abs(np.diff(lines, axis=1)).mean(2)  # [Q n, h - 1], the step from line k to k + 1
        excess = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
        excess /= steps.mean(1, keepdims=True) + 0.5
        for period in PERIODS:
            phase = (np.arange(excess.shape[1]) + 1) % period
            columns += [excess[:, phase == k].mean(1) for k in range(period) if (phase == k).any()]
    return np.stack(columns, 1)


def _mirrored_edges(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del flat
    columns = []
    for lines in (grey, grey[:, ::-1], grey.swapaxes(1, 2), grey.swapaxes(1, 2)[:, ::-1]):
        widths = np.zeros(len(lines), np.float32)
        for axis in range(2, min(WIDEST, (lines.shape[1] - 1) // 2) + 1):  # one line alone may be alike by chance
            differences = np.abs(lines[:, :axis] - lines[:, 2 * axis : axis : -1]).mean((1, 2))
            contents = np.abs(lines[:, :axis] - lines[:, axis : axis + 1]).mean((1, 2))
            widths[(differences < 0.25) & (contents > 2)] = axis
        columns.append(widths)
    return np.stack(columns, 1)


def _energies(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lags = [lag for lag in (1, 2, 4) if lag < min(grey.shape[1:])]
    down = [_log(np.square(grey[:, lag:] - grey[:, :-lag]).mean((1, 2))) for lag in lags]
    across = [_log(np.square(grey[:, :, lag:] - grey[:, :, :-lag]).mean((1, 2))) for lag in lags]
    return np.stack(down, 1), np.stack(across, 1)


def _sharpness_level(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del flat
    down, across = _energies(grey)
    both = (down + across) / 2
    return np.concatenate([both, np.diff(both, axis=1)], 1)


def _sharpness_directions(flat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    del flat
    down, across = _energies(grey)
    return np.concatenate([down - across, np.diff(down, axis=1) - np.diff(across, axis=1)], 1)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(values + 0.5)  # half a grey level: below that, rounding is all there is


NUISANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean colours": _colours,
    "borders": _borders,
    "noise level": _noise_level,
    "noise directions": _noise_directions,
    "block phase": _block_phase,
    "mirrored edges": _mirrored_edges,
    "sharpness level": _sharpness_level,
    "sharpness directions": _sharpness_directions,
}
ARTEFACTS = ("block phase", "mirrored edges")
"""What no scene shows: they come from a file format, from resizing, or from a border."""

LEVELS = ("mean colours", "noise level", "sharpness level")
"""The same for a picture however it is turned and mirrored."""
