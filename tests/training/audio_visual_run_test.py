"""From sounding clips to encoders of picture and sound: trained, resumed, kept, exported, served."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.tiny_models import unmeasured
from tfssl.base.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source

CLIPS = "toy:clips(count=24, size=32, seconds=1.2)"
SETTINGS = {
    "trunk": "plain(width=4)",
    "sound_trunk": "l3(width=2)",
    "size": 32,
    "batch_size": 8,
    "epochs": 1,
    "steps_per_epoch": 3,
    "report": False,
    "verbose": 0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two tasks on one trunk; one of them listens."""
    tasks = "rotation, audio_visual(seconds=0.5)"
    return tfssl.pretrain(CLIPS, tasks, out=tmp_path_factory.mktemp("clips") / "run", **SETTINGS)


def test_both_encoders_are_kept_with_their_statistics(run):
    assert run.sound == {"trunk": "l3(width=2)", "samples": 8000, "rate": 16000}
    encoder = run.sound_encoder()
    (batch,) = batches.plain_sound(open_source(CLIPS), 8000, 24)
    assert np.isfinite(encoder(batch["sound"])).all()
    norm = next(layer for layer in run.trunk(kind="sound").body.layers if "batch_normalization" in layer.name)
    untrained = next(layer for layer in run.random_trunk("sound").body.layers if "batch_normalization" in layer.name)
    assert (untrained.moving_mean.numpy() == 0).all()
    assert (norm.moving_mean.numpy() != 0).all()
    assert run.encoder()(np.zeros((1, 32, 32, 3), "uint8")).shape == (1, 32)


def test_the_run_solves_its_puzzles_on_unseen_clips(run):
    scores = tfssl.pretext(run, "toy:clips(count=10, size=32, seconds=1.2, seed=1)", draws=1)
    assert set(scores.tasks) == {"rotation", "audio_visual"}
    assert 0 <= scores.tasks["audio_visual"].metrics["accuracy"] <= 1
    assert scores.tasks["audio_visual"].chance == 0.5


def test_features_are_probed_on_labels_of_clips(run):
    found = tfssl.evaluate(run, "toy:clips(count=40, size=32, seconds=1.2)", protocols="knn", random=False)
    assert set(found.trained["knn"]) == {"stage1", "stage2", "stage3", "stage4"}


def test_export_has_a_signature_for_sound(run, tmp_path):
    exported = tfssl.export(run, unmeasured(tmp_path / "model"))
    assert exported.signatures == ("serving_default", "pixels", "waveform", "predict_rotation")
    waves = np.random.default_rng(0).normal(0, 0.1, (3, 8000)).astype("f4")
    loaded = tf.saved_model.load(exported.saved_model)
    served = loaded.signatures["waveform"](waveform=tf.constant(waves))["embedding"].numpy()
    np.testing.assert_allclose(served, run.sound_encoder()(waves), atol=1e-5)
    again = keras.models.load_model(tmp_path / "model" / "1" / "sound_encoder.keras", compile=False)
    np.testing.assert_allclose(again(waves), served, atol=1e-5)
    checked = tfssl.check(tmp_path / "model")
    assert checked.ok
    assert tuple(replay.name for replay in checked.replays) == exported.signatures


def test_a_run_goes_on_with_sound(run, tmp_path, capsys):
    tfssl.pretrain(CLIPS, "audio_visual(seconds=0.5)", out=tmp_path / "more", init=run.folder, **SETTINGS)
    said = capsys.readouterr().err
    assert "the trunks of image and sound" in said
    assert "audio_visual_sound_hidden" in said.split("left behind")[0]
    changed = SETTINGS | {"sound_trunk": "l3(width=4)"}
    with pytest.raises(UserError, match="give the same --sound-trunk"):
        tfssl.pretrain(CLIPS, "audio_visual(seconds=0.5)", out=tmp_path / "other", init=run.folder, **changed)


def test_a_run_without_sound_says_so(toy_run):
    with pytest.raises(UserError, match="has no sound encoder"):
        toy_run.sound_encoder()
