"""Runs side by side."""

import dataclasses
import json
import math
import shutil

import pytest
from click.testing import CliRunner

import tfssl
from tests.support.evaluations import EVALUATION, FULL
from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.cli.main import cli
from tfssl.report import comparing, page
from tfssl.runs.evaluation import Score
from tfssl.runs.run import load_run

OTHER = dataclasses.replace(
    EVALUATION, trained={"linear": {"stage1": Score(0.71, 0.6), "stage2": Score(0.69, 0.7), "stage3": Score(0.7, 0.6)}}
)


@pytest.fixture(scope="module")
def runs(toy_run, tmp_path_factory):
    """Two runs that differ in a setting and in what they were evaluated at."""
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for name, evaluation, epochs in (("a/first", FULL, 2), ("b/second", OTHER, 3)):
        path = shutil.copytree(toy_run.folder, folder / name)
        content = json.loads((path / "run.json").read_text())
        content["settings"]["epochs"] = epochs
        write_json(path / "run.json", content)
        write_json(path / "evaluation.json", evaluation.as_json())
        made.append(load_run(path))
    return made


def test_sentences_say_which_is_ahead_and_how_sure_that_is(runs):
    first, second, ahead, _ = comparing.sentences(comparing.sides_of(runs))
    assert "Linear probe on stage2 names 72.8 % right (95 % interval 71.9 to 73.7 %); random weights 56.0 %." in first
    assert second.startswith("second learned rotation")
    assert ahead == "first is 1.8 points ahead of second."
    width = 1.96 * math.sqrt((0.728 * 0.272 + 0.71 * 0.29) / 10_000)  # as if of pictures of their own
    assert 0.01 < width < 0.018
    level = dataclasses.replace(OTHER, trained={"linear": {"stage1": Score(0.72, 0.6)}})
    write_json(runs[1].folder / "evaluation.json", level.as_json())
    try:
        said = comparing.sentences(comparing.sides_of(runs))[2]
    finally:
        write_json(runs[1].folder / "evaluation.json", OTHER.as_json())
    assert said.startswith("first is 0.8 points ahead of second, within the uncertainty of 1.2: no difference is shown")


def test_what_was_not_measured_alike_is_not_compared(runs):
    apart = dataclasses.replace(OTHER, test_images=500, details={"split_seed": 7})
    write_json(runs[1].folder / "evaluation.json", apart.as_json())
    try:
        said = comparing.sentences(comparing.sides_of(runs))[-1]
    finally:
        write_json(runs[1].folder / "evaluation.json", OTHER.as_json())
    assert said.endswith("cannot be held against each other: test images, split seed differ.")


def test_settings_that_differ_figures_and_curves(runs):
    shown = comparing.contents(runs)
    differ = shown["settings_that_differ"]
    assert (differ.head, differ.rows) == (("setting", "first", "second"), [("epochs", "2", "3")])
    accuracy = runs[0].result["metrics"]["rotation_accuracy"]
    row = dict(zip(shown["figures"].head, shown["figures"].rows[1], strict=True))
    assert (row["run"], row["stage"], row["top-1"], row["random weights"]) == ("second", "stage1", "71.0", "56.0")
    assert row["rotation accuracy"] == f"{100 * accuracy:.1f} %"
    ends = [json.loads(line) for line in (runs[0].folder / "metrics.jsonl").read_text().splitlines()]
    ends = [line for line in ends if line.get("epoch_end")]
    rows = shown["curves"]["rotation accuracy"].rows
    assert rows[:2] == [("first", line["step"], 100 * line["rotation_accuracy"]) for line in ends]
    assert [row[0] for row in rows] == ["first", "first", "second", "second"]
    assert [row[:4] for row in shown["best"].rows] == [
        ("first", "this run", "linear", pytest.approx(72.8)),
        ("first", "random weights", "linear", pytest.approx(56)),
        ("second", "this run", "linear", pytest.approx(71)),
        ("second", "random weights", "linear", pytest.approx(56)),
    ]


