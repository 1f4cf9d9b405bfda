"""What each kind sounds like: one short note at every beat."""

from collections.abc import Callable

import numpy as np

Voice = Callable[[np.ndarray, float], np.ndarray]
"""From time since the beat (seconds, float64) and pitch (a factor, about 1) to samples."""


def _tone(time: np.ndarray, hertz: float | np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * time)


def _glide(time: np.ndarray, start: float, end: float, seconds: float) -> np.ndarray:
    """Return the phase, in turns, of a tone that falls or rises from start to end hertz."""
    return end * time + (start - end) * seconds * (1 - np.exp(-time / seconds))


def _make_buzz(turns: np.ndarray, pitch: float, hertz: float, peaks: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return a buzz whose harmonics are strong about the peaks (hertz, width), as in a mouth or a beak."""
    total = np.zeros_like(turns)
    for harmonic in range(1, 21):
        frequency = harmonic * hertz * pitch
        if frequency < 3800:
            strength = sum(np.exp(-(((frequency - centre) / width) ** 2)) for centre, width in peaks)
            total += (strength + 0.03) / harmonic**0.3 * np.sin(2 * np.pi * harmonic * turns)
    return total


def _noise(time: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return noise of the frequencies from low to high hertz, always the same."""
    sample_rate = 1 / (time[1] - time[0])
    white = np.random.Generator(np.random.Philox(key=11)).standard_normal(len(time))
    spectrum = np.fft.rfft(white)
    frequency = np.fft.rfftfreq(len(time), 1 / sample_rate)
    spectrum[(frequency < low) | (frequency > high)] = 0
    noise = np.fft.irfft(spectrum, n=len(time))
    return noise / max(float(np.abs(noise).max()), 1e-6)


def _fade(time: np.ndarray, seconds: float) -> np.ndarray:
    """Fade in during 4 milliseconds, so that the sound does not click, and let it die away."""
    return np.minimum(time / 0.004, 1) * np.exp(-time / seconds)


def _knock(time: np.ndarray, pitch: float) -> np.ndarray:
    return (_tone(time, 420 * pitch) + 0.6 * _tone(time, 1130 * pitch)) * _fade(time, 0.03)


def _bell(time: np.ndarray, pitch: float) -> np.ndarray:
    partials = ((1.0, 1.0), (2.0, 0.6), (2.4, 0.5), (3.0, 0.35), (4.5, 0.2))
    return sum(share * _tone(time, 523 * part * pitch) for part, share in partials) * _fade(time, 0.25)


def _horn(time: np.ndarray, pitch: float) -> np.ndarray:
    chord = sum(_tone(time, base * pitch * number) / number for base in (330, 415) for number in range(1, 7))
    return chord * np.minimum(time / 0.01, 1) * np.clip((0.18 - time) / 0.02, 0, 1)


def _call(time: np.ndarray, pitch: float) -> np.ndarray:
    return _make_buzz(150 * pitch * time, pitch, 150, ((700, 140), (1150, 160), (2600, 250))) * _fade(time, 0.12)


def _bark(time: np.ndarray, pitch: float) -> np.ndarray:
    turns = _glide(time, 560 * pitch, 260 * pitch, 0.06)
    growl = _make_buzz(turns, pitch, 400, ((500, 300), (1500, 500)))
    return (growl + 1.2 * _noise(time, 400, 2500)) * _fade(time, 0.06)


def _quack(time: np.ndarray, pitch: float) -> np.ndarray:
    turns = _glide(time, 250 * pitch, 215 * pitch, 0.1)
    return _make_buzz(turns, pitch, 230, ((1900, 250), (3100, 350))) * _fade(time, 0.10)


VOICES: dict[str, Voice] = {
    "tree": lambda time, pitch: _noise(time, 2500, 7500) * np.minimum(time / 0.03, 1) * _fade(time, 0.09),
    "fir": _knock,
    "house": _bell,
    "car": _horn,
    "person": _call,
    "dog": _bark,
    "flower": lambda time, pitch: (_tone(time, 2600 * pitch) + 0.3 * _tone(time, 3900 * pitch)) * _fade(time, 0.15),
    "mushroom": lambda time, pitch: np.sin(2 * np.pi * _glide(time, 190 * pitch, 80 * pitch, 0.05)) * _fade(time, 0.12),
    "lamp": lambda time, pitch: np.sign(_tone(time, 100 * pitch)) * _noise(time, 800, 7000) * _fade(time, 0.15),
    "duck": _quack,
}


def sound_of(
    kind: str, beats: np.ndarray, samples: int, sample_rate: int, pitch: float = 1.0, strength: float = 0.9
) -> np.ndarray:
    """Return float32 [samples], -1..1: a note of the kind at each beat, over a very quiet hiss.

    Args:
        kind: one of `CLASSES`.
        beats: seconds, float [B].
        pitch: factor on all frequencies. strength: the loudest sample where notes do not overlap, 0..1.
    """
    time = np.arange(round(0.6 * sample_rate)) / sample_rate
    note = VOICES[kind](time, pitch)
    note = note * (strength / np.abs(note).max())
    hiss = np.random.Generator(np.random.Philox(key=13)).standard_normal(samples)
    sound = 0.002 * hiss
    for beat in beats:
        first = round(float(beat) * sample_rate)
        piece = note[: max(samples - first, 0)]
        sound[first : first + len(piece)] += piece
    return np.clip(sound, -1, 1).astype(np.float32)
