import dataclasses
import html.parser
import json
import math
import re
import shutil
from pathlib import Path

import pytest

from tests.support.evaluations import EVALUATION, FULL, RANKS
from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.report import palette, tables
from tfssl.report.drawn import as_svg
from tfssl.report.figures import label_curves, learning_curves, long_tail, stage_bars
from tfssl.report.page import write_report
from tfssl.report.puzzles import draw
from tfssl.runs.evaluation import Evaluation
from tfssl.runs.run import load_run


class Links(html.parser.HTMLParser):
    """Collects what a page loads or points to, its text, and what its figures say to those who do not see them."""

    def __init__(self, page: str):
        super().__init__()
        self.links: list[str] = []
        self.figures: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(page)
        self.text = re.sub("[ \n]+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.links += [
            value for key, value in attrs if key in ("src", "href", "xlink:href", "srcset", "action", "data")
        ]
        self.ids += [value for key, value in attrs if key == "id"]
        if tag in ("svg", "img"):
            self.figures.append(dict(attrs)["alt" if tag == "img" else "aria-label"])

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def run(toy_run, tmp_path_factory):
    return load_run(shutil.copytree(toy_run.folder, tmp_path_factory.mktemp("report") / "run"))


def page_of(run) -> Links:
    path = write_report(run)
    assert path == Path(run.folder) / "report.html"
    return Links(path.read_text(encoding="utf-8"))


def test_puzzles_of_a_run_that_has_ended_are_drawn_once(toy_run, tmp_path, monkeypatch):
    """A newer version draws anew what it may draw otherwise; where nothing can be written, the page is there.

    So is it where the file is damaged.
    """
    run = load_run(shutil.copytree(toy_run.folder, tmp_path / "run"))
    drawn = []
    monkeypatch.setattr("tfssl.report.puzzles.draw", lambda run, count: drawn.append(count) or draw(run, count=count))
    first, second = write_report(run).read_text(), write_report(run, tmp_path / "again.html").read_text()
    assert drawn == [6]
    assert first == second
    assert first.count("data:image/png;base64,") == 1
    (run.folder / "puzzles.json").write_text('{"format": 1')
    assert write_report(run).read_text() == first
    assert drawn == [6, 6]
    monkeypatch.setattr("tfssl.report.page.VERSION", "newer")
    monkeypatch.setattr("tfssl.report.page.write_json", cannot_write)
    assert write_report(run, tmp_path / "again.html").read_text() == first
    assert drawn == [6, 6, 6]


def cannot_write(path, content):
    raise UserError(f"cannot write {path}")


@pytest.mark.smoke
def test_report_before_and_after_evaluation(run):
    before = page_of(run)
    accuracy = run.result["metrics"]["rotation_accuracy"]
    assert f"answered {100 * accuracy:.1f}\u00a0% of the rotation puzzles right" in before.text
    assert f"tfssl evaluate {run.folder} LABELLED_DATA" in before.text
    assert "learning rate0.1" in before.text
    loss = run.result["metrics"]["loss"]
    assert re.fullmatch(rf"loss by step: [\d.]+ at step 9, {loss:.3f} at step 18", before.figures[0])
    assert len(before.figures) == 3  # loss, accuracy, puzzles

    write_json(Path(run.folder) / "evaluation.json", EVALUATION.as_json())
    after = page_of(run)
    assert "LABELLED_DATA" not in after.text
    assert "72.8\u00a0% of the 10,000 test images right (95\u00a0% interval 71.9 to 73.7\u00a0%)" in after.text
    assert "The last stage, stage3, is worse than stage2 by 2.8 points" in after.text
    assert "60.5\u00a0%pooled linear probe on stage3as export gives it" in after.text.replace(" pooled", "pooled")
    assert "the mean over all places of stage3: pooled linear probe 60.5\u00a0%." in after.text
    assert "linear (stage1 own, stage2 precise)" in after.text
    assert "Names may hold <b>markup</b>." in after.text  # shown as text, thus escaped in the file
    assert len(after.figures) == 5
    assert "Chosen: stage2; the last stage, stage3, is 2.8 points below it." in after.text
    assert "Top-1 of each stage by linear probe: stage1 65.0 %, stage2 72.8 % (chosen), stage3 70.0 %" in after.figures
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in after.links)
    assert {link[1:] for link in after.links if link[0] == "#"} <= set(after.ids)
    assert len(set(after.ids)) == len(after.ids)
    assert [path.name for path in Path(run.folder).glob(".*")] == []


def test_report_of_what_stood_beside_of_classes_and_of_ranks(run):
    """Ranks are those of the evaluation, else those that were asked for alone."""
    folder = Path(run.folder)
    write_json(folder / "evaluation.json", dataclasses.replace(FULL, ranks={}).as_json())
    alone = Evaluation(trained={}, random={}, protocols={}, train_images=24, test_images=0, classes=(), ranks=RANKS)
    write_json(folder / "ranks.json", alone.as_json())
    page = page_of(run).text
    assert "a900100090.070.0+20.0" in page
    assert "What few labels give" in page
    assert "Common, middle and rare classes" in page
    assert "linear probenet.keras72.8 (stage2)60.0 (stage2)12.8 points ahead (10.0 to 15.0)" in page
    assert "stage1167.23.5-1.50-0.50" in page
    (folder / "ranks.json").unlink()
    write_json(folder / "evaluation.json", EVALUATION.as_json())
    page = page_of(run).text
    assert "Beside others" not in page
    assert "How many directions" not in page


