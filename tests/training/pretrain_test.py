"""A run that was killed ends as one that was not, and whatever goes wrong leaves what existed alone."""

import hashlib
import json
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.forked import Forked, command
from tfssl.base import environment as versions
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, write_json
from tfssl.models.trunks import make_trunk
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.tasks.rotation import Rotation
from tfssl.training.pretrain import segments

TOY = "toy:images(count=72, size=32)"
SETTINGS = {"trunk": "plain(width=4)", "size": 32, "batch_size": 8, "report": False, "verbose": 0}
TASKS = "rotation(dropout=0.5)"
# Three epochs of nine steps; a checkpoint every four and at the end of each epoch.
COMMAND = [
    *("pretrain", TOY, "--tasks", TASKS, "--trunk", "plain(width=4)", "--size", "32", "--batch-size", "8"),
    *("--epochs", "3", "--deterministic", "--checkpoint-every", "4", "--log-every", "1", "--json"),
]


def start(out: Path, **settings) -> Forked:
    said = out.with_name(f"said{len(list(out.parent.iterdir()))}")
    return command([*COMMAND, "--out", str(out)], said, **settings)


def digest(folder: Path) -> str:
    """Of all weights, batch norm statistics and optimizer variables of the newest checkpoint, and of the encoder."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / "checkpoints")))
    names = sorted(
        name for name in reader.get_variable_to_shape_map() if name.split("/")[0] in ("weights", "optimizer", "seeds")
    )
    found = hashlib.sha256()
    for name in names:
        found.update(np.ascontiguousarray(reader.get_tensor(name)).tobytes())
    for weight in keras.models.load_model(folder / "encoder.keras", compile=False).get_weights():
        found.update(weight.tobytes())
    return found.hexdigest()


def lines(folder: Path) -> list[dict]:
    """metrics.jsonl without what depends on the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in found]


def wait_for_step(folder: Path, step: int, process: Forked) -> None:
    log = folder / "metrics.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and process.returncode is None:
        if log.exists() and f'"step": {step},' in log.read_text():
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached: {process.communicate()}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training") / "undisturbed"
    process = start(folder)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder, json.loads(output)


def kill(folder: Path, step: int) -> None:
    process = start(folder)
    wait_for_step(folder, step, process)
    process.kill()
    process.communicate()


def ask_to_stop(folder: Path, step: int, number: int) -> None:
    """It saves first, and says so."""
    process = start(folder)
    wait_for_step(folder, step, process)
    process.send_signal(number)
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    said = errors.splitlines()[-1]
    assert "saved. The same command resumes it from there" in said
    stopped = int(said.split("step ")[1].split()[0])
    assert stopped >= step
    assert tf.train.latest_checkpoint(str(folder / "checkpoints")).endswith(f"step-{stopped}")


def fill_the_disk(folder: Path) -> None:
    """Files above a limit cannot be written, as on a full disk; the weights alone are larger."""
    process = start(folder, largest_file=20_000)
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, ""), errors
    assert "cannot" in errors.splitlines()[-1]
    assert not list(folder.glob(".*")), "a temporary file was left behind"


def test_however_it_was_ended_it_ends_with_the_same_bits(undisturbed, tmp_path):
    """One run is interrupted in every way, one after the other, as each start takes seconds."""
    folder = tmp_path / "run"
    fill_the_disk(folder)
    kill(folder, 6)  # behind the checkpoint of 4, inside of the first epoch
    ask_to_stop(folder, 8, signal.SIGTERM)
    kill(folder, 15)  # behind the checkpoint of 12, inside of the second epoch
    fill_the_disk(folder)
    ask_to_stop(folder, 17, signal.SIGINT)
    assert not (folder / "result.json").exists()
    output, errors = start(folder).communicate()
    assert "resuming the run" in errors
    assert json.loads(output)["metrics"] == undisturbed[1]["metrics"]
    assert digest(folder) == digest(undisturbed[0])
    assert lines(folder) == lines(undisturbed[0])
    assert [line["step"] for line in lines(folder)] == [*range(1, 10), 9, *range(10, 19), 18, *range(19, 28), 27]


def test_segments():
    assert list(segments(0, 10, 3)) == [(0, 10, 3)]
    assert list(segments(4, 10, 3)) == [(4, 6, 1), (10, 10, 3)]
    assert list(segments(10, 10, 3)) == [(10, 10, 3)]
    assert list(segments(24, 10, 3)) == [(24, 6, 3)]
    assert list(segments(30, 10, 3)) == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training") / "finished"
    return tfssl.pretrain(TOY, TASKS, out=folder, epochs=2, checkpoint_every=4, **SETTINGS)


@pytest.mark.smoke
def test_result_and_files(finished):
    result = finished.result
    assert list(result) == ["run", "epochs", "steps", "images_per_second", "metrics", "broken_files"]
    assert (result["epochs"], result["steps"], result["broken_files"]) == (2, 18, 0)
    assert set(result["metrics"]) == {"loss", "rotation_accuracy"}
    assert 0 < result["metrics"]["rotation_accuracy"] < 1
    assert (finished.folder / "tensorboard" / "train").is_dir()
    settings = json.loads((finished.folder / "run.json").read_text())["settings"]
    assert (settings["tasks"], settings["steps_per_epoch"]) == (TASKS, 9)
    assert not list(finished.folder.glob(".*"))


