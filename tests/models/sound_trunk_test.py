"""The log-mel front end and the sound trunk."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import log_mel as sound
from tfssl.models.trunks.sound import make_sound_encoder, make_sound_trunk


def log_mel(waves: np.ndarray, rate: int) -> np.ndarray:
    """By numpy's FFT."""
    length, window, hop = sound.frame_lengths(rate)
    hann = np.pad(np.hanning(window + 1)[:-1], (length - window) // 2)
    hann = np.pad(hann, (0, length - len(hann))) * 2 / hann.sum()
    starts = range(0, waves.shape[1] - length + 1, hop)
    power = np.stack([np.abs(np.fft.rfft(waves[:, start : start + length] * hann)) ** 2 for start in starts], 1)
    return (np.log(power @ sound.mel_matrix(rate).astype(np.float64) + 1e-6) + 7) / 4


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_front_end_is_a_log_mel_spectrogram(rate):
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.2, (2, rate // 2)).astype("f4")
    waves[1] *= 1e-3
    made = sound.make_log_mel(rate // 2, rate)(waves).numpy()
    expected = log_mel(waves, rate)
    assert made.shape == (*expected.shape, 1)
    np.testing.assert_allclose(made[..., 0], expected, atol=2e-3)


def test_lengths_are_powers_of_two():
    assert [sound.frame_lengths(rate) for rate in (8000, 16000, 48000)] == [
        (256, 200, 80),
        (512, 400, 160),
        (2048, 1200, 480),
    ]


def test_a_full_tone_has_power_one_and_silence_is_the_floor():
    wave = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype("f4")[None]
    loud = sound.make_log_mel(8000, 16000)(wave).numpy()
    assert np.exp(loud.max() * 4 - 7) == pytest.approx(1, abs=1.1)  # the triangles overlap: up to two bins share it
    silent = sound.make_log_mel(8000, 16000)(np.zeros_like(wave)).numpy()
    np.testing.assert_allclose(silent, (np.log(1e-6) + 7) / 4, rtol=1e-5)


def test_trunk_has_stages_and_trains_nothing_of_the_front_end():
    trunk = make_sound_trunk("l3(width=2)", 8000, 16000)
    assert trunk.stages == ("stage1", "stage2", "stage3", "stage4")
    assert trunk.pixels.trainable_variables == []
    assert [trunk.body.get_layer(stage).output.shape[-1] for stage in trunk.stages] == [2, 4, 8, 16]


@pytest.mark.smoke
def test_encoder_is_of_stock_layers(tmp_path):
    encoder = make_sound_encoder(make_sound_trunk("l3(width=2)", 4000, 16000), 4000)
    encoder.save(tmp_path / "encoder.keras")
    waves = np.random.default_rng(0).normal(0, 0.1, (3, 4000)).astype("f4")
    again = keras.models.load_model(tmp_path / "encoder.keras", compile=False)
    np.testing.assert_array_equal(again(waves), encoder(waves))
    assert again(waves).shape == (3, 16)


def test_encoder_of_a_stage_and_its_map():
    trunk = make_sound_trunk("l3(width=2)", 4000, 16000)
    assert make_sound_encoder(trunk, 4000, "stage2").output_shape == (None, 4)
    assert make_sound_encoder(trunk, 4000, "stage2", pooled=False).output_shape == (None, 11, 32, 4)


@pytest.mark.parametrize(
    ("text", "samples", "rate", "line"),
    [
        ("l4", 8000, 16000, "unknown sound trunk"),
        ("l3(depth=3)", 8000, 16000, "depth"),
        ("l3(width=0)", 8000, 16000, "width=0"),
        ("l3", 100, 16000, "100 samples"),
        ("l3", 800, 16000, "fewer than l3"),
        ("l3", 8000, 4000, "4000 hertz"),
    ],
)
def test_wrong_settings_are_told(text, samples, rate, line):
    with pytest.raises(UserError, match=line):
        make_sound_trunk(text, samples, rate)


def test_tflite_has_built_in_ops_for_it(tmp_path):
    encoder = make_sound_encoder(make_sound_trunk("l3(width=2)", 4000, 16000), 4000)
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    spec = tf.TensorSpec([None, 4000], tf.float32, name="waveform")
    archive.add_endpoint("waveform", lambda wave: {"embedding": encoder(wave, training=False)}, input_signature=[spec])
    archive.write_out(str(tmp_path / "model"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model"), signature_keys=["waveform"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    assert len(converter.convert()) > 10_000
