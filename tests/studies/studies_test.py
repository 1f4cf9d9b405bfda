"""Comparisons and sweeps of tiny runs: what is in the table, what is not made twice, what is refused."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfssl as package
from tests.support import study_rows
from tfssl.base.errors import UserError
from tfssl.base.statistics import wilson
from tfssl.cli.main import main
from tfssl.frozen import precise
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.evaluation import read_evaluation
from tfssl.runs.run import load_run
from tfssl.studies import figures, statistics, table, trials
from tfssl.studies.compare import compare
from tfssl.studies.config import CompareSettings
from tfssl.studies.sweep import sweep

DATA, LABELLED = "toy:images(count=48, size=32)", "toy:images(count=120, size=32, seed=1)"
TINY = {"trunk": "plain(width=4)", "size": 32, "steps": 4, "batch_size": 8, "limit": 60, "test_limit": 20}
TINY |= {"labelled": LABELLED, "verbose": 0}


def times(folder: Path) -> dict[str, int]:
    """When each file below a folder was changed."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def quick_probes():
    """Batch norm statistics of few batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precise, "PRECISE_STEPS", 2)
        patch.setattr("tfssl.multitask.encoders.PRECISE_STEPS", 2)
        yield


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """A study of rotation with two seeds. Later tests may add to its folder."""
    folder = tmp_path_factory.mktemp("studies") / "comparison"
    return compare(DATA, ["rotation"], folder, seeds="0,1", **TINY)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "sweep"
    return sweep(DATA, "rotation(rotations={2})", folder, every=2, **TINY)


# A comparison


def test_the_table_has_the_numbers_of_the_runs(comparison):
    rotation, random = comparison.rows
    folders = [comparison.folder / "runs" / "rotation" / f"seed{seed}" for seed in (0, 1)]
    evaluations = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    for protocol in ("linear", "linear_pooled", "knn"):
        for row, parts in ((rotation, evaluations), (random, [e["random"] for e in evaluations])):
            best = [max(part[protocol].values(), key=lambda score: score["held_out"])["top1"] for part in parts]
            found = row.downstream[protocol]
            assert list(found.by_seed.values()) == best
            assert found.estimate.mean == pytest.approx(np.mean(best))
            for stage, part, top in zip(found.stages, parts, best, strict=True):
                assert part[protocol][stage]["top1"] == top
    accuracies = [result["metrics"]["rotation_accuracy"] for result in results]
    assert rotation.pretext["rotation_accuracy"].values == tuple(accuracies)
    assert rotation.chance == {"rotation_accuracy": 0.25}
    assert rotation.images_per_second.mean == pytest.approx(np.mean([r["images_per_second"] for r in results]))
    assert all((e["train_images"], e["test_images"]) == (60, 20) for e in evaluations)
    assert [load_run(folder).settings.steps_per_epoch for folder in folders] == [4, 4]
    line = next(line for line in str(comparison).splitlines() if line.startswith("rotation "))
    assert f"{100 * np.mean(accuracies):.1f}" in line
    assert "chance 25.0 %" in line
    for protocol in ("linear", "linear_pooled", "knn"):
        assert f"{100 * rotation.downstream[protocol].estimate.mean:.1f} +-" in line


def test_the_files_of_a_comparison(comparison):
    content = json.loads((comparison.folder / "study.json").read_text())
    assert content["rows"] == json.loads(json.dumps(comparison.as_json()["rows"]))
    assert content["settings"]["steps"] == 4
    page = (comparison.folder / "table.md").read_text()
    assert page.startswith("| tasks | pretext task |")
    assert all(claim.sentence in page for claim in comparison.claims)
    assert "class-balanced sample of 60 of the" in page
    assert "None of the 20 test pictures was among those of pretraining." in page
    assert (comparison.folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_another_call_makes_nothing_again_and_a_run_that_was_stopped_goes_on(comparison, capsys):
    before = times(comparison.folder / "runs")
    again = compare(DATA, ["rotation"], comparison.folder, seeds=[0, 1], **TINY)
    assert times(comparison.folder / "runs") == before
    assert again.as_json() == comparison.as_json()
    folder = comparison.folder / "runs" / "rotation" / "seed1"
    (folder / "result.json").unlink()
    compare(DATA, ["rotation"], comparison.folder, seeds=[0, 1], **TINY)
    changed = {path for path, time in times(comparison.folder / "runs").items() if before.get(path) != time}
    assert str(folder / "result.json") in changed
    assert not any("checkpoints" in path or "evaluation" in path or "seed0" in path for path in changed)
    assert "from step 4 of 4" in capsys.readouterr().err


def test_a_study_grows_and_measures_random_weights_once(comparison, monkeypatch, capsys):
    before = times(comparison.folder / "runs")
    monkeypatch.setattr("tfssl.evaluation.random_weights.estimate_batch_norm", lambda *arguments: 1 / 0)
    grown = compare(DATA, ["rotation(rotations=2)"], comparison.folder, seeds="0", **TINY)
    assert [row.tasks for row in grown.rows] == ["rotation", "rotation(rotations=2)", "random weights"]
    assert [row.seeds for row in grown.rows] == [(0, 1), (0,), (0, 1)]
    # What was there comes first, so that the table never loses it.
    assert "[3 of 3] rotation(rotations=2), seed 0: pretraining" in capsys.readouterr().err
    after = times(comparison.folder / "runs")
    assert {path: after[path] for path in before} == before
    first, second = (
        load_run(comparison.folder / "runs" / name / "seed0") for name in ("rotation", "rotation_rotations=2")
    )
    for one, other in zip(first.random_trunk().body.weights, second.random_trunk().body.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.evaluation["random"] == second.evaluation["random"]
    share = grown.rows[1].downstream["linear"].estimate  # of one seed
    assert (share.low, share.high) == pytest.approx(wilson(share.mean, second.evaluation["test_images"]))


def test_an_evaluation_of_other_pictures_is_made_again(comparison, monkeypatch):
    path = comparison.folder / "runs" / "rotation" / "seed1" / "evaluation.json"
    before = path.read_text()
    content = json.loads(before)
    path.write_text(json.dumps(content | {"details": content["details"] | {"data": "something else"}}))
    asked = []

    def evaluate(run, *arguments, **settings):
        asked.append(str(run.folder))
        path.write_text(before)
        return read_evaluation(run.folder)

    monkeypatch.setattr(trials, "evaluate", evaluate)
    found = compare(DATA, ["rotation"], comparison.folder, seeds="0,1", **TINY)
    assert asked == [str(path.parent)]
    assert found.rows[0] == comparison.rows[0]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"steps": 5}, "holds a study with steps 4, now 5 is given"),
        ({"split_seed": 1}, "holds a study with labelled"),
        ({"limit": 50}, "holds a study with labelled"),
        ({"learning_rate": 0.3}, "holds a study with learning_rate None, now 0.3 is given"),
        ({"labelled": "toy:images(count=120, size=32, seed=2)"}, "holds a study with labelled"),
    ],
)
def test_other_settings_are_refused(comparison, changed, says):
    before = times(comparison.folder)
    with pytest.raises(UserError, match=says):
        compare(DATA, ["rotation"], comparison.folder, **TINY | changed)
    with pytest.raises(UserError, match="holds a study with kind 'compare'"):
        sweep(DATA, "rotation", comparison.folder, **TINY)
    assert times(comparison.folder) == before


def test_a_study_of_another_version_is_not_gone_on_with(comparison, tmp_path):
    """Or runs that were pretrained and tested otherwise would stand in one table with new ones."""
    content = json.loads((comparison.folder / "study.json").read_text())
    before = {key: value for key, value in content.items() if key != "recipe"}
    (tmp_path / "study.json").write_text(json.dumps(before))
    with pytest.raises(UserError, match="holds a study of another version of tfssl"):
        compare(DATA, ["rotation"], tmp_path, seeds=[0, 1], **TINY)
    assert json.loads((tmp_path / "study.json").read_text()) == before


def test_changed_data_is_said(comparison, tmp_path):
    content = json.loads((comparison.folder / "study.json").read_text())
    content["settings"]["fingerprint of the data"] = "that of yesterday"
    (tmp_path / "study.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds a study whose data has changed since; choose another --out"):
        compare(DATA, ["rotation"], tmp_path, seeds=[0, 1], **TINY)
    run = next(comparison.folder.glob("runs/*/*/run.json"))
    shutil.copytree(run.parent, tmp_path / "runs" / "rotation" / "seed0")
    with pytest.raises(UserError, match=r"changed since: (\d+) pictures then, \1 now; choose another --out"):
        compare(DATA, ["rotation"], tmp_path, seeds=[0, 1], **TINY)


def test_what_is_pretrained_on(monkeypatch, tmp_path):
    """Where nothing else is given: what the probes are trained on, and nothing that they are tested on."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for name in "ab":
            for number in range(count):
                path = tmp_path / "data" / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    given = []

    def pretrained(source, tasks, **settings):
        given.append(source)
        raise UserError("as far as this")

    monkeypatch.setattr(trials, "pretrain", pretrained)
    monkeypatch.chdir(tmp_path)

    def pretraining(data, **changed):
        with pytest.raises(UserError, match="as far as this"):
            compare(data, ["rotation"], tmp_path / "study", **TINY | {"limit": 8, "test_limit": 4} | changed)
        return given[-1]

    assert pretraining("data", labelled=None).name == "data/train"
    divided = pretraining("data/train", labelled=None, split_seed=5)
    assert divided.name == "data/train (80 %, split seed 5)"
    held_out = open_source("data/train (20 %, split seed 5)")
    assert (divided.count, held_out.count) == (20, 4)
    assert not set(divided.paths) & set(held_out.paths)
    assert pretraining("data", labelled="data").count == 32
    assert pretraining("data/train", labelled=None, test="data/test").count == 24
    assert not (tmp_path / "study").exists()