def test_report_of_a_run_whose_data_is_gone(run):
    """Its puzzles are shown where they were drawn before."""
    write_report(run)
    path = Path(run.folder) / "run.json"
    kept = path.read_text()
    content = json.loads(kept)
    content["data"]["name"] = "/nowhere/photos"
    path.write_text(json.dumps(content))
    try:
        shown = page_of(load_run(run.folder))
        (run.folder / "puzzles.json").unlink()
        page = page_of(load_run(run.folder))
    finally:
        path.write_text(kept)
    assert "data:image/png;base64," in "".join(shown.links)
    assert "None could be drawn" not in shown.text
    assert "None could be drawn: /nowhere/photos does not exist" in page.text


def test_report_of_a_run_that_has_not_ended(tmp_path, run):
    content = json.loads((Path(run.folder) / "run.json").read_text())
    write_json(tmp_path / "run.json", content)
    page = page_of(load_run(tmp_path))
    assert "The run has not ended: 0 of 18 steps are done" in page.text
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
    rows = [row.split(",") for row in curves["rotation_accuracy"].csv.splitlines()]
    assert rows[0] == ["mean over", "step", "rotation_accuracy %"]
    assert [(row[0], float(row[2])) for row in rows[1:]] == [
        ("steps", 25),
        ("steps", 75),
        ("steps", 50),
        ("epoch", 50),
        ("epoch", 75),
    ]
    assert learning_curves([]) == {}


def test_bars_stand_beside_random_weights_and_others():
    (axes,) = stage_bars(EVALUATION, "linear").axes
    bars = [group for group in axes.containers if type(group).__name__ == "BarContainer"]
    random, trained = ([round(bar.get_height(), 1) for bar in group] for group in bars)
    assert random == [54, 56, 50]
    assert trained == [65, 72.8, 70]
    drawn = stage_bars(FULL, "linear")
    bars = {group.get_label(): group for group in drawn.axes[0].containers if type(group).__name__ == "BarContainer"}
    assert [round(bar.get_height(), 1) for bar in bars["net.keras"]] == [50, 60, 55]
    lines = {line.get_label(): line.get_ydata()[0] for line in drawn.axes[0].lines}
    assert lines["mobilenet (b)"] == 62  # its stages have other names: a line at the one chosen
    row = next(line.split(",") for line in drawn.csv.splitlines() if line.startswith("the run,stage2"))
    middle, half = (0.728 + 1.96**2 / 20_000), 1.96 * math.sqrt(0.728 * 0.272 / 10_000 + 1.96**2 / 4e8)
    wilson = [72.8, *(100 * end / (1 + 1.96**2 / 10_000) for end in (middle - half, middle + half))]
    assert [float(cell) for cell in row[2:]] == pytest.approx(wilson, abs=1e-3)


def test_a_figure_is_the_same_twice_and_takes_the_colours_of_the_page():
    one, two = (as_svg(stage_bars(EVALUATION, "linear").figure, "a & b") for _ in range(2))
    assert one == two
    assert 'aria-label="a &amp; b"' in one
    assert "var(--accent)" in one
    assert "stroke: #" not in one


def test_few_labels_are_a_curve_and_not_bars():
    (drawn,) = label_curves(FULL).values()
    assert drawn.csv.splitlines()[:4] == [
        "network,labels a class,score %,95 % from,to",
        "the run,1,31,29,33",
        "the run,4,34,32,36",
        "the run,16,46,44,48",
    ]
    assert label_curves(EVALUATION) == {}


def test_common_and_rare_classes():
    drawn = long_tail(FULL)
    assert drawn.csv.splitlines()[1:] == ["the run,most labels,90", "the run,fewer,70", "the run,fewest,50"]
    assert long_tail(EVALUATION) is None


def test_classes_one_by_one():
    table = tables.classes(FULL)
    assert table.head == ("class", "to learn from", "to test", "right, %", "random weights, %", "ahead")
    assert table.rows[0] == ("a", "900", "1000", "90.0", "70.0", "+20.0")
    assert table.rows[8:] == [("i", "100", "1000", "8.5", "10.0", "-1.5"), ("j", "9", "0", "", "", "")]
    assert tables.classes(EVALUATION) is None  # of an earlier version


def test_an_evaluation_with_its_classes_is_read_again():
    assert Evaluation.from_json(json.loads(json.dumps(FULL.as_json()))).per_class == FULL.per_class
    assert "per_class" not in EVALUATION.as_json()


def luminance(colour: str) -> float:
    """WCAG 2.2: relative luminance of #rrggbb."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_are_told_from_what_they_stand_on(mode):
    """WCAG 2.2, AA: 4.5 to 1 for text, 3 to 1 for bars and lines."""
    grounds = [palette.COLOURS[name][mode] for name in ("paper", "ground")]
    least = {"ink": 4.5, "quiet": 4.5, "accent": 4.5} | dict.fromkeys(
        ("random", "second", "third", "fourth", "fifth", "sixth"), 3.0
    )
    for name, wanted in least.items():
        for ground in grounds:
            dark, light = sorted(map(luminance, (palette.COLOURS[name][mode], ground)))
            assert (light + 0.05) / (dark + 0.05) >= wanted, (name, ground)
