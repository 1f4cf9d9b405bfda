"""What tests share: a quiet TensorFlow on two devices, a few tiny runs, and the real data where there is any."""

import contextlib
import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import tensorflow as tf

with contextlib.suppress(RuntimeError):  # TensorFlow runs already, where these are not the only tests of a process
    # Only possible before TensorFlow runs. The second one costs nothing where no test asks for it.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    # Processes side by side (pytest -n) share the cores: with all of them for each, threads wait for one another.
    tf.config.threading.set_intra_op_parallelism_threads(
        max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    )

# Tracing a graph makes hundreds of thousands of objects that live: looking through them all after each 700 new ones, as
# Python does, takes a tenth of the time of these tests.
gc.set_threshold(100_000, 50, 50)

TOY = "toy:images(count=72, size=32)"
TOY_CLIPS = "toy:clips(count=16, size=32, seconds=1.2)"


# Test files of half a minute and more, the longest first, so that no process waits for another one's last file.
LONG = (
    "conformance/conformance_test.py",
    "cli/quiet_test.py",
    "training/pretrain_test.py",
    "pages_test.py",
    "cli/cli_test.py",
    "studies/studies_test.py",
    "export/serving_export_test.py",
    "export/fuzz_test.py",
    "benchmarks/bench_serving_test.py",
    "training/audio_visual_run_test.py",
    "export/heads_test.py",
    "export/export_test.py",
    "export/tflite_test.py",
    "export/projection_test.py",
    "export/onnx_test.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first. The smoke tests and a file alone keep their order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))  # stable


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], Any]], Path]:
    """Folders that all processes of a test session (pytest -n) share: (name, what makes it) -> the folder.

    The first process that asks makes it, the others wait. For reading only.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers
    shared /= "made_once"
    shared.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], Any]) -> Path:
        path, whole = shared / name, shared / f"{name}.whole"
        with filelock.FileLock(shared / f"{name}.lock"):
            if not whole.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a process that failed
                make(path)
                whole.touch()
        return path

    return folder


@pytest.fixture(scope="session")
def tiny_run(made_once) -> Callable[..., Any]:
    """(name, data, tasks, settings of `pretrain`) -> a run that has ended, of one epoch where not told otherwise."""
    import tfssl
    from tfssl.runs.run import load_run

    def run(name: str, data: str, tasks: str, **changes: Any) -> Any:
        settings = {"trunk": "resnet10(width=4)", "size": 32, "epochs": 1, "batch_size": 8} | changes
        settings |= {"report": False, "verbose": 0}
        return load_run(made_once(name, lambda folder: tfssl.pretrain(data, tasks, out=folder, **settings)))

    return run


@pytest.fixture(scope="session")
def toy_run(tiny_run):
    """A run of two epochs of nine steps that has ended. For reading only: copy its folder to change anything."""
    return tiny_run("toy", TOY, "rotation", epochs=2, log_every=1)


@pytest.fixture(scope="session")
def audio_visual_run(tiny_run):
    """A tiny run that has ended, with encoders of picture and of sound (0.5 s). For reading only."""
    return tiny_run("audio_visual", TOY_CLIPS, "audio_visual(seconds=0.5)", sound_trunk="l3(width=2)")


@pytest.fixture(scope="session")
def colour_run(tiny_run):
    """A tiny run of colorization that has ended. For reading only."""
    return tiny_run("colour", "toy:images(count=48, size=32)", "colorization")


@pytest.fixture(scope="session")
def localising_run(tiny_run):
    """A tiny run that has ended: it tells where a sound (0.5 s) comes from, and follows. For reading only."""
    tasks = "audio_visual(fusion='localise', seconds=0.5, stage='stage2'), tracking(references=2)"
    return tiny_run("localising", TOY_CLIPS, tasks, sound_trunk="l3(width=2)")


@pytest.fixture(scope="session")
def tracking_run(tiny_run):
    """A tiny run of two steps of tracking that has ended. For reading only."""
    return tiny_run("tracking", TOY_CLIPS, "tracking(references=2)", steps_per_epoch=2)


@pytest.fixture(scope="session")
def toy_export(toy_run, made_once) -> Path:
    """A folder with version 1 of `toy_run`. For reading only."""
    import tfssl

    return made_once("models", lambda folder: tfssl.export(toy_run, folder))


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