def test_the_bars_are_the_rows(comparison):
    axes = figures.comparison_bars(comparison.rows, 0.1).axes
    for one, protocol in zip(axes, ("linear", "linear_pooled", "knn"), strict=True):
        widths = [bar.get_width() for bar in one.patches]
        assert widths == pytest.approx([100 * row.downstream[protocol].estimate.mean for row in comparison.rows])


# A sweep


def test_a_sweep_over_steps(swept):
    middle, end, random = swept.points
    assert [(point.variant, point.steps) for point in (middle, end)] == [
        ("rotation(rotations=2)", 2),
        ("rotation(rotations=2)", 4),
    ]
    folder = swept.folder / "runs" / "rotation_rotations=2" / "seed0"
    assert load_run(folder).settings.epochs == 2
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for point, name in ((middle, "epochs/1.json"), (end, "evaluation.json")):
        scores = json.loads((folder / name).read_text())["linear"].values()
        best = max(scores, key=lambda score: score["held_out"])["top1"]
        assert point.row.downstream["linear"].estimate.mean == best
        (line,) = [line for line in lines if line.get("epoch_end") and line["step"] == point.steps]
        assert point.row.pretext["rotation_accuracy"].mean == pytest.approx(line["rotation_accuracy"])
    first, last = (trunk.body.get_weights() for trunk in (load_run(folder).trunk(1), load_run(folder).trunk()))
    assert any(np.abs(one - other).max() > 0 for one, other in zip(first, last, strict=True))
    assert random.row.tasks == "random weights"
    assert swept.metric == "rotation_accuracy"
    assert "chance 50.0 %" in (swept.folder / "table.md").read_text()
    assert len(json.loads((swept.folder / "study.json").read_text())["points"]) == 3
    assert (swept.folder / "figure.png").stat().st_size > 10_000


