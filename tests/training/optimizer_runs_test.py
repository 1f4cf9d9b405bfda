"""However a run learns, one that was killed ends as one that was not, to the bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support import watched_runs
from tests.support.optimizer_runs import CASES
from tfssl.base.errors import UserError
from tfssl.cli.main import cli
from tfssl.frozen import features
from tfssl.frozen.rank import effective_rank
from tfssl.multitask import rate_range
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.report import page
from tfssl.runs import metrics_log, watch
from tfssl.training.config import PretrainSettings
from tfssl.training.opening import open_run

pytestmark = pytest.mark.xdist_group("optimizers")  # which share `ends`


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """What runs end with, in half a minute: op determinism cannot be turned off again, so in a process of its own."""
    folder = tmp_path_factory.mktemp("optimizers")
    environment = os.environ | {"PYTHONPATH": str(Path(tfssl.__file__).parents[1])}
    command = [sys.executable, "-m", "tests.support.optimizer_runs", str(folder)]
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_killed_ends_with_the_same_bits(ends, case):
    _, ends = ends
    assert ends[case]["killed"] == ends[case]["whole"]
    assert [line["step"] for line in ends[case]["whole"]["lines"]] == [1, 2, 3, 4, 5, 6, 6]
    assert len({end["whole"]["digest"] for end in ends.values()}) == len(CASES)


@pytest.mark.slow
def test_auto_is_kept_with_the_run_and_is_its_peak(ends, monkeypatch):
    monkeypatch.setattr(page, "_puzzles", lambda run: ({}, ""))  # they take seconds to draw
    folder, found = ends
    run = tfssl.load_run(folder / "sgd" / "whole")
    kept = run.prepared["learning_rate"]
    assert run.settings.learning_rate == "auto"
    usual = 0.1 * 3 * 8 / 64
    assert (kept["rates"][0], kept["rates"][-1]) == pytest.approx((usual / 1000, usual * 100), rel=1e-5)
    assert run.peak == kept["chosen"]
    assert kept["chosen"] == pytest.approx(rate_range.choose(kept["rates"], kept["losses"]) or usual, rel=1e-4)
    # Of six steps warm-up has none, and the first one has the peak.
    assert found["sgd"]["whole"]["lines"][0]["learning_rate"] == pytest.approx(kept["chosen"])
    written = page.write_report(run).read_text()
    assert "The learning rate, by a range test" in written
    assert rate_range.sentence(kept).replace("'", "&#39;") in written
    assert "range test" not in page.write_report(folder / "lars" / "whole").read_text()


def test_a_trunk_of_ones_own_begins_as_it_was_given_after_a_range_test(tmp_path, monkeypatch, capsys):
    """And what should be known before is said."""
    monkeypatch.setattr(rate_range, "UPDATES", 3)
    trunk = watched_runs.trunk(0.2)
    before = [variable.numpy() for variable in trunk.variables]
    given = {"learning_rate": "auto", "accumulate": 7, "ema": 0.99, "watch": "none"}
    settings = PretrainSettings(data=watched_runs.DATA, size=32, batch_size=8, epochs=20, out=tmp_path / "run", **given)
    opened = open_run(settings, settings.data, "rotation", trunk, None)
    assert len(opened.run.prepared["learning_rate"]["losses"]) > 1
    for variable, value in zip(trunk.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    said = capsys.readouterr().err
    assert "accumulate 7: the last 4 of 60 steps are too few for an update" in said
    assert "ema 0.99: at the end, after 8 updates, the average still has 92% of what the first update left" in said
    assert rate_range.sentence(opened.run.prepared["learning_rate"]) in said


def test_a_learning_rate_is_a_number_or_auto():
    (option,) = [each for each in cli.commands["pretrain"].params if each.name == "learning_rate"]
    assert [option.type.convert(given, option, None) for given in ("auto", "0.5")] == ["auto", 0.5]
    with pytest.raises(click.BadParameter):
        option.type.convert("fast", option, None)
    for wrong in ("fast", 0, float("inf")):
        with pytest.raises(UserError, match=r"learning_rate=.* is given, expected .*more than 0 or auto"):
            PretrainSettings(data="toy:images", learning_rate=wrong)


@pytest.mark.slow
def test_what_is_kept_watched_and_read_is_the_average(ends):
    """Of weights; batch norm statistics are estimated, for the average: those of the weights that learn are others."""
    folder, _ = ends
    run = tfssl.load_run(folder / "adamw" / "whole")
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(run.folder / "checkpoints")))
    trunk = run.trunk()
    averages = [
        reader.get_tensor(f"averages/{place}/.ATTRIBUTES/VARIABLE_VALUE")
        for place in range(len(trunk.body.trainable_variables) + 2)
    ]
    for kept in (trunk, run.trunk(1)):
        for weight, average in zip(kept.body.trainable_variables, averages, strict=False):
            np.testing.assert_array_equal(weight.numpy(), average)
    for place, average in enumerate(run.solver("rotation").trainable_variables):
        np.testing.assert_array_equal(average.numpy(), averages[place])
    learning = [
        reader.get_tensor(f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE") for place in range(len(trunk.body.weights))
    ]
    assert not np.allclose(learning[0], averages[0], atol=1e-5)
    (batch,) = batches.plain(open_source(watched_runs.DATA), 32, 24)
    maps = features.stage_model(trunk, 32)(batch["image"], training=False)
    (look,) = watch.looks_of(metrics_log.read(run.folder))
    assert look["rank"] == pytest.approx(effective_rank(maps["stage3"].numpy().mean((1, 2))), rel=1e-2)
    trunk.body.set_weights(learning)
    maps = features.stage_model(trunk, 32)(batch["image"], training=False)
    assert look["rank"] != pytest.approx(effective_rank(maps["stage3"].numpy().mean((1, 2))), rel=1e-2)

    unfinished = shutil.copytree(run.folder, folder / "unfinished")
    for path in [*unfinished.glob("*encoder.keras"), *unfinished.glob("heads/*"), unfinished / "result.json"]:
        path.unlink()
    for place, average in enumerate(tfssl.load_run(unfinished).solver("rotation").trainable_variables):
        np.testing.assert_array_equal(average.numpy(), averages[place])


def test_an_update_of_several_steps_needs_them_and_one_update_a_step(tmp_path, capsys):
    with pytest.raises(UserError, match="an update of several steps, and several updates a step") as told:
        PretrainSettings(data="toy:images", accumulate=2, mixing="alternate")
    assert str(told.value).startswith("accumulate=2 and mixing='alternate' are given")
    with pytest.raises(UserError, match="accumulate=10 is given, and the run has 9 steps, too few"):
        watched_runs.run(tmp_path / "run", accumulate=10)
    assert not (tmp_path / "run").exists()
