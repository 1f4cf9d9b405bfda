"""run.json is typed when it is read, and written as it always was."""

import json
import os

import pytest

from tfssl.base.errors import UserError
from tfssl.embedding.encoders import load_encoder
from tfssl.export.versions import check_version, newest_version
from tfssl.pipelines.clips.ingest import ingest
from tfssl.runs.config import Recipe, RunSettings
from tfssl.runs.run import FORMAT, create_or_match, load_run

# As runs of both formats have it; a run without a task that listens has no sound trunk.
SETTINGS = {
    "tasks": "frame_filling",
    "trunk": "resnet10(width=8)",
    "size": 32,
    "epochs": 2,
    "steps_per_epoch": 80,
    "batch_size": 16,
    "seed": 1,
    "learning_rate": 0.2,
    "schedule": "cosine",
    "warm_up": 0.02,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "mixing": "joint",
    "balance": "initial",
    "init": None,
    "keep_every": None,
    "mixed_precision": None,
    "jit_compile": False,
    "deterministic": False,
    "stages": ["stage1", "stage2"],
}
DATA = {"name": "toy:clips", "count": 1280, "fingerprint": "abc"}
PREPARED = {"learned": {}, "sound": None, "scales": {}}


def write(folder, settings, **more):
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"settings": settings, "data": DATA, "prepared": PREPARED} | more))


@pytest.mark.parametrize(("more", "number"), [({}, 1), ({"format": 2}, 2)])
def test_runs_of_both_formats_are_read(tmp_path, more, number):
    write(tmp_path, SETTINGS, **more)
    run = load_run(tmp_path)
    assert run.format == number
    assert run.settings.as_json() == SETTINGS
    assert (run.settings.steps, run.settings.stages) == (160, ("stage1", "stage2"))
    assert run.settings.peak == 0.2 * 16 / 64
    assert run.settings.sound_trunk == "l3(width=64)"


def test_a_run_without_some_settings_is_read_and_stays_without_them(tmp_path):
    """As the first versions wrote it."""
    before = {key: value for key, value in SETTINGS.items() if key not in ("mixing", "balance", "init", "keep_every")}
    write(tmp_path, before)
    assert load_run(tmp_path).settings.as_json() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 0}, "size=0 is given, expected at least 1"),
        ({"stages": None}, "stages=None is given"),
        ({"polyak": 0.9}, "there is no setting 'polyak'"),
    ],
)
def test_a_run_with_wrong_settings_is_refused_in_one_line(tmp_path, changes, says):
    write(tmp_path, SETTINGS | changes)
    with pytest.raises(UserError, match=f"run.json cannot be read .{says}") as told:
        load_run(tmp_path)
    assert "\n" not in str(told.value)


def test_what_is_written_is_matched(tmp_path):
    folder = tmp_path / "run"
    run = create_or_match(folder, RunSettings(**SETTINGS), DATA, lambda: PREPARED)
    content = json.loads((folder / "run.json").read_text())
    assert (content["format"], content["settings"]) == (FORMAT, SETTINGS)
    assert (
        create_or_match(folder, RunSettings(**SETTINGS | {"momentum": 0.9}), DATA, lambda: {}).settings == run.settings
    )
    with pytest.raises(UserError, match=r"holds a run with epochs 2, now 3 is given"):
        create_or_match(folder, RunSettings(**SETTINGS | {"epochs": 3}), DATA, lambda: {})
    with pytest.raises(UserError, match=r"holds a run with sound_trunk None, now 'l3\(width=2\)' is given"):
        create_or_match(folder, RunSettings(**SETTINGS, sound_trunk="l3(width=2)"), DATA, lambda: {})


def test_a_run_of_before_there_were_optimizers_is_matched_by_what_it_was_made_with(tmp_path):
    folder = tmp_path / "run"
    create_or_match(folder, RunSettings(**SETTINGS), DATA, lambda: PREPARED)
    now = SETTINGS | {"optimizer": "sgd", "clip_norm": None, "accumulate": 1, "ema": None}
    assert create_or_match(folder, RunSettings(**now), DATA, dict).peak == 0.2 * 16 / 64
    for name, then, given in (("optimizer", "'sgd'", "lars"), ("accumulate", "1", 4), ("ema", "None", 0.9)):
        with pytest.raises(UserError, match=f"holds a run with {name} {then}, now {given!r} is given"):
            create_or_match(folder, RunSettings(**now | {name: given}), DATA, dict)


def test_objects_are_kept_as_text():
    class Trunk:
        name = "mine"

    class Run:
        folder = "runs/first"

    recipe = Recipe(tasks=["rotation", "jigsaw"], trunk=Trunk(), init=Run())
    assert (recipe.tasks, recipe.trunk, recipe.init) == ("rotation, jigsaw", "mine (a Keras model)", "runs/first")


def test_folders_that_tensorflow_cannot_open_are_refused_at_once(tmp_path):
    """It takes names in UTF-8 only, and would fail when the first checkpoint is written."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for given in (load_run, newest_version, load_encoder, lambda out: check_version(out, None)):
        with pytest.raises(UserError, match=r"/caf\\xe9 is not UTF-8, which TensorFlow needs"):
            given(folder)
    with pytest.raises(UserError, match="is not UTF-8"):
        create_or_match(folder, RunSettings(**SETTINGS), {}, dict)
    with pytest.raises(UserError, match="is not UTF-8"):
        ingest(tmp_path, folder)
    assert not list(folder.iterdir())