def test_a_sweep_is_gone_on_with(swept):
    before = times(swept.folder / "runs")
    again = sweep(DATA, ["rotation(rotations=2)"], swept.folder, every=2, **TINY)
    assert times(swept.folder / "runs") == before
    assert again.as_json() == swept.as_json()
    with pytest.raises(UserError, match="with every 2, now None is given"):
        sweep(DATA, ["rotation(rotations=2)"], swept.folder, **TINY)


def test_the_curves_of_variants():
    def variant(rotations: int, accuracy: float, top: float) -> tuple[str, int, table.Row]:
        found = statistics.over_seeds([top], 100)
        linear = table.Downstream(found, {0: top}, ("stage2",))
        pretext = {"rotation_accuracy": statistics.over_seeds([accuracy])}
        chance = {"rotation_accuracy": 1 / rotations}
        return f"rotations={rotations}", 4, table.Row("", (0,), {"linear": linear}, pretext, chance, None)

    points = [variant(2, 0.8, 0.3), variant(4, 0.7, 0.4), variant(8, 0.4, 0.35)]
    random = study_rows.row("random weights", {0: 0.25})
    left, right, other = figures.sweep_curves(points, random, "rotation_accuracy", False).axes
    assert list(left.lines[0].get_xdata()) == [80, 70, 40]
    assert list(left.lines[0].get_ydata()) == list(right.lines[0].get_ydata()) == [30, 40, 35]
    assert list(other.lines[0].get_ydata()) == [80, 70, 40]
    low, high = points[0][2].downstream["linear"].estimate.low, points[0][2].downstream["linear"].estimate.high
    assert [line.get_ydata()[0] for line in right.lines[1:3]] == pytest.approx([100 * low, 100 * high])
    assert [line.get_ydata()[0] for line in other.lines if line.get_linestyle() == ":"] == [50, 25, 12.5]
    assert [text.get_text() for text in right.get_xticklabels()] == ["rotations=2", "rotations=4", "rotations=8"]


