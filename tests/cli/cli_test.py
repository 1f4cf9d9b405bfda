"""Every command's JSON, and every wrong input: exit status 2, one line, nothing new on disk."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfssl.cli.main import main

TOY = "toy:images(count=72,size=32)"
TINY = ["--trunk", "plain(width=4)", "--size", "32", "--batch-size", "8"]


@pytest.fixture
def tfssl(capfd, monkeypatch, tmp_path):
    """Runs a command in this process, in a folder of its own: (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return end.value.code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def shelf(toy_run, toy_export, tmp_path_factory):
    """What wrong commands name. Folders by name; each test asserts that they did not change."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "letter.txt").write_text("dear")
    (folder / "file").write_text("mine")
    (folder / "taken.npz").write_text("mine")
    for name in ("unlabelled", "one_class/cats", "labelled/cats", "labelled/dogs", "cut/train/cats", "cut/train/dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            image = np.random.default_rng(number).integers(0, 256, (32, 32, 3)).astype(np.uint8)
            (folder / name / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    shutil.copytree(folder / "one_class", folder / "other_classes")
    (folder / "other_classes" / "cats").rename(folder / "other_classes" / "cows")
    shutil.copytree(folder / "one_class" / "cats", folder / "other_classes" / "hens")
    for name in ("Train", "holdout"):
        shutil.copytree(folder / "labelled", folder / "unclear" / name)
    (folder / "all_broken").mkdir()
    for number in range(3):
        (folder / "all_broken" / f"{number}.jpg").write_bytes(b"\xff\xd8\xff no JPEG")
    shutil.copytree(toy_run.folder, folder / "unended")
    for name in ("result.json", "encoder.keras"):
        (folder / "unended" / name).unlink()
    shutil.copytree(toy_run.folder, folder / "unbegun")
    for name in ("result.json", "encoder.keras", "random.keras", "checkpoints"):
        path = folder / "unbegun" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "broken_model" / "1").mkdir(parents=True)
    (folder / "broken_model" / "1" / "saved_model.pb").write_bytes(b"no model")
    (folder / "half").mkdir()
    (folder / "half" / "run.json").write_text('{"settings": {')
    (folder / "run").symlink_to(toy_run.folder)
    (folder / "models").symlink_to(toy_export)
    return folder


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, with its size and time of change."""
    found = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        for name in folders + files:
            status = os.stat(os.path.join(place, name))
            found[os.path.join(place, name)] = (0 if name in folders else status.st_size, status.st_mtime_ns)
    return found


SHOW = ["show", TOY, "--to", "puzzles.png", "--size", "32"]
QUICKSTART = ["quickstart", "--out", "quick", "--verbose", "0"]
PRETRAIN = ["pretrain", TOY, "--tasks", "rotation", *TINY, "--epochs", "1", "--out", "run"]
AGAIN = ["pretrain", TOY, *TINY, "--tasks", "rotation", "--epochs", "2", "--log-every", "1", "--out", "{shelf}/run"]
EVALUATE = ["evaluate", "{shelf}/run"]
EMBED = ["embed", "{shelf}/run"]

WRONG = {
    # Click's own
    "unknown command": (["learn"], "No such command 'learn'"),
    "unknown option": ([*SHOW, "--colour"], "No such option"),
    "show: no data": (["show", "--to", "a.png"], "Missing argument 'DATA'"),
    "pretrain: no data": (["pretrain", "--out", "run"], "Missing argument 'DATA'"),
    "pretrain: a word for a number": ([*PRETRAIN, "--epochs", "many"], "'many' is not a valid integer"),
    "evaluate: no data": (["evaluate", "run"], "Missing argument 'DATA'"),
    "export: no folder": (["export", "run"], "Missing argument 'DIR'"),
    "export: a word for a version": (["export", "{shelf}/run", "out", "--version", "new"], "not a valid integer"),
    "check: no folder": (["check"], "Missing argument 'DIR'"),
    "embed: no file": ([*EMBED, TOY], "Missing option '--to'"),
    # show
    "show: missing folder": (["show", "nowhere", "--to", "a.png"], "nowhere does not exist"),
    "show: a file for data": (["show", "{shelf}/file", "--to", "a.png"], "is a file"),
    "show: no picture": (["show", "{shelf}/notes", "--to", "a.png"], "notes, only .txt: 1; expected"),
    "show: all broken": (["show", "{shelf}/all_broken", "--to", "a.png"], "3 of 3 pictures"),
    "show: unknown toy": (["show", "toy:sounds", "--to", "a.png"], "unknown toy source"),
    "show: unknown toy setting": (["show", "toy:images(colour=1)", "--to", "a.png"], "no setting 'colour'"),
    "show: unknown task": ([*SHOW, "--tasks", "jigsaws"], "unknown task 'jigsaws'"),
    "show: unknown setting": ([*SHOW, "--tasks", "rotation(turns=4)"], "no setting 'turns'"),
    "show: wrong value": ([*SHOW, "--tasks", "rotation(rotations=3)"], "expected one of 2, 4, 8"),
    "show: no list of tasks": ([*SHOW, "--tasks", "rotation("], "cannot read"),
    "show: the same task twice": ([*SHOW, "--tasks", "rotation, rotation"], "given 2 times"),
    "show: wrong ending": (["show", TOY, "--to", "puzzles.txt"], "expected a file that ends in"),
    "show: unwritable": (["show", TOY, "--size", "32", "--to", "{shelf}/file/a.png"], "cannot write"),
    "show: size 0": (["show", TOY, "--to", "a.png", "--size", "0"], "--size 0 is given"),
    "show: size below 0": (["show", TOY, "--to", "a.png", "--size", "-3"], "--size -3 is given"),
    "show: size too small": (["show", TOY, "--to", "a.png", "--size", "7"], "expected at least 8"),
    "show: no picture asked for": ([*SHOW, "--count", "0"], "--count 0 is given"),
    "show: seed too large": ([*SHOW, "--seed", "99999999999"], "--seed"),
    "show: no run": ([*SHOW, "--run", "{shelf}/notes"], "is no run"),
    "show: half a run": ([*SHOW, "--run", "{shelf}/half"], "cannot be read"),
    "show: a run without a checkpoint": ([*SHOW[:-2], "--run", "{shelf}/unbegun"], "has not"),
    "show: another size than the run's": ([*SHOW[:-1], "40", "--run", "{shelf}/run"], "--size 40 is given"),
    "show: other tasks than the run's": (
        [*SHOW, "--tasks", "rotation(rotations=2)", "--run", "{shelf}/run"],
        "rotation(rotations=2)",
    ),
    # quickstart
    "quickstart: no folder for it": (["quickstart", TOY], "Missing option '--out'"),
    "quickstart: missing folder": ([*QUICKSTART, "nowhere"], "nowhere does not exist"),
    "quickstart: no picture": ([*QUICKSTART, "{shelf}/empty"], "no picture in"),
    "quickstart: few pictures": ([*QUICKSTART, "{shelf}/unlabelled"], "has 6 pictures to pretrain on; expected 16"),
    "quickstart: all broken": ([*QUICKSTART, "{shelf}/all_broken"], "3 of 3 pictures"),
    "quickstart: no minutes": ([*QUICKSTART, TOY, "--minutes", "0"], "--minutes 0.0 is given, expected at least 2"),
    "quickstart: a minute": ([*QUICKSTART, TOY, "--minutes", "1"], "--minutes 1.0 is given, expected at least 2 min"),
    "quickstart: something else there": (["quickstart", TOY, "--out", "{shelf}/notes"], "exists and is no quickstart"),
    "quickstart: a file there": (["quickstart", TOY, "--out", "{shelf}/file"], "exists and is no quickstart"),
    "quickstart: no such table": ([*QUICKSTART, "{shelf}/labelled", "--labels", "nowhere.csv"], "cannot be read"),
    # pretrain
    "pretrain: missing folder": (["pretrain", "nowhere", *TINY, "--out", "run"], "nowhere does not exist"),
    "pretrain: no picture": (["pretrain", "{shelf}/empty", *TINY, "--out", "run"], "no picture in"),
    "pretrain: all broken": (["pretrain", "{shelf}/all_broken", *TINY, "--out", "run"], "3 of 3 pictures"),
    "pretrain: unknown task": ([*PRETRAIN, "--tasks", "jigsaws"], "unknown task 'jigsaws'"),
    "pretrain: unknown setting": ([*PRETRAIN, "--tasks", "rotation(turns=4)"], "no setting 'turns'"),
    "pretrain: unknown trunk": ([*PRETRAIN, "--trunk", "vgg"], "unknown trunk 'vgg'"),
    "pretrain: unknown trunk setting": ([*PRETRAIN, "--trunk", "resnet10(depth=3)"], "no setting 'depth'"),
    "pretrain: size too small": ([*PRETRAIN, "--size", "4"], "too small for plain"),
    "pretrain: size 0": ([*PRETRAIN, "--size", "0"], "--size 0 is given"),
    "pretrain: batch too large": ([*PRETRAIN, "--batch-size", "100"], "has 72 pictures"),
    "pretrain: batch 0": ([*PRETRAIN, "--batch-size", "0"], "--batch-size 0 is given"),
    "pretrain: no epochs": ([*PRETRAIN, "--epochs", "0"], "--epochs 0 is given"),
    "pretrain: no steps": ([*PRETRAIN, "--steps-per-epoch", "0"], "--steps-per-epoch 0 is given"),
    "pretrain: unknown schedule": ([*PRETRAIN, "--schedule", "linear"], "expected one of: cosine, step"),
    "pretrain: unknown precision": ([*PRETRAIN, "--mixed-precision", "int8"], "expected one of: float16, bfloat16"),
    "pretrain: lines every 0 steps": ([*PRETRAIN, "--log-every", "0"], "--log-every"),
    "pretrain: checkpoints every 0 steps": ([*PRETRAIN, "--checkpoint-every", "0"], "--checkpoint-every"),
    "pretrain: seed below 0": ([*PRETRAIN, "--seed", "-1"], "--seed"),
    "pretrain: seed too large": ([*PRETRAIN, "--seed", "99999999999"], "--seed"),
    "pretrain: learning rate 0": ([*PRETRAIN, "--learning-rate", "0"], "--learning-rate"),
    "pretrain: learning rate below 0": ([*PRETRAIN, "--learning-rate", "-1"], "--learning-rate"),
    "pretrain: warm-up too long": ([*PRETRAIN, "--warm-up", "2"], "--warm-up"),
    "pretrain: momentum 1": ([*PRETRAIN, "--momentum", "1"], "--momentum"),
    "pretrain: weight decay below 0": ([*PRETRAIN, "--weight-decay", "-1"], "--weight-decay"),
    "pretrain: broken part above 1": ([*PRETRAIN, "--max-broken", "2"], "--max-broken"),
    "pretrain: unwritable": ([*PRETRAIN[:-1], "{shelf}/file/run"], "cannot write"),
    "pretrain: a file for the run": ([*PRETRAIN[:-1], "{shelf}/file"], "exists and is no run"),
    "pretrain: a folder that is no run": ([*PRETRAIN[:-1], "{shelf}/notes"], "exists and is no run"),
    "pretrain: half a run": ([*PRETRAIN[:-1], "{shelf}/half"], "cannot be read"),
    "pretrain: other settings": ([*AGAIN, "--epochs", "3"], "holds a run with epochs 2, now 3 is given"),
    "pretrain: other data": (["pretrain", "{shelf}/labelled", *AGAIN[2:]], "pictures then, 12 now"),
    # evaluate
    "evaluate: no run": (["evaluate", "{shelf}/notes", TOY], "is no run"),
    "evaluate: missing run": (["evaluate", "nowhere", TOY], "is no run"),
    "evaluate: a run that has not ended": (["evaluate", "{shelf}/unended", TOY], "has not ended"),
    "evaluate: missing folder": ([*EVALUATE, "nowhere"], "nowhere does not exist"),
    "evaluate: no picture": ([*EVALUATE, "{shelf}/empty"], "no picture in"),
    "evaluate: no labels": ([*EVALUATE, "{shelf}/unlabelled"], "has no labels"),
    "evaluate: one class": ([*EVALUATE, "{shelf}/one_class"], "has no labels"),
    "evaluate: no test part": ([*EVALUATE, "{shelf}/cut"], "neither test/ nor val/"),
    "evaluate: splits that are not understood": ([*EVALUATE, "{shelf}/unclear"], "has Train/, holdout/: are these"),
    "evaluate: other classes": (
        [*EVALUATE, "{shelf}/labelled", "--test", "{shelf}/other_classes"],
        "have no class in common (cats, dogs and cows, hens)",
    ),
    "evaluate: missing test data": ([*EVALUATE, TOY, "--test", "nowhere"], "nowhere does not exist"),
    "evaluate: unknown protocol": (
        [*EVALUATE, TOY, "--protocols", "svn"],
        "protocols are: linear, linear_pooled, linear_pooled_2, knn",
    ),
    "evaluate: no protocol": (
        [*EVALUATE, TOY, "--protocols", ","],
        "protocols are: linear, linear_pooled, linear_pooled_2, knn",
    ),
    "evaluate: grid 0": ([*EVALUATE, TOY, "--grid", "0"], "--grid 0 is given"),
    "evaluate: no numbers": ([*EVALUATE, TOY, "--numbers", "0"], "--numbers 0 is given"),
    # export
    "export: no run": (["export", "{shelf}/notes", "out"], "is no run"),
    "export: a run that has not ended": (["export", "{shelf}/unended", "out"], "has not ended"),
    "export: version exists": (["export", "{shelf}/run", "{shelf}/models", "--version", "1"], "has a version 1"),
    "export: version 0": (["export", "{shelf}/run", "out", "--version", "0"], "expected from 1 to 9223372036854775807"),
    "export: unknown stage": (["export", "{shelf}/run", "out", "--stage", "stage9"], "no stage 'stage9'"),
    "export: a file for the folder": (["export", "{shelf}/run", "{shelf}/file"], "is a file"),
    "export: unwritable": (["export", "{shelf}/run", "{shelf}/file/models"], "cannot write"),
    # check
    "check: missing": (["check", "nowhere"], "is no export (it does not exist)"),
    "check: no export": (["check", "{shelf}/notes"], "is no export (it holds no SavedModel)"),
    # serve
    "serve: no folder": (["serve"], "Missing argument 'DIR'"),
    "serve: missing": (["serve", "nowhere"], "nowhere does not exist"),
    "serve: no export": (["serve", "{shelf}/notes"], "cannot be served (it holds no complete version)"),
    "serve: one version": (["serve", "{shelf}/models/1"], "is one version of an export"),
    "serve: a broken version": (["serve", "{shelf}/broken_model"], "cannot be served (version 1: "),
    "serve: a wrong name": (["serve", "{shelf}/models", "--name", "a/b"], "expected a name without /"),
    "serve: a wrong port": (["serve", "{shelf}/models", "--rest-port", "70000"], "--rest-port"),
    "serve: no thread": (["serve", "{shelf}/models", "--threads", "0"], "--threads"),
    "serve: no time": (["serve", "{shelf}/models", "--timeout", "0"], "--timeout"),
    "serve: not our address": (
        ["serve", "{shelf}/models", "--host", "192.0.2.1", "--rest-port", "0"],
        "cannot listen on 192.0.2.1",
    ),
    "check: no address": (["check", "{shelf}/models", "--server", "host"], "expected host:port or grpc://host:port"),
    # embed
    "embed: no address": (
        ["embed", "{shelf}/models", TOY, "--to", "a.npz", "--server", "ftp://host:1"],
        "expected host:port or grpc://host:port",
    ),
    "embed: a run on a server": ([*EMBED, TOY, "--to", "a.npz", "--server", "host:1"], "and a run is given"),
    "embed: neither run nor export": (["embed", "{shelf}/notes", TOY, "--to", "a.npz"], "is no run and no export"),
    "embed: missing model": (["embed", "nowhere", TOY, "--to", "a.npz"], "nowhere"),
    "embed: a run that has not ended": (["embed", "{shelf}/unended", TOY, "--to", "a.npz"], "has not ended"),
    "embed: missing folder": ([*EMBED, "nowhere", "--to", "a.npz"], "nowhere does not exist"),
    "embed: no picture": ([*EMBED, "{shelf}/empty", "--to", "a.npz"], "no picture in"),
    "embed: all broken": ([*EMBED, "{shelf}/all_broken", "--to", "a.npz"], "3 of 3 pictures"),
    "embed: too many broken": ([*EMBED, "{shelf}/all_broken", "--to", "a.npz", "--max-broken", "0"], "3 of 3 pictures"),
    "embed: wrong ending": ([*EMBED, TOY, "--to", "a.csv"], "ends in .npz or .parquet"),
    "embed: unwritable": ([*EMBED, TOY, "--to", "{shelf}/file/a.npz"], "cannot write"),
    "embed: unknown stage": ([*EMBED, TOY, "--to", "a.npz", "--stage", "stage9"], "no stage 'stage9'"),
    "embed: a stage of an export": (
        ["embed", "{shelf}/models", TOY, "--to", "a.npz", "--stage", "stage2"],
        "whose stage is fixed",
    ),
    "embed: a file that holds something else": ([*EMBED, TOY, "--to", "{shelf}/taken.npz"], "holds no embeddings"),
    "embed: sound of pictures": ([*EMBED, TOY, "--to", "a.npz", "--sound"], "has no sound encoder"),
    "embed: batch 0": ([*EMBED, TOY, "--to", "a.npz", "--batch-size", "0"], "--batch-size"),
    # index and search
    "localise: no file": (["localise", "{shelf}/run", "film.mp4"], "Missing option '--to'"),
    "track: no mask": (["track", "{shelf}/run", "film.mp4", "--to", "out.mp4"], "Missing option '--mask'"),
    "track: no place": (["track", "{shelf}/run", "film.mp4", "--mask", "0,0,8,8"], "Missing option '--to'"),
    "index: missing": (["index", "nowhere.npz", "--out", "index"], "nowhere.npz does not exist"),
    "index: no embeddings": (["index", "{shelf}/file", "--out", "index"], "cannot be read as embeddings"),
    "index: no rows": (["index", "a.npz", "--out", "index", "--exact-up-to", "0"], "--exact-up-to"),
    "search: no query": (["search", "{shelf}/notes"], "Missing option '--query'"),
    "search: no index": (["search", "{shelf}/notes", "--query", "{shelf}/file"], "is no index"),
    "search: no answer": (["search", "{shelf}/notes", "--query", "a.png", "--count", "0"], "--count 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(tfssl, shelf, tmp_path, name):
    arguments, says = WRONG[name]
    before = state(shelf)
    status, output, errors = tfssl(*(argument.format(shelf=shelf) for argument in arguments))
    (line,) = errors.splitlines()
    assert says in line
    assert (status, output) == (2, "")
    assert state(shelf) == before
    assert not list(tmp_path.iterdir())


def test_a_folder_without_permission(tfssl, shelf, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):
        pytest.skip("root may write everywhere")
    for arguments in (
        [*SHOW[:2], "--to", "locked/a.png"],
        [*PRETRAIN[:-1], "locked/run"],
        ["export", f"{shelf}/run", "locked"],
        ["embed", f"{shelf}/run", TOY, "--to", "locked/a.npz"],
    ):
        status, output, errors = tfssl(*arguments)
        (line,) = errors.splitlines()
        assert "permission denied" in line
        assert (status, output) == (2, "")
        assert not list(locked.iterdir())


def result(run: tuple[int, str, str]) -> dict:
    """The one JSON object that a command prints."""
    status, output, errors = run
    assert status == 0, errors
    (line,) = output.splitlines()
    return json.loads(line)


def test_json_of_pretrain(tfssl, tmp_path):
    found = result(tfssl(*PRETRAIN, "--steps-per-epoch", 3, "--json"))
    assert list(found) == ["run", "epochs", "steps", "images_per_second", "metrics", "broken_files"]
    assert (found["run"], found["epochs"], found["steps"], found["broken_files"]) == ("run", 1, 3, 0)
    assert found["images_per_second"] > 0
    assert 0 <= found["metrics"]["rotation_accuracy"] <= 1
    assert (tmp_path / "run" / "report.html").is_file()
    status, output, errors = tfssl(*PRETRAIN, "--steps-per-epoch", 3, "--json")
    assert (status, json.loads(output)) == (0, found)
    assert "has ended already" in errors


def test_json_of_evaluate(tfssl, toy_run, tmp_path):
    shutil.copytree(toy_run.folder, tmp_path / "run")
    found = result(tfssl("evaluate", "run", TOY, "--test", "toy:images(count=40,size=32,start=72)", "--json"))
    stages = ["stage1", "stage2", "stage3", "stage4"]
    for part in (found, found["random"]):
        for protocol in ("linear", "linear_pooled", "linear_pooled_2", "knn"):
            assert list(part[protocol]) == stages
            assert all(list(scores) == ["top1", "map", "balanced", "held_out"] for scores in part[protocol].values())
    assert {found["best_layer"], found["layer_to_export"]} <= set(stages)
    only = result(tfssl("evaluate", "run", TOY, "--protocols", "knn", "--split-seed", 3, "--json"))
    assert not {"linear", "linear_pooled", "linear_pooled_2"} & (set(only) | set(only["random"]))
    assert any("divided 80/20 within each class by split seed 3" in note for note in only["notes"])


def test_json_of_export_and_check(tfssl, toy_run):
    found = result(tfssl("export", toy_run.folder, "models", "--stage", "stage3", "--pool", "2", "--json"))
    assert found == {
        "saved_model": "models/1",
        "signatures": ["serving_default", "pixels", "predict_rotation"],
        "embedding_size": 64,
        "layer": "stage3",
        "pool": 2,
        "measured": {},
        "embedding": "stage3, 2 x 2 places; was not measured: tfssl evaluate RUN DATA",
        "tflite": [],
        "onnx": [],
        "word2vec": [],
        "deployment": ["models.config", "batching.config", "compose.yaml", "kubernetes.yaml"],
    }
    assert result(tfssl("check", "models", "--json"))["ok"] is True


def test_a_check_that_fails_ends_with_1(tfssl, toy_export, tmp_path):
    from tfssl.export.checking.golden import read_golden

    shutil.copytree(toy_export, tmp_path / "models")
    path = tmp_path / "models" / "1" / "assets.extra" / "golden.npz"
    golden = read_golden(path)
    golden.answers["pixels"]["embedding"][0] += 1
    golden.write(path)
    status, output, errors = tfssl("check", "models", "--json")
    assert (status, json.loads(output)["ok"], errors) == (1, False, "")


@pytest.mark.smoke
def test_json_of_embed_and_show(tfssl, toy_run, tmp_path):
    found = result(tfssl("embed", toy_run.folder, TOY, "--to", "embeddings.npz", "--json"))
    assert found == {"file": "embeddings.npz", "count": 72, "embedding_size": 32, "broken": {}}
    found = result(tfssl("show", TOY, "--to", "puzzles.png", "--size", 32, "--json"))
    assert found == {"files": {name: f"puzzles-{name}.png" for name in ("rotation", "contrastive")}}
    files = ["embeddings.npz", "puzzles-contrastive.png", "puzzles-rotation.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_help_and_version(tfssl):
    for arguments in (["--help"], ["show", "-h"], ["--version"]):
        status, output, errors = tfssl(*arguments)
        assert (status, errors) == (0, "")
        assert "tfssl" in output
    status, output, errors = tfssl()
    assert (status, errors) == (2, "")
    assert "Commands:" in output


def test_an_error_of_ours_shows_all_that_is_known(tfssl, monkeypatch):
    monkeypatch.setattr("tfssl.check", lambda **arguments: 1 / 0, raising=False)
    status, output, errors = tfssl("check", "models")
    assert (status, output) == (1, "")
    assert errors.startswith("Traceback")
    assert "ZeroDivisionError" in errors
