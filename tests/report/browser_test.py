"""The pages as a browser shows them. One start of Chromium for all; skipped where there is none."""

import base64
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import tfssl
from tests.support.evaluations import DENSE, EVALUATION, FULL
from tfssl.base.files import write_json
from tfssl.report import gallery, puzzles
from tfssl.runs import dense_scores
from tfssl.runs.run import load_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
]
HOSTILE = '<img src="http://example.invalid/x.png" onerror="alert(1)">'
CLASSES = ("a, b", '"c"', "ж", "\U0001f408", HOSTILE, *"fghij")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs pip install '.[dev]'")
    pytest.importorskip("axe_playwright_python", reason="needs pip install '.[dev]'")
    with api.sync_playwright() as playwright:
        # Chromium has no sandbox for root, as which containers run; these pages are ours.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(browser, toy_run, toy_classifier, toy_look, toy_inside, tmp_path_factory):
    """A page of each kind, of a run with all that is shown."""
    folder = tmp_path_factory.mktemp("browser")
    runs = []
    for name, evaluation in (("first", FULL), ("second", EVALUATION)):
        path = shutil.copytree(toy_run.folder, folder / name)
        write_json(path / "evaluation.json", dataclasses.replace(evaluation, classes=CLASSES).as_json())
        beside = {HOSTILE: DENSE.random}
        dense_scores.write(path, {"normals": dataclasses.replace(DENSE, subject=HOSTILE[:9], beside=beside)})
        runs.append(path)
    lines = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    facts = {"data": "toy", "fingerprint": "0", "pictures": 60, "learned_from": 40, "held_out": 20, "best": ["stage2"]}
    facts["stages"] = {"stage2": {}, "stage4": {}}
    for line in lines:
        if line.get("epoch_end"):
            line |= {"knn": 0.4, "probe": 0.5, "rank": 7.5, "watch": facts}
    (runs[0] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = json.loads((runs[0] / "run.json").read_text())
    rates = [0.001 * 1.1**number for number in range(100)]
    tested = {"rates": rates, "losses": [1.4 - rate for rate in rates], "chosen": 0.05, "found": True}
    content["prepared"]["learning_rate"] = tested
    write_json(runs[0] / "run.json", content)
    square = gallery.Picture(np.full((32, 32, 3), 90, np.uint8), HOSTILE, "a square", True)
    gallery.keep(runs[0], gallery.shown([gallery.Row(square, [[square] * 5] * 2)] * 2, ["the run", HOSTILE], HOSTILE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(puzzles, "draw", lambda run, count: {"rotation": Figure((2, 2))})  # others test them
        tfssl.report(runs[0])
    tfssl.report([load_run(each) for each in runs], folder / "compare.html")
    return {
        "run": runs[0] / "report.html",
        "compare": folder / "compare.html",
        "classifier": toy_classifier / "report.html",
        "look": toy_look / "index.html",
        "inside": toy_inside,
    }


def opened(browser, path: Path, width: int = 1280, scheme: str = "light"):
    """A page and what it does that it must not: messages, errors, requests of anything but itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        permissions=["clipboard-read", "clipboard-write"],
    )
    page, faults = context.new_page(), []
    page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: faults.append(str(error)))
    here = path.resolve().as_uri()
    page.on("request", lambda asked: faults.append(asked.url) if asked.url[:5] not in ("data:", here[:5]) else None)
    page.on(
        "request", lambda asked: faults.append(asked.url) if asked.url[:5] == "file:" and asked.url != here else None
    )
    page.goto(here)
    return page, faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["run", "compare", "classifier", "look", "inside"])
def test_a_page_is_whole_narrow_and_can_be_used_by_all(browser, pages, kind, scheme):
    """axe-core looks for what keeps people out: contrast, names of figures and buttons, the keyboard. 2 s a page."""
    from axe_playwright_python.sync_playwright import Axe

    page, faults = opened(browser, pages[kind], 360, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert faults == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == (scheme == "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 42, 48)"  # ink on white paper
    page.context.close()


def test_a_gallery_that_was_kept_is_on_the_page(browser, pages):
    page, faults = opened(browser, pages["run"])
    assert page.locator(".row").count() == 2
    assert page.locator(".row figure.right img[alt='a square']").count() == 2 * 11
    assert page.locator(".row h3").all_inner_texts() == ["query", "the run", HOSTILE] * 2
    assert faults == []
    page.context.close()


def test_a_table_sorts(browser, pages):
    page, faults = opened(browser, pages["run"])
    cells = "[...document.querySelectorAll('#classes tbody tr')].map((row) => row.cells[3].textContent)"
    assert page.evaluate(cells)[:3] == ["90.0", "80.0", "75.0"]
    head = page.locator("#classes thead th").nth(3)
    head.locator("button").click()
    down = ["100.0", "90.0", "80.0", "75.0", "60.0", "55.0", "50.0", "35.0", "8.5", ""]
    assert (page.evaluate(cells), head.get_attribute("aria-sort")) == (down, "descending")
    head.locator("button").press("Enter")
    assert page.evaluate(cells) == [*down[-2::-1], ""]  # what is not known comes last
    assert head.get_attribute("aria-sort") == "ascending"
    assert faults == []
    page.context.close()


def test_numbers_are_copied_as_csv(browser, pages):
    from playwright.sync_api import expect

    page, faults = opened(browser, pages["run"])

    def copied(name: str) -> list[str]:
        button = page.locator(f"button[data-of='{name}']")
        button.click()
        expect(button).to_have_text("copied")
        return page.evaluate("navigator.clipboard.readText()").splitlines()

    table = copied("classes")
    assert table[:3] == [
        'class,to learn from,to test,"right, %","random weights, %",ahead',
        '"a, b",900,1000,90.0,70.0,+20.0',
        '"""c""",800,1000,80.0,80.0,+0.0',
    ]
    assert table[5].startswith('"' + HOSTILE.replace('"', '""') + '"')
    assert copied("long-tail") == [
        "network,third of classes with,right %",
        "the run,most labels,90",
        "the run,fewer,70",
        "the run,fewest,50",
    ]
    assert faults == []
    page.context.close()


def test_a_map_is_moved_and_asked_by_keys_alone(browser, pages):
    from playwright.sync_api import expect

    page, faults = opened(browser, pages["look"])
    places = json.loads(page.locator("#points").text_content())["points"]
    named = page.locator("#named")
    canvas = page.locator("#map")
    canvas.focus()
    canvas.press("Enter")
    near = sorted(places, key=lambda each: abs(complex(1.4 * (each[0] - 0.5), each[1] - 0.5)))
    assert named.inner_text().split(",")[0] in [each[4] for each in near[:3]]  # a wide map is a little stretched
    before = page.evaluate("({...view})")
    for key in ("+", "ArrowLeft", "ArrowUp"):
        canvas.press(key)
    after = page.evaluate("({...view})")
    assert after["zoom"] == pytest.approx(1.4)
    assert (after["x"] < before["x"], after["y"] > before["y"]) == (True, True)
    canvas.press("0")
    assert page.evaluate("({...view})") == before
    page.select_option("#mark", "1")  # of what is selected
    expect(named).to_be_empty()
    canvas.press("Enter")
    assert "selected" in named.inner_text().split(", ")
    assert faults == []
    page.context.close()


def test_a_picture_of_the_map_is_named_where_one_points(browser, pages):
    page, faults = opened(browser, pages["look"])
    page.locator("#map").scroll_into_view_if_needed()
    where = (
        "(() => { const box = canvas.getBoundingClientRect(), [x, y] = onScreen(data.points[3]);"
        " return [box.left + 1 + x, box.top + 1 + y, data.points[3][4]]; })()"
    )
    x, y, name = page.evaluate(where)
    page.mouse.move(x, y)
    assert page.locator("#named").inner_text().startswith(name)
    page.mouse.wheel(0, -400)
    page.wait_for_function("view.zoom > 2")
    there = page.evaluate(where)[:2]
    assert there == pytest.approx([x, y], abs=4)  # what one points at stays; pixels are whole numbers
    page.mouse.down()
    page.mouse.move(x + 30, y - 20)
    page.mouse.up()
    assert page.evaluate(where)[:2] == pytest.approx([there[0] + 30, there[1] - 20], abs=2)
    assert faults == []
    page.context.close()


def test_places_are_as_alike_as_numpy_says(browser, pages):
    page, faults = opened(browser, pages["inside"])
    data = json.loads(page.locator("#maps").text_content())
    assert page.locator("#said").inner_text() == "No place is chosen."
    canvas = page.locator("canvas.seen").nth(1)
    canvas.focus()
    for number, stage in enumerate(data["stages"][:2]):
        page.select_option("#stage", str(number))
        canvas.press("Enter")
        height, width = stage["height"], stage["width"]
        rows = np.frombuffer(base64.b64decode(stage["kept"]), np.int8).reshape(3, height * width, -1).astype(float)
        rows /= np.maximum(np.linalg.norm(rows, axis=2, keepdims=True), 1e-9)
        said = page.locator("#said").inner_text()
        own, there, cosine = re.search(
            r"row (\d+, column \d+) .*: picture (\d+, row \d+, column \d+), cosine ([-.\d]+)\.", said
        ).groups()
        row, column = (int(each) - 1 for each in re.findall(r"\d+", own))
        cosines = rows @ rows[1, row * width + column]
        cosines[1] = -2
        assert float(cosine) == pytest.approx(cosines.max(), abs=0.006)
        picture, row, column = (int(each) - 1 for each in re.findall(r"\d+", there))
        assert cosines[picture, row * width + column] == pytest.approx(cosines.max(), abs=1e-6)
    page.select_option("#stage", "0")
    canvas.press("ArrowLeft")
    box = canvas.bounding_box()
    canvas.click(position={"x": 1, "y": box["height"] - 2})
    assert f"row {data['stages'][0]['height']}, column 1 of" in page.locator("#said").inner_text()
    assert faults == []
    page.context.close()


def test_a_page_without_javascript_has_all_numbers(browser, pages):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["run"].resolve().as_uri())
    assert page.locator("#classes tbody tr").count() == 10
    assert not page.locator("button.copy").first.is_visible()
    page.locator("summary").first.click()
    assert page.locator("pre").first.inner_text().startswith("network,stage,top-1 %")
    context.close()
