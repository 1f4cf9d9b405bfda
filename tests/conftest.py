"""What tests share: a quiet TensorFlow on two devices, a few tiny runs, and the real data where there is any."""

import atexit
import contextlib
import functools
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

# What commands keep between them is of this session alone, and shared by its processes.
if "TFSSL_TESTS_CACHE" not in os.environ:
    os.environ["TFSSL_TESTS_CACHE"] = tempfile.mkdtemp(prefix="tfssl-tests-")
    atexit.register(shutil.rmtree, os.environ["TFSSL_TESTS_CACHE"], ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = os.environ["TFSSL_TESTS_CACHE"]
# Processes side by side share the cores: BLAS with all of them for each waits for itself.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tracing a graph makes hundreds of thousands of objects that live: looking through them all after each 700 new ones, as
# Python does, takes a tenth of the time of these tests.
gc.set_threshold(100_000, 50, 50)

UNOPTIMIZED = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
)

TOY = "toy:images(count=72, size=32)"
QUICK = "toy:images(count=96,size=32)"
TOY_TEXT = "toy:text(count=3000)"
WORD_TASK = "word2vec(model='skipgram', size=16)"
WORD_SETTINGS = {"epochs": 8, "batch_size": 32, "log_every": 4, "keep_every": 4, "report": False, "verbose": 0}
TOY_CLIPS = "toy:clips(count=16, size=32, seconds=1.2)"


# Test files of half a minute and more, the longest first, so that no process waits for another one's last file.
LONG = (
    "tasks/learning_test.py",
    "benchmarks/word_speed_test.py",
    "conformance/conformance_test.py",
    "cli/quiet_test.py",
    "pages_test.py",
    "training/pretrain_test.py",
    "export/serve_command_test.py",
    "auditing/audit_test.py",
    "embedding/embed_test.py",
    "export/served_trunks_test.py",
    "auditing/audit_clips_test.py",
    "export/serving_export_test.py",
    "evaluation/tuned_test.py",
    "evaluation/dense_protocols_test.py",
    "export/classifier_export_test.py",
    "multitask/two_views_replicas_test.py",
    "training/audio_visual_run_test.py",
    "models/pretrained_test.py",
    "training/watch_test.py",
    "export/tflite_test.py",
    "export/fuzz_test.py",
    "studies/studies_test.py",
    "evaluation/evaluate_test.py",
    "conformance/protocols_test.py",
    "benchmarks/bench_pipeline_test.py",
    "training/two_views_run_test.py",
    "evaluation/neighbours_test.py",
    "export/versions_test.py",
    "training/optimizer_runs_test.py",
    "benchmarks/bench_serving_test.py",
    "tasks/inpainting_test.py",
    "apply/colorize_test.py",
    "evaluation/evaluate_sound_test.py",
    "runs/measured_as_served_test.py",
    "multitask/loss_balance_test.py",
    "downstream/dense_finetune_test.py",
    "downstream/boxes_finetune_test.py",
    "downstream/finetune_test.py",
    "evaluation/labels_table_test.py",
    "evaluation/look_test.py",
    "apply/predict_dense_test.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Import TensorFlow, which takes seconds, in the processes that run tests, not in the one that hands them out."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import tensorflow as tf

    from tests.support.plain_trunk import Plain
    from tfssl.models.trunks import TRUNKS

    TRUNKS["plain"] = Plain
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, where these are not the only tests of a process
        # Only possible before TensorFlow runs. The second one costs nothing where no test asks for it.
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        # Processes side by side (pytest -n) share the cores: with all of them for each, threads wait for one another.
        tf.config.threading.set_intra_op_parallelism_threads(
            max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
        )
    if config.option.markexpr == "not slow":
        leave_graphs_as_they_are_traced()
        if "PYTEST_XDIST_WORKER" in os.environ:
            forget_where_operations_were_made()


def leave_graphs_as_they_are_traced() -> None:
    """Spare TensorFlow what makes many runs faster: a quarter of the time of tests that run a graph twice.

    And XLA makes machine code without optimizing it, half of the time of compiled training. `make test-slow` and the
    smoke tests of the wheel have both as users do; processes that tests start have the graphs.
    """
    import tensorflow as tf

    os.environ.setdefault("XLA_FLAGS", UNOPTIMIZED)  # read when something is compiled for the first time
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def forget_where_operations_were_made() -> None:
    """Spare TensorFlow a look through Python's stack for each operation of a graph: a tenth of the time of tests.

    Messages of what fails inside of a graph lack the line that made it then; a test that is run alone has it.
    """
    from tensorflow.python.util import tf_stack  # private: where it has changed, tests are only slower

    if hasattr(tf_stack, "extract_stack"):
        here = tf_stack.extract_stack()
        tf_stack.extract_stack = lambda stacklevel=1: here


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first. The smoke tests and a file alone keep their order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))  # stable


COLLECTED = [0.0]
"""When `collect_what_tests_leave` did so last, in seconds of this process's time."""


@pytest.fixture(scope="module", autouse=True)
def collect_what_tests_leave() -> None:
    """Spare Python a look through what lives on: each collection that a study asks for took half a second of it."""
    if time.process_time() - COLLECTED[0] > 60:
        gc.collect()
        gc.freeze()
        COLLECTED[0] = time.process_time()


def pytest_sessionfinish() -> None:
    """And at the end, where pytest collects five times."""
    gc.freeze()


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
        settings = {"trunk": "plain(width=4)", "size": 32, "epochs": 1, "batch_size": 8} | changes
        settings |= {"report": False, "verbose": 0}
        return load_run(made_once(name, lambda folder: tfssl.pretrain(data, tasks, out=folder, **settings)))

    return run