def test_runs_of_other_batches_are_drawn_by_pictures(runs):
    sides = comparing.sides_of(runs)
    settings = runs[1].settings.model_copy(update={"batch_size": 16})
    other = dataclasses.replace(sides[1], run=dataclasses.replace(runs[1], settings=settings))
    drawn = comparing.curves([sides[0], other])["loss"]
    assert drawn.head[1] == "pictures"
    assert [row[1] for row in drawn.rows] == [72, 144, 144, 288]


def test_the_loss_of_one_task_stands_beside_that_of_a_run_of_several(runs):
    sides = comparing.sides_of(runs)
    assert "rotation loss" not in comparing.curves(sides)
    logged = {"step": 9, "epoch_end": True, "loss": 3.0, "rotation_loss": 1.0, "jigsaw_loss": 2.0}
    settings = runs[1].settings.model_copy(update={"tasks": "rotation, jigsaw(grid=2)"})
    several = dataclasses.replace(sides[1], run=dataclasses.replace(runs[1], settings=settings), lines=[logged])
    drawn = comparing.curves([sides[0], several])
    ends = [line for line in sides[0].lines if line.get("epoch_end")]
    alone = [("first", line["step"], line["loss"]) for line in ends]
    assert drawn["rotation loss"].rows == [*alone, ("second", 9, 1.0)]
    assert drawn["jigsaw loss"].rows == [("second", 9, 2.0)]


def test_names_tell_runs_apart(runs, tmp_path):
    assert comparing.names_of(runs) == ["first", "second"]
    same = [dataclasses.replace(runs[0], folder=tmp_path / name / "first") for name in ("a", "b")]
    assert comparing.names_of(same) == ["a/first", "b/first"]


def test_a_run_that_has_neither_ended_nor_been_evaluated_stands_beside(runs, tmp_path):
    shutil.copy(runs[0].folder / "run.json", tmp_path)
    made = tfssl.report([runs[0], tmp_path], tmp_path / "both.html")
    text = made.page.read_text()
    assert "it has not ended: 0 of 18 steps are done. It has not been evaluated: tfssl evaluate" in text
    assert made.runs == (runs[0].folder, tmp_path)
    alone = tfssl.report([tmp_path, shutil.copytree(tmp_path, tmp_path / "c")], tmp_path / "none.html")
    assert "No run has ended an epoch." in alone.page.read_text()


def test_the_command(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_puzzles", lambda run: ({}, "others test them"))
    folders = [str(run.folder) for run in runs]
    done = CliRunner().invoke(cli, ["report", *folders, "--to", str(tmp_path / "compare.html"), "--json"])
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert (content["page"], content["runs"]) == (str(tmp_path / "compare.html"), folders)
    assert "first is 1.8 points ahead of second." in content["sentences"]
    (runs[0].folder / "report.html").unlink(missing_ok=True)
    done = CliRunner().invoke(cli, ["report", folders[0]])
    assert done.output == f"page {folders[0]}/report.html\n"
    assert "72.8" in (runs[0].folder / "report.html").read_text()


def test_wrong_input_is_one_line(runs, tmp_path):
    one, two = (str(run.folder) for run in runs)
    with pytest.raises(UserError, match="2 runs are given, and no file for their page; say"):
        tfssl.report([one, two])
    with pytest.raises(UserError, match="is given 2 times; give each run once"):
        tfssl.report([one, one], tmp_path / "a.html")
    with pytest.raises(UserError, match=r"expected a file that ends in \.html or \.htm"):
        tfssl.report([one, two], tmp_path / "a.pdf")
    with pytest.raises(UserError, match="is no run"):
        tfssl.report([one, tmp_path], tmp_path / "a.html")
    with pytest.raises(UserError, match="expected a run or several"):
        tfssl.report([], tmp_path / "a.html")
    damaged = shutil.copytree(runs[0].folder, tmp_path / "damaged")
    (damaged / "evaluation.json").write_text('{"linear": ')
    with pytest.raises(UserError, match=r"evaluation\.json cannot be read .* remove it, and call tfssl evaluate again"):
        tfssl.report([one, damaged], tmp_path / "a.html")
    (tmp_path / "finetune.json").write_text("{}")
    with pytest.raises(UserError, match="is a classifier, whose page finetune writes into it"):
        tfssl.report(tmp_path)