# The command line


OUT = ["--labelled", LABELLED, "--batch-size", "8", "--trunk", "plain(width=4)", "--size", "32", "--out", "study"]
COMPARE, SWEEP = ["compare", DATA, *OUT], ["sweep", DATA, *OUT]
WRONG = {
    "compare: no tasks": (COMPARE, "Missing option '--tasks'"),
    "compare: unknown task": ([*COMPARE, "--tasks", "jigsaws"], "unknown task 'jigsaws'"),
    "compare: a set twice": (
        [*COMPARE, "--tasks", "rotation, inpainting", "--tasks", "inpainting, rotation"],
        "is given 2 times",
    ),
    "compare: words for seeds": ([*COMPARE, "--tasks", "rotation", "--seeds", "0,one"], "--seeds 0,one is given"),
    "compare: a seed twice": ([*COMPARE, "--tasks", "rotation", "--seeds", "1,1"], "--seeds 1,1 is given"),
    "compare: no steps": ([*COMPARE, "--tasks", "rotation", "--steps", "0"], "--steps 0 is given"),
    "compare: no pictures": ([*COMPARE, "--tasks", "rotation", "--limit", "0"], "--limit 0 is given"),
    "compare: no test pictures": ([*COMPARE, "--tasks", "rotation", "--test-limit", "0"], "--test-limit 0 is given"),
    "compare: unknown trunk": ([*COMPARE, "--tasks", "rotation", "--trunk", "vgg"], "unknown trunk 'vgg'"),
    "compare: size too small": ([*COMPARE, "--tasks", "rotation", "--size", "4"], "too small for plain"),
    "compare: batch too large": ([*COMPARE, "--tasks", "rotation", "--batch-size", "100"], "has 48 pictures"),
    "compare: missing data": (["compare", "nowhere", *OUT, "--tasks", "rotation"], "nowhere does not exist"),
    "compare: missing labelled data": ([*COMPARE, "--tasks", "rotation", "--labelled", "nowhere"], "does not exist"),
    "compare: no study": ([*COMPARE, "--tasks", "rotation", "--out", "{folder}"], "exists and is no study"),
    "sweep: no tasks": (SWEEP, "Missing option '--tasks'"),
    "sweep: half a brace": ([*SWEEP, "--tasks", "rotation(rotations={2,4)"], "a brace is not closed"),
    "sweep: a wrong variant": ([*SWEEP, "--tasks", "rotation(rotations={2,3})"], "expected one of 2, 4, 8"),
    "sweep: nothing in common": ([*SWEEP, "--tasks", "{rotation,inpainting}"], "use tfssl compare"),
    "sweep: steps that do not divide": (
        [*SWEEP, "--tasks", "rotation", "--steps", "100", "--every", "30"],
        "expected a divisor of --steps 100, as 20",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(name, capfd, monkeypatch, tmp_path):
    arguments, says = WRONG[name]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([argument.replace("{folder}", str(folder)) for argument in arguments])
    output, errors = capfd.readouterr()
    (line,) = errors.splitlines()
    assert says in line
    assert (end.value.code, output) == (2, "")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["letter.txt", "mine"]


def test_tasks_that_cannot_begin_are_forgotten(comparison, tmp_path):
    before = (comparison.folder / "study.json").read_text()
    with pytest.raises(UserError, match="learning_rate=-1 is given"):
        compare(DATA, ["rotation"], tmp_path / "study", learning_rate=-1, **TINY)
    for folder in (comparison.folder, tmp_path / "study"):
        with pytest.raises(UserError, match="batch=99"):
            compare(DATA, ["rotation(batch=99)"], folder, **TINY)
    assert json.loads((comparison.folder / "study.json").read_text())["trials"] == json.loads(before)["trials"]
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_does_not_stop_the_others(comparison, monkeypatch, capsys):
    study = json.loads((comparison.folder / "study.json").read_text())

    def trial(self, tasks, seed, baseline, say):
        if tasks == "rotation(dropout=0.5)":
            (self._run_folder(tasks, seed) / "checkpoints").mkdir(parents=True)
            raise UserError("loss is not finite at step 3")
        return original(self, tasks, seed, baseline, say)

    original = trials.Study._trial
    monkeypatch.setattr(trials.Study, "_trial", trial)
    says = r"1 of [34] runs failed, the first of them rotation\(dropout=0.5\), seed 0: loss is not finite at step 3; "
    with pytest.raises(UserError, match=says):
        compare(DATA, ["rotation(dropout=0.5)"], comparison.folder, **TINY)
    assert "seed 0: failed: loss is not finite at step 3" in capsys.readouterr().err
    after = json.loads((comparison.folder / "study.json").read_text())
    assert after["trials"] == study["trials"]
    assert after["rows"][0] == study["rows"][0]


def test_settings_that_a_study_does_not_pass_on(tmp_path):
    with pytest.raises(UserError, match="give steps"):
        compare(DATA, ["rotation"], tmp_path / "study", epochs=3, **TINY)
    with pytest.raises(UserError, match="no setting 'colour' that a study can pass on; these are: sound_trunk"):
        compare(DATA, ["rotation"], tmp_path / "study", colour=3, **TINY)
    with pytest.raises(UserError, match="a trunk by its name"):
        compare(DATA, ["rotation"], tmp_path / "study", **TINY | {"trunk": None})


def test_a_learning_rate_that_is_the_optimizers_own_is_as_none():
    """Earlier versions wrote it down, or left it out as a default."""
    given = {"tasks": ["rotation"], "data": DATA, "out": "study"}
    for optimizer, rate in (("sgd", 0.1), ("lars", 0.6)):
        own, without = (
            trials.given_on(CompareSettings(**given, optimizer=optimizer, **more))
            for more in ({"learning_rate": rate}, {})
        )
        assert own == without == ({} if optimizer == "sgd" else {"optimizer": "lars"})
    assert trials.given_on(CompareSettings(**given, learning_rate=0.6)) == {"learning_rate": 0.6}


def test_options_of_the_command_reach_each_run(tmp_path, monkeypatch, capfd):
    given = {"learning_rate": 0.3, "mixing": "alternate", "balance": "gradient", "mixed_precision": "bfloat16"}

    @functools.wraps(package.pretrain)
    def pretrained(source, tasks, **settings):
        assert settings | given == settings
        assert source.name == f"{DATA} (80 %, split seed 4)"
        raise UserError("all have arrived")

    monkeypatch.setattr(trials, "pretrain", pretrained)
    options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    options += ["--size", "32", "--batch-size", "8", "--split-seed", "4", "--out", str(tmp_path / "study")]
    with pytest.raises(SystemExit):
        main(["compare", DATA, "--tasks", "rotation, jigsaw(grid=2)", *options])
    assert "all have arrived" in capfd.readouterr().err


def test_json_of_the_commands(comparison, swept, capfd):
    common = ["--trunk", "plain(width=4)", "--size", "32", "--steps", "4", "--batch-size", "8", "--limit", "60"]
    common += ["--test-limit", "20", "--labelled", LABELLED, "--json"]
    for command, found in (
        (["compare", DATA, "--tasks", "rotation", "--seeds", "0,1"], comparison),
        (["sweep", DATA, "--tasks", "rotation(rotations=2)", "--every", "2"], swept),
    ):
        with pytest.raises(SystemExit) as end:
            main([*command, *common, "--out", str(found.folder)])
        output, errors = capfd.readouterr()
        assert end.value.code == 0, errors
        (line,) = output.splitlines()
        assert json.loads(line)["study"] == str(found.folder)
    assert package.compare is compare
    assert package.sweep is sweep