@pytest.fixture(scope="session")
def toy_run(tiny_run):
    """A run of two epochs of nine steps that has ended. For reading only: copy its folder to change anything."""
    return tiny_run("toy", TOY, "rotation", epochs=2, log_every=1)


@pytest.fixture(scope="session")
def word_run(made_once):
    """A run of skip-gram on sentences of the toy grammar that has ended: 8 epochs, 2 s. For reading only."""
    import tfssl
    from tfssl.runs.run import load_run

    return load_run(made_once("words", lambda folder: tfssl.pretrain(TOY_TEXT, WORD_TASK, out=folder, **WORD_SETTINGS)))


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
def colour_export(colour_run, made_once) -> Path:
    """A folder with version 1 of `colour_run`. For reading only."""
    import tfssl
    from tests.support.tiny_models import unmeasured

    return made_once("colour_models", lambda folder: tfssl.export(colour_run, unmeasured(folder)))


@pytest.fixture(scope="session")
def localising_export(localising_run, made_once) -> Path:
    """A folder with version 1 of `localising_run`. For reading only."""
    import tfssl
    from tests.support.tiny_models import unmeasured

    return made_once("localising_models", lambda folder: tfssl.export(localising_run, unmeasured(folder)))


@pytest.fixture(scope="module")
def loaded_once():
    """SavedModels are loaded once a file: a second each time. For tests that change no SavedModel in its place."""
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", functools.cache(tf.saved_model.load))
        yield


@pytest.fixture(scope="session")
def labelled_folder(made_once) -> Path:
    """A folder of 60 toy pictures as PNG in class folders '10', '2' and 'Été'. For reading only."""
    from tfssl.pipelines.sources.any_source import open_source

    def write(folder: Path) -> None:
        source = open_source("toy:images(count=60, size=32)")
        for number, (data, label) in enumerate(zip(source.encoded, source.labels, strict=True)):
            path = folder / ("10", "2", "Été")[label % 3] / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    return made_once("labelled", write)


@pytest.fixture(scope="session")
def toy_classifier(toy_run, labelled_folder, made_once) -> Path:
    """The folder of a classifier of `labelled_folder`, beside one that began from random weights. For reading only."""
    import tfssl

    settings = {"steps": 2, "batch_size": 8, "learning_rates": (0.003,), "beside": "scratch"}
    settings |= {"refit": False, "verbose": 0}
    return made_once("classifier", lambda folder: tfssl.finetune(toy_run, labelled_folder, out=folder, **settings))


@pytest.fixture(scope="session")
def divided_folder(made_once) -> Path:
    """A folder of train/ (30) and test/ (12), toy pictures in classes 'a', 'b', 'c'. For reading only.

    train/a/copy.png is train/a/00.png, and test/b/leaked.jpg shows what train/b/01.png does.
    """
    import io

    from PIL import Image

    from tfssl.pipelines.sources.any_source import open_source

    def write(folder: Path) -> None:
        for number, data in enumerate(open_source("toy:images(count=42, size=32)").encoded):
            place = folder / ("train" if number < 30 else "test") / "abc"[number % 3]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:02}.png").write_bytes(data)
            if number == 0:
                (place / "copy.png").write_bytes(data)
            if number == 1:
                (folder / "test" / "b").mkdir(parents=True)
                image = Image.open(io.BytesIO(data)).convert("RGB")
                image.save(folder / "test" / "b" / "leaked.jpg", quality=60)

    return made_once("divided", write)


@pytest.fixture(scope="session")
def toy_look(toy_run, divided_folder, made_once) -> Path:
    """What `look` wrote of `divided_folder`, with 5 pictures selected, placed by PCA. For reading only."""
    import tfssl

    settings = {"select": 5, "layout": "pca"}
    return made_once("look", lambda folder: tfssl.look(divided_folder, toy_run, folder, **settings))


@pytest.fixture(scope="session")
def toy_inside(toy_run, labelled_folder, made_once) -> Path:
    """The page of what `toy_run` sees in three pictures of `labelled_folder`. For reading only."""
    import tfssl

    return (
        made_once("inside", lambda to: tfssl.inside(toy_run, labelled_folder, to / "inside.html", count=3))
        / "inside.html"
    )


@pytest.fixture(scope="session")
def toy_quickstart(made_once, toy_export) -> Path:
    """The folder of a quickstart on `QUICK` within 12 minutes, as of a machine with 40 s a step. For reading only.

    Its pages and its figures are the least that there is, and in place of its exports is another one: others test them.
    """
    import tfssl
    from tfssl.starting import budget, measuring, parts, plan, quickstart

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "TRUNKS", ("plain(width=4)",))
            patch.setattr(plan, "LEAST_STEPS", 2)
            patch.setattr(measuring, "measure", lambda *given: budget.Speed(40.0, 0.1, 0.0))
            patch.setattr(quickstart, "_adapted", lambda settings, kept: kept)
            patch.setattr(parts, "PROTOCOLS", ("knn",))
            patch.setitem(parts.FUNCTIONS, "export", lambda run, folder, version: shutil.copytree(toy_export, folder))
            patch.setitem(parts.FUNCTIONS, "check", lambda folder: folder)
            for page in ("tfssl.report.page", "tfssl.downstream.report"):
                patch.setattr(f"{page}.write_report", lambda result, *more: (result.folder / "report.html").touch())
            tfssl.quickstart(QUICK, 12, out=folder, verbose=0)

    return made_once("quickstart", make)


@pytest.fixture(scope="session")
def replicas() -> Any:
    """A `MirroredStrategy` of two logical CPUs; a second one in one process fails (TensorFlow 2.21)."""
    import tensorflow as tf

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
