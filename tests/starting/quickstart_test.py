"""A quickstart calls its parts in turn, keeps what is done, and goes on from there."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.runs.run import load_run
from tfssl.starting import budget, measuring, parts, plan, quickstart, record
from tfssl.starting.budget import Speed
from tfssl.starting.choosing import counts_of
from tfssl.starting.config import QuickstartSettings
from tfssl.starting.looking import look

QUICK = "toy:images(count=96,size=32)"
"""What `toy_quickstart` is of."""
ORDER = ["show", "pretrain", "evaluate", "finetune", "export", "export", "check", "check"]


class Calls:
    """In place of the commands: what they were called with. One of them may fail."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict]] = []
        self.failing: BaseException | None = None
        self.fails = ""

    def function(self, name: str):
        def call(**given):
            self.made.append((name, given))
            if name == self.fails:
                raise self.failing
            return f"{name} has ended"

        return call

    @property
    def names(self) -> list[str]:
        """The commands that were called, in turn; since then none were."""
        names = [name for name, _ in self.made]
        self.made.clear()
        return names


@pytest.fixture
def calls(monkeypatch):
    made = Calls()
    monkeypatch.setattr(parts, "FUNCTIONS", {name: made.function(name) for name in ORDER})
    monkeypatch.setattr(measuring, "measure", lambda *given: Speed(0.768, 2.0, 0.001))
    monkeypatch.setattr(measuring, "may_gain_by_bfloat16", lambda: False)
    monkeypatch.setattr(quickstart, "load_run", lambda folder: FakeRun)
    monkeypatch.setattr(FakeRun, "result", {"images_per_second": 64 / 0.768})
    return made


class FakeRun:
    result: ClassVar[dict] = {}


def test_all_of_it(toy_quickstart, capsys):
    """The real commands, at tiny size, have ended; called again nothing is done, and all is said.

    What the fixture makes takes most of a minute, as it must: it pretrains, evaluates and fine-tunes.
    """
    found = tfssl.quickstart(QUICK, 12, out=toy_quickstart)
    assert capsys.readouterr().err == ""
    assert found.ok
    assert found.minutes < 60
    files = [*found.puzzles, *found.reports, *(folder / "1" / "saved_model.pb" for folder in found.models)]
    assert all(file.is_file() for file in files)
    assert (len(found.puzzles), len(found.reports), len(found.models)) == (2, 2, 2)
    run = load_run(found.run)
    assert (run.settings.trunk, run.settings.size) == ("plain(width=4)", 32)
    assert 2 <= run.settings.steps < 10
    assert run.data["name"] == f"{QUICK} (80 %, split seed 0)"
    evaluation = json.loads((found.run / "evaluation.json").read_text())
    assert evaluation["details"]["seen_in_pretraining"] == 0
    classifier = json.loads((found.classifier / "result.json").read_text())
    assert classifier["seen_in_pretraining"] == 0
    assert [line.split()[1] for line in found.commands] == ORDER
    assert [line.split()[0] for line in found.says] == ["run", "The", "It", "Fine-tuning"]
    shown = str(found)
    assert f"done in {found.minutes:.1f} of 12 minutes" in shown
    assert all(str(file) in shown for file in (*found.puzzles, *found.reports, *found.models))
    assert found.as_json()["models"] == [str(folder) for folder in found.models]


def test_parts_are_called_in_turn_and_said(calls, tmp_path, capsys):
    found = tfssl.quickstart(QUICK, 30, out=tmp_path / "quick")
    made = dict(calls.made)
    assert calls.names == ORDER
    assert made["pretrain"]["out"] == tmp_path / "quick" / "run"
    steps = made["pretrain"]["epochs"] * made["pretrain"]["steps_per_epoch"]
    # What is left where looking has taken no time, and where it has taken a minute; less than an epoch is left over.
    counts = counts_of(look(QUICK))
    most, least = (budget.share_out(1800.0, spent, counts, 64, Speed(0.768, 2.0, 0.001)).steps for spent in (0.0, 60.0))
    assert least - made["pretrain"]["epochs"] < steps <= most
    errors = capsys.readouterr().err
    said = r"part 2 of 8, pretraining: about 2\d of 30 minutes; (29|30) left\ntfssl pretrain 'toy:images\(count=96"
    assert re.search(said, errors)
    assert "part 8 of 8, checking the exported classifier: under 1 of 30 minutes; " in errors
    assert all(line in errors.splitlines() for line in found.commands)
    assert found.says == ("pretrain has ended", "evaluate has ended", "finetune has ended")
    assert found.models == (tmp_path / "quick" / "models" / "encoder", tmp_path / "quick" / "models" / "classifier")


