"""The log-mel front end of sound encoders, of stock Keras layers: it is inside of what is trained, kept and exported.

A short-time Fourier transform is a convolution with windowed sines and cosines. So it saves without code of this
project, and TFLite has built-in ops for all of it, which it has not for every `tf.signal.stft`.
"""

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError

MEL_BINS = 64
LOWEST = 60.0
"""Hertz; the highest is 15/16 of half of the sample rate, above which resampling filters cut."""
FLOOR = 1e-6
"""Added to the power before the logarithm: 60 dB below a tone of full strength, under what 16 bit sound resolves."""
MEAN, DEVIATION = -7.0, 4.0
"""Mean and deviation of the natural logarithm of the power, about: silence gives -1.7, the loudest tone 1.75."""


def frame_lengths(sample_rate: int) -> tuple[int, int, int]:
    """Return samples of the transform (a power of two), of the Hann window (25 ms), between two windows (10 ms).

    The sample rate is in hertz.
    """
    window = round(0.025 * sample_rate)
    return 1 << (window - 1).bit_length(), window, round(0.01 * sample_rate)


def fourier_kernel(sample_rate: int) -> np.ndarray:
    """Make float32 [length, 1, 2 * bins]: windowed cosines, then sines.

    A tone of amplitude 1 has power 1 in its bin.
    """
    length, window, _ = frame_lengths(sample_rate)
    hann = np.zeros(length)
    first = (length - window) // 2
    hann[first : first + window] = np.hanning(window + 1)[:-1]
    hann *= 2 / hann.sum()
    angle = 2 * np.pi * np.outer(np.arange(length), np.arange(length // 2 + 1)) / length
    return (hann[:, None] * np.concatenate([np.cos(angle), np.sin(angle)], 1))[:, None].astype(np.float32)


def mel_matrix(sample_rate: int) -> np.ndarray:
    """Make float32 [bins, MEL_BINS]: triangles on the mel scale (HTK's), of height 1."""
    bins = frame_lengths(sample_rate)[0] // 2 + 1
    return tf.signal.linear_to_mel_weight_matrix(MEL_BINS, bins, sample_rate, LOWEST, sample_rate / 2 * 15 / 16).numpy()


def make_log_mel(samples: int, sample_rate: int) -> keras.Model:
    """Make the front end of a sound trunk, as a model.

    Waveform float32 [N, samples] in -1..1 -> standardised log-mel float32 [N, time, MEL_BINS, 1].

    Nothing of it is trained. Windows lie inside of the waveform: time is 1 + (samples - length) // hop.

    Raises:
      UserError: fewer samples than one window, or a sample rate below 8,000 hertz.
    """
    if sample_rate < 8000:
        raise UserError(f"sound at {sample_rate} hertz is given; expected 8000 or more")
    length, _, hop = frame_lengths(sample_rate)
    if samples < length:
        raise UserError(
            f"{samples} samples of sound are given, {length} is one window at {sample_rate} hertz; give more"
        )
    kernel, mel = fourier_kernel(sample_rate), mel_matrix(sample_rate)
    wave = keras.Input((samples,), dtype="float32", name="waveform")
    x = keras.layers.Reshape((samples, 1), dtype="float32")(wave)
    fourier = keras.layers.Conv1D(
        kernel.shape[-1], length, strides=hop, use_bias=False, trainable=False, dtype="float32", name="fourier"
    )
    parts = fourier(x)
    power = keras.layers.Multiply(dtype="float32")([parts, parts])
    # Both halves, of cosines and of sines, through the same triangles: power is the sum of their squares.
    to_mel = keras.layers.Dense(MEL_BINS, use_bias=False, trainable=False, dtype="float32", name="mel")
    loudness = keras.ops.log(to_mel(power) + FLOOR)
    x = keras.layers.Rescaling(1 / DEVIATION, -MEAN / DEVIATION, dtype="float32")(loudness)
    frames = 1 + (samples - length) // hop
    x = keras.layers.Reshape((frames, MEL_BINS, 1), dtype="float32")(x)
    fourier.set_weights([kernel])
    to_mel.set_weights([np.concatenate([mel, mel])])
    return keras.Model(wave, x, name="log_mel")