def test_an_ended_run_is_not_trained_again(finished, capsys):
    before = (finished.folder / "encoder.keras").stat()
    again = tfssl.pretrain(TOY, TASKS, out=finished.folder, epochs=2, **SETTINGS)
    assert again.result == finished.result
    assert (finished.folder / "encoder.keras").stat() == before
    assert "has ended already" in capsys.readouterr().err


def test_other_settings_and_other_data_are_refused(finished):
    with pytest.raises(UserError, match="holds a run with epochs 2, now 3 is given"):
        tfssl.pretrain(TOY, TASKS, out=finished.folder, epochs=3, **SETTINGS)
    with pytest.raises(
        UserError, match=r"seed=1\) is given: 72 pictures then, 72 now; new or changed: toy.* and 69 more"
    ):
        tfssl.pretrain("toy:images(count=72, size=32, seed=1)", TASKS, out=finished.folder, epochs=2, **SETTINGS)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="exists and is no run"):
        tfssl.pretrain(TOY, out=tmp_path, epochs=1, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": "nowhere"}, "nowhere does not exist"),
        ({"tasks": "rotations"}, "unknown task 'rotations'; tasks are:"),
        ({"trunk": "vgg"}, "unknown trunk 'vgg'"),
        ({"size": 4}, "too small for plain"),
        ({"batch_size": 100}, "has 72 pictures"),
        ({"epochs": 0}, "epochs=0 is given"),
        ({"steps_per_epoch": 0}, "steps_per_epoch=0 is given"),
        ({"checkpoint_every": 0}, "checkpoint_every=0 is given"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is given"),
        ({"momentum": 1.5}, "momentum=1.5 is given"),
        ({"optimizer": "adam"}, "expected one of: sgd, adamw, lars"),
        ({"clip_norm": 0}, "clip_norm=0 is given, expected more than 0"),
        ({"seed": -1}, "seed=-1 is given"),
        ({"schedule": "linear"}, "expected one of: cosine, step"),
        ({"mixed_precision": "int8"}, "expected one of: float16, bfloat16"),
    ],
)
def test_wrong_input_writes_nothing(tmp_path, changes, says):
    arguments = {"data": TOY, "epochs": 1, "out": tmp_path / "run"} | SETTINGS | changes
    with pytest.raises(UserError, match=says):
        tfssl.pretrain(**arguments)
    assert not (tmp_path / "run").exists()


def test_a_trunk_built_in_another_precision_is_refused(tmp_path):
    pixels = keras.Input((32, 32, 3))
    trunk = keras.Model(pixels, keras.layers.Conv2D(2, 3, dtype="mixed_float16")(pixels))
    for mixed in (None, "bfloat16"):
        with pytest.raises(UserError, match=f"compute in float16, and mixed_precision is {mixed!r}; give 'float16'"):
            tfssl.pretrain(TOY, epochs=1, out=tmp_path / "run", **SETTINGS | {"trunk": trunk, "mixed_precision": mixed})
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write|exists and is no run"):
        tfssl.pretrain(TOY, TASKS, out=tmp_path / "file" / "run", epochs=1, **SETTINGS)


def test_a_checkpoint_cut_in_half(finished, tmp_path, capsys):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    for name in ("result.json", "encoder.keras"):
        (folder / name).unlink()
    newest = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    data = Path(f"{newest}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    run = tfssl.pretrain(TOY, TASKS, out=folder, epochs=2, checkpoint_every=4, **SETTINGS)
    said = capsys.readouterr().err
    assert "the checkpoint step-18 is damaged; the one before it is used" in said
    assert "from step 16 of 18" in said
    assert run.result["steps"] == 18
    assert [line["step"] for line in lines(folder)][-1] == 18


def test_a_run_with_too_many_broken_pictures_is_saved_first_and_knows_them_and_its_versions(tmp_path, capsys):
    """Stopped after its last step: no step is left in which the picture would be met again."""
    (tmp_path / "photos").mkdir()
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        keras.utils.save_img(tmp_path / "photos" / f"{number}.jpg", noise, scale=False)
    path = tmp_path / "photos" / "3.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    arguments = {"out": tmp_path / "run", "epochs": 1, "keep_every": 1} | SETTINGS | {"batch_size": 5}
    with pytest.raises(UserError, match=r"1 of 10 pictures .* The run is saved"):
        tfssl.pretrain(tmp_path / "photos", TASKS, **arguments)
    assert tf.train.latest_checkpoint(str(tmp_path / "run" / "checkpoints")).endswith("step-2")
    assert "began with" not in capsys.readouterr().err
    trunk = tmp_path / "run" / "epochs" / "1.keras"
    trunk.unlink()  # as if the disk had been full
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    write_json(tmp_path / "run" / "run.json", content | {"versions": content["versions"] | {"keras": "3.0.1"}})
    again = tfssl.pretrain(tmp_path / "photos", TASKS, max_broken=0.2, **arguments)
    assert (again.result["broken_files"], again.result["steps"]) == (1, 2)
    assert (again.folder / "broken.txt").read_text() == f"{path} cannot be decoded to its end\n"
    kept, last = (keras.models.load_model(each, compile=False) for each in (trunk, again.folder / "encoder.keras"))
    for one, other in zip(kept.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "began with" in line]
    assert f"keras 3.0.1 (now {keras.__version__}); that it ends as it would have, bit for bit, is not promised" in line


def test_versions_that_changed():
    now = versions.versions()
    assert versions.changes(now) == ""
    assert versions.changes(now | {"python": "3.0"}) == ""
    assert versions.changes({}) == ""  # runs of before versions were written down
    then = now | {"tfssl": "0.0.1", "tensorflow": "2.0.0"}
    assert versions.changes(then) == f"tfssl 0.0.1 (now {now['tfssl']}), tensorflow 2.0.0 (now {tf.__version__})"


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"is not finite at step \d+ .* lower --learning-rate") as stopped:
        tfssl.pretrain(
            TOY,
            TASKS,
            out=tmp_path / "run",
            epochs=3,
            learning_rate=1e30,
            warm_up=0,
            checkpoint_every=1,
            momentum=0.0,
            **SETTINGS,
        )
    assert "kept" in str(stopped.value) or "no checkpoint" in str(stopped.value)
    newest = tf.train.latest_checkpoint(str(tmp_path / "run" / "checkpoints"))
    if newest:
        reader = tf.train.load_checkpoint(newest)
        for name in reader.get_variable_to_shape_map():
            if name.startswith("weights"):
                assert np.isfinite(reader.get_tensor(name)).all()


