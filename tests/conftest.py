"""What tests share: a quiet TensorFlow on two devices, one tiny run, and the real data where there is any."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import tensorflow as tf

with contextlib.suppress(RuntimeError):  # TensorFlow runs already, where these are not the only tests of a process
    # Only possible before TensorFlow runs. The second one costs nothing where no test asks for it.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )

TOY = "toy:images(count=72, size=32)"
TOY_CLIPS = "toy:clips(count=16, size=32, seconds=1.2)"


def tiny_run(factory: pytest.TempPathFactory, name: str, data: str, tasks: str, **settings: Any) -> Any:
    """A run that has ended, of one epoch where not told otherwise."""
    import tfssl

    settings = {"trunk": "resnet10(width=4)", "size": 32, "epochs": 1, "batch_size": 8} | settings
    return tfssl.pretrain(data, tasks, out=factory.mktemp(name) / "run", report=False, verbose=0, **settings)


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    """A run of two epochs of nine steps that has ended. For reading only: copy its folder to change anything."""
    return tiny_run(tmp_path_factory, "toy", TOY, "rotation", epochs=2, log_every=1)


@pytest.fixture(scope="session")
def audio_visual_run(tmp_path_factory):
    """A tiny run that has ended, with encoders of picture and of sound (0.5 s). For reading only."""
    tasks = "audio_visual(seconds=0.5)"
    return tiny_run(tmp_path_factory, "audio_visual", TOY_CLIPS, tasks, sound_trunk="l3(width=2)")


@pytest.fixture(scope="session")
def colour_run(tmp_path_factory):
    """A tiny run of colorization that has ended. For reading only."""
    return tiny_run(tmp_path_factory, "colour", "toy:images(count=48, size=32)", "colorization")


@pytest.fixture(scope="session")
def localising_run(tmp_path_factory):
    """A tiny run that has ended, which tells where in a picture a sound (0.5 s) comes from. For reading only."""
    tasks = "audio_visual(fusion='localise', seconds=0.5, stage='stage2')"
    return tiny_run(tmp_path_factory, "localising", TOY_CLIPS, tasks, sound_trunk="l3(width=2)")


@pytest.fixture(scope="session")
def tracking_run(tmp_path_factory):
    """A tiny run of two steps of tracking that has ended. For reading only."""
    return tiny_run(tmp_path_factory, "tracking", TOY_CLIPS, "tracking(references=2)", steps_per_epoch=2)


@pytest.fixture(scope="session")
def toy_export(toy_run, tmp_path_factory) -> Path:
    """A folder with version 1 of `toy_run`. For reading only."""
    import tfssl

    folder = tmp_path_factory.mktemp("toy") / "models"
    tfssl.export(toy_run, folder)
    return folder


@pytest.fixture(scope="session")
def replicas() -> tf.distribute.MirroredStrategy:
    """Two replicas on two logical CPUs; a second `MirroredStrategy` in one process fails (TensorFlow 2.21)."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that TFSSL_DATA names; the test is skipped where it names none."""
    folder = os.environ.get("TFSSL_DATA", "")
    if not folder:
        pytest.skip("TFSSL_DATA names no folder of real data")
    if not Path(folder).is_dir():
        pytest.fail(f"TFSSL_DATA={folder} is no folder; unpack the real data there, or unset it")
    return Path(folder)
