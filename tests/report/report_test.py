import dataclasses
import html.parser
import json
import re
from pathlib import Path

import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.report.figures import as_svg, learning_curves, stage_bars
from tfssl.report.page import write_report
from tfssl.runs.beside import Difference, Rival
from tfssl.runs.evaluation import Evaluation, Score
from tfssl.runs.run import load_run
from tfssl.runs.spread import Spread

EVALUATION = Evaluation(
    trained={
        "linear": {"stage1": Score(0.65, 0.6), "stage2": Score(0.728, 0.7), "stage3": Score(0.7, 0.6)},
        "linear_pooled": {"stage1": Score(0.45, 0.4), "stage2": Score(0.55, 0.5), "stage3": Score(0.605, 0.6)},
    },
    random={"linear": {"stage1": Score(0.54, 0.5), "stage2": Score(0.56, 0.5), "stage3": Score(0.5, 0.4)}},
    train_images=50_000,
    test_images=10_000,
    classes=tuple("abcdefghij"),
    largest_class=0.1,
    notes=("Names may hold <b>markup</b>.",),
    details={"random_batch_norm": {"linear": {"stage1": "own", "stage2": "precise"}}},
)


class Links(html.parser.HTMLParser):
    """Collects what a page loads or points to, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.text = re.sub("[ \n]+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in ("src", "href", "srcset", "action")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tfssl.pretrain(
        "toy:images(count=24, size=32)",
        trunk="resnet10(width=4)",
        size=32,
        epochs=2,
        batch_size=8,
        log_every=1,
        out=tmp_path_factory.mktemp("report") / "run",
        report=False,
        verbose=0,
    )


def page_of(run) -> Links:
    path = write_report(run)
    assert path == Path(run.folder) / "report.html"
    return Links(path.read_text(encoding="utf-8"))


@pytest.mark.smoke
def test_report_before_and_after_evaluation(run):
    before = page_of(run)
    accuracy = run.result["metrics"]["rotation_accuracy"]
    assert f"answered {100 * accuracy:.1f}\u00a0% of the rotation puzzles right" in before.text
    assert f"tfssl evaluate {run.folder} LABELLED_DATA" in before.text
    assert "learning rate0.1" in before.text
    assert len(before.links) == 3  # loss, accuracy, puzzles

    write_json(Path(run.folder) / "evaluation.json", EVALUATION.as_json())
    after = page_of(run)
    assert "LABELLED_DATA" not in after.text
    assert "72.8\u00a0% of the 10,000 test images right (95\u00a0% interval 71.9 to 73.7\u00a0%)" in after.text
    assert "The last stage, stage3, is worse than stage2 by 2.8 points" in after.text
    assert "60.5\u00a0%pooled linear probe on stage3as export gives it" in after.text.replace(" pooled", "pooled")
    assert "the mean over all places of stage3: pooled linear probe 60.5\u00a0%." in after.text
    assert "linear (stage1 own, stage2 precise)" in after.text
    assert "Names may hold <b>markup</b>." in after.text  # shown as text, thus escaped in the file
    assert len(after.links) == 5
    assert all(link.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,")) for link in after.links)
    assert [path.name for path in Path(run.folder).glob(".*")] == []


def test_report_of_what_stood_beside_and_of_ranks(run):
    """Ranks are those of the evaluation, else those that were asked for alone."""
    folder = Path(run.folder)
    ranks = {"trained": {"stage1": Spread(7.25, 16, 24, -1.5)}, "random": {"stage1": Spread(3.5, 16, 24, -0.5)}}
    scores = {"linear": {"a": Score(0.5, 0.4), "b": Score(0.6, 0.5)}}
    rival = Rival("net.keras", scores, {"linear": Difference(0.128, 0.1, 0.15)})
    write_json(folder / "evaluation.json", dataclasses.replace(EVALUATION, beside=(rival,)).as_json())
    alone = Evaluation(trained={}, random={}, protocols={}, train_images=24, test_images=0, classes=(), ranks=ranks)
    write_json(folder / "ranks.json", alone.as_json())
    page = page_of(run).text
    assert "linear probenet.keras72.8 (stage2)60.0 (b)12.8 points ahead (10.0 to 15.0)" in page
    assert "stage1167.23.5-1.50-0.50" in page
    (folder / "ranks.json").unlink()
    write_json(folder / "evaluation.json", EVALUATION.as_json())
    page = page_of(run).text
    assert "Beside others" not in page
    assert "How many directions" not in page


def test_report_of_a_run_whose_data_is_gone(run):
    path = Path(run.folder) / "run.json"
    kept = path.read_text()
    content = json.loads(kept)
    content["data"]["name"] = "/nowhere/photos"
    path.write_text(json.dumps(content))
    try:
        page = page_of(load_run(run.folder))
    finally:
        path.write_text(kept)
    assert "None could be drawn: /nowhere/photos does not exist" in page.text


def test_report_of_a_run_that_has_not_ended(tmp_path, run):
    content = json.loads((Path(run.folder) / "run.json").read_text())
    write_json(tmp_path / "run.json", content)
    page = page_of(load_run(tmp_path))
    assert "The run has not ended: 0 of 6 steps are done" in page.text
    assert "metrics.jsonl has no line yet" in page.text
    assert "None could be drawn" in page.text


def test_no_run(tmp_path):
    with pytest.raises(UserError, match="is no run"):
        write_report(tmp_path)


def test_curves_have_the_epochs_means_and_those_of_the_steps_between():
    lines = [
        {"step": 1, "epoch": 1, "loss": 2.0, "rotation_accuracy": 0.25, "learning_rate": 0.1},
        {"step": 2, "epoch": 1, "loss": 1.0, "rotation_accuracy": 0.75, "learning_rate": 0.1},
        {"step": 2, "epoch": 1, "loss": 1.5, "rotation_accuracy": 0.5, "learning_rate": 0.1, "epoch_end": True},
        {"step": 3, "epoch": 2, "loss": 1.2, "rotation_accuracy": 0.5, "learning_rate": 0.1},
        {"step": 4, "epoch": 2, "loss": 1.0, "rotation_accuracy": 0.75, "learning_rate": 0.1, "epoch_end": True},
    ]
    curves = learning_curves(lines)
    assert list(curves) == ["loss", "rotation_accuracy"]
    (axes,) = curves["rotation_accuracy"].axes
    assert axes.lines[0].get_xydata().tolist() == [[1, 25], [2, 75], [3, 50]]
    assert axes.lines[-1].get_xydata().tolist() == [[2, 50], [4, 75]]
    assert learning_curves([]) == {}


def test_bars_stand_beside_random_weights():
    (axes,) = stage_bars(EVALUATION, "linear").axes
    bars = [group for group in axes.containers if type(group).__name__ == "BarContainer"]
    random, trained = ([round(bar.get_height(), 1) for bar in group] for group in bars)
    assert random == [54, 56, 50]
    assert trained == [65, 72.8, 70]
    assert as_svg(stage_bars(EVALUATION, "linear")) == as_svg(stage_bars(EVALUATION, "linear"))