def test_weight_decay_leaves_batch_norm_and_biases_alone():
    """One step with no gradient to speak of: only what decays moves."""
    model = make_model([Rotation()], {"image": make_trunk("alexnet(width=4)", 32)}, _spec())
    optimizer = make_optimizer(momentum=0.0, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    optimizer.learning_rate = 0.5
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([tf.zeros_like(v.value) for v in model.trainable_variables], model.trainable_variables)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        factor = 1.0 if variable.name in ("gamma", "beta", "bias") else 1 - 0.5 * 0.1
        np.testing.assert_allclose(variable.numpy(), factor * old, rtol=1e-6)
    assert {v.name for v in model.trainable_variables} == {"kernel", "gamma", "beta", "bias"}


def test_weight_decay_is_that_of_the_papers():
    """RotNet's code keeps .78 of a weight in 500 steps without gradient; decoupled as in Keras it would be .975."""
    variable = keras.Variable(np.ones([2, 3], np.float32))
    optimizer = make_optimizer(momentum=0.9, weight_decay=5e-4)
    optimizer.build([variable])
    optimizer.learning_rate = 0.1
    weight, speed = 1.0, 0.0
    for _ in range(500):
        optimizer.apply([tf.zeros([2, 3])], [variable])
        gradient = 5e-4 * weight
        speed = 0.9 * speed + gradient  # as PyTorch writes Nesterov's momentum
        weight -= 0.1 * (gradient + 0.9 * speed)
    np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-4)
    assert weight == pytest.approx(0.781, abs=0.003)


def test_metrics_have_the_same_names_with_one_task_as_with_several():
    model = make_model([Rotation()], {"image": make_trunk("alexnet(width=4)", 32)}, _spec())
    compile_model(model, [Rotation()], {}, make_optimizer(0.9, 0.0))
    images = np.zeros([8, 32, 32, 3], np.uint8)
    weights = np.array([1.0, 1, 1, 1, 0, 0, 0, 0], np.float32)
    answers = np.array([0, 1, 2, 3] * 2, np.int32)
    found = model.test_on_batch({"rotation": images}, {"rotation": answers}, {"rotation": weights}, return_dict=True)
    assert set(found) == {"loss", "rotation_accuracy"}
    # Equal pictures get one answer: right once in four. Half the rows count nothing, and the loss is divided by all.
    assert found["rotation_accuracy"] == pytest.approx(0.25)
    logits = model.predict({"rotation": images}, verbose=0)["rotation"][0]
    cross_entropy = np.log(np.exp(logits).sum()) - logits
    assert found["loss"] == pytest.approx(cross_entropy.mean() / 2, rel=1e-5)


@pytest.mark.parametrize(
    "changes", [{"mixed_precision": "bfloat16"}, {"mixed_precision": "float16"}, {"jit_compile": True}]
)
def test_flags(tmp_path, changes):
    run = tfssl.pretrain(TOY, TASKS, out=tmp_path / "run", epochs=1, steps_per_epoch=3, **SETTINGS, **changes)
    assert np.isfinite(run.result["metrics"]["loss"])
    embedding = run.encoder()(np.zeros([1, 32, 32, 3], np.uint8))
    assert embedding.dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"


def test_replacing_writes_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_load_run_says_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="is no run"):
        tfssl.load_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        tfssl.load_run(tmp_path)


def _spec():
    return ({"rotation": tf.TensorSpec([8, 32, 32, 3], tf.uint8)}, None, None)