def test_the_line_of_the_page(calls, tmp_path, labelled_folder, monkeypatch, capsys):
    page = Path(__file__).parents[2] / "README.md"
    if not page.is_file():
        pytest.skip("the tests run outside of a checkout")
    (line,) = re.findall("^tfssl (quickstart .*)$", page.read_text(), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(labelled_folder, "photos")
    with pytest.raises(SystemExit) as end:
        main([*shlex.split(line), "--json"])
    assert end.value.code == 0
    assert calls.names == ORDER
    found = json.loads(capsys.readouterr().out)
    assert found["asked_minutes"] == 30
    assert found["commands"][0].startswith("tfssl show 'photos (80 %, split seed 0)'")
    assert found["says"] == ["pretrain has ended", "evaluate has ended", "finetune has ended"]


def test_quiet(calls, tmp_path, capsys):
    tfssl.quickstart(QUICK, 30, out=tmp_path / "quick", verbose=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("problem", [KeyboardInterrupt("stopped"), UserError("the disk is full")])
def test_interrupted_and_resumed(calls, tmp_path, problem, monkeypatch):
    out = tmp_path / "quick"
    calls.fails, calls.failing = "finetune", problem
    with pytest.raises(type(problem)):
        tfssl.quickstart(QUICK, 30, out=out)
    asked = calls.made[-1][1]
    assert calls.names == ORDER[:4]
    kept = json.loads((out / record.NAME).read_text())
    assert (kept["format"], list(kept["done"])) == (1, ["show", "pretrain", "evaluate"])
    assert kept["spent"] > sum(each["seconds"] for each in kept["done"].values())

    # Neither measured anew nor chosen anew: what has begun is called as it was.
    monkeypatch.setattr(measuring, "measure", None)
    monkeypatch.setattr(FakeRun, "result", {"images_per_second": 1.0})
    calls.fails = ""
    tfssl.quickstart(QUICK, 30, out=out)
    assert calls.made[0][1] == asked
    assert calls.names == ORDER[3:]
    tfssl.quickstart(QUICK, 30, out=out)
    assert calls.names == []


def test_time_of_a_call_that_was_killed_counts(calls, tmp_path):
    """It could not write it down; its files tell it."""
    out = tmp_path / "quick"
    calls.fails, calls.failing = "pretrain", KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tfssl.quickstart(QUICK, 30, out=out)
    settings = QuickstartSettings(photos=QUICK, minutes=30, out=out)
    kept = record.read(settings)
    written = (out / record.NAME).stat().st_mtime
    (out / "run").mkdir()
    (out / "run" / "metrics.jsonl").touch()
    for later, counted in ((100.0, 100.0), (10_000.0, kept.choice.seconds["pretrain"]), (-100.0, 0.0)):
        for path in (out / "run" / "metrics.jsonl", out / "run"):
            os.utime(path, (written + later, written + later))
        assert record.read(settings).spent == pytest.approx(kept.spent + counted)
    calls.fails = ""
    tfssl.quickstart(QUICK, 30, out=out)
    done = record.read(settings)
    for path in (out / "run" / "metrics.jsonl", out / "run"):
        os.utime(path, (written + 10_000, written + 10_000))
    assert record.read(settings).spent == done.spent


def test_fine_tuning_fits_what_is_left(calls, tmp_path, monkeypatch):
    """Where pretraining turned out to be slower, less is tried."""
    made = {}
    for name, speed in (("as planned", 64 / 0.768), ("slower", 8 / 0.768)):
        monkeypatch.setattr(FakeRun, "result", {"images_per_second": speed})
        tfssl.quickstart(QUICK, 30, out=tmp_path / name)
        made[name] = dict(calls.made)["finetune"]
    assert made["as planned"]["steps"] * len(made["as planned"]["learning_rates"]) >= 1000
    assert made["slower"]["steps"] < made["as planned"]["steps"]


def test_an_export_that_was_written_is_not_written_again(calls, tmp_path):
    out = tmp_path / "quick"
    calls.fails, calls.failing = "export", KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tfssl.quickstart(QUICK, 30, out=out)
    (out / "models" / "encoder" / "1").mkdir(parents=True)
    calls.fails = ""
    assert calls.names == ORDER[:5]
    tfssl.quickstart(QUICK, 30, out=out)
    assert calls.names == ["export", "check", "check"]  # the export is that of the classifier


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_what_fails_its_check_is_said(calls, tmp_path, kind):
    class Failed:
        ok = False

    models = tmp_path / "quick" / "models"
    right = parts.FUNCTIONS["check"]
    parts.FUNCTIONS["check"] = lambda folder: Failed() if folder == models / kind else right(folder=folder)
    found = tfssl.quickstart(QUICK, 30, out=tmp_path / "quick")
    assert (found.ok, found.wrong) == (False, (models / kind,))
    assert re.findall(r"does not answer .*: tfssl check (.*)", str(found)) == [str(models / kind)]


def test_without_labels(calls, tmp_path, labelled_folder):
    for number, path in enumerate(sorted(labelled_folder.rglob("*.png"))):
        shutil.copyfile(path, tmp_path / f"{number}.png")
    found = tfssl.quickstart(tmp_path, 30, out=tmp_path / "quick")
    assert calls.names == ["show", "pretrain", "export", "check"]
    assert (found.classifier, len(found.reports), len(found.models)) == (None, 1, 1)


def test_a_table_of_labels_is_not_evaluated(calls, tmp_path, labelled_folder):
    files = sorted(path.relative_to(labelled_folder) for path in labelled_folder.rglob("*.png"))
    rows = "".join(f"{file},{file.parts[0]}\n" for file in files)
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    tfssl.quickstart(labelled_folder, 30, out=tmp_path / "quick", labels=tmp_path / "labels.csv")
    made = dict(calls.made)
    assert calls.names == ["show", "pretrain", "finetune", "export", "export", "check", "check"]
    assert made["finetune"]["beside"] == ("scratch", "random")
    assert made["finetune"]["labels"] == tmp_path / "labels.csv"


def test_another_place_resumes_too(calls, tmp_path, labelled_folder, monkeypatch):
    """A folder is known by where it is, and the commands name it as it was given."""
    monkeypatch.chdir(labelled_folder.parent)
    calls.fails, calls.failing = "pretrain", KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tfssl.quickstart(labelled_folder.name, 30, out=tmp_path / "quick")
    assert dict(calls.made)["pretrain"]["data"] == f"{labelled_folder.name} (80 %, split seed 0)"
    calls.fails = ""
    monkeypatch.chdir(labelled_folder)
    tfssl.quickstart(Path("../") / labelled_folder.name, 30, out=tmp_path / "quick")
    assert calls.made[-1][0] == "check"
    assert dict(calls.made)["evaluate"]["data"] == f"../{labelled_folder.name}"


def test_other_settings_are_refused(calls, tmp_path):
    out = tmp_path / "quick"
    tfssl.quickstart(QUICK, 30, out=out)
    before = (out / record.NAME).read_bytes()
    calls.names  # noqa: B018
    for photos, more, says in (
        (QUICK, {"minutes": 20}, "holds a quickstart with minutes 30.0, now 20.0 is given"),
        ("toy:images(count=95, size=32)", {"minutes": 30}, "photos 'toy:images"),
        (QUICK, {"minutes": 30, "labels": "labels.csv"}, "with labels None, now '/"),
        (QUICK, {"minutes": 30, "max_broken": 0.5}, "with max_broken 0.01"),
    ):
        with pytest.raises(UserError, match=says):
            tfssl.quickstart(photos, out=out, **more)
    for content, says in (
        (b'{"format": 2}', "has format 2"),
        (b'{"format": 1', "cannot be read"),
        (b'{"format": 1}', "cannot be read"),
    ):
        (out / record.NAME).write_bytes(content)
        with pytest.raises(UserError, match=says):
            tfssl.quickstart(QUICK, 30, out=out)
    (out / record.NAME).write_bytes(before)
    assert calls.names == []


def test_a_machine_that_is_too_slow_is_said_and_nothing_is_written(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "measure", lambda *given: Speed(30.0, 2.0, 0.001))
    with pytest.raises(UserError, match=r"takes 30 s .* 30 minutes leave 3\d steps, of 100 at least; give --minutes 7"):
        tfssl.quickstart(QUICK, 30, out=tmp_path / "quick")
    assert list(tmp_path.iterdir()) == []
    assert calls.names == []


def test_gpu(calls, tmp_path, monkeypatch):
    """Half precision and a larger batch are measured where they may be faster, and taken where they are."""
    measured = []

    def measure(source, tasks, size, batch, trunk, mixed_precision=None):
        measured.append((trunk, batch, mixed_precision))
        return Speed(0.02 * (0.5 if mixed_precision else 1) * (1 if batch == 64 else 0.1), 2.0, 0.0)

    monkeypatch.setattr(plan, "LARGE_BATCH", 19)  # a quarter of the pictures
    monkeypatch.setattr(measuring, "measure", measure)
    monkeypatch.setattr(measuring, "has_gpu", lambda: True)
    monkeypatch.setattr(measuring, "may_gain_by_bfloat16", lambda: True)
    tfssl.quickstart(QUICK, 30, out=tmp_path / "quick")
    largest = plan.TRUNKS[-1]
    assert measured == [
        *((trunk, 64, None) for trunk in plan.TRUNKS),
        (largest, 64, "bfloat16"),
        (largest, 19, "bfloat16"),
    ]
    made = dict(calls.made)["pretrain"]
    assert (made["trunk"], made["batch_size"], made["mixed_precision"]) == (largest, 19, "bfloat16")


def test_headlines():
    said = quickstart.headline(3, 6, "pretraining", 840.0, 1800.0, 540.0)
    assert said == "part 3 of 6, pretraining: about 14 of 30 minutes; 21 left"
    said = quickstart.headline(6, 6, "checking", 5.0, 180.0, 200.0)
    assert said == "part 6 of 6, checking: under 1 of 3 minutes; 1 left"
