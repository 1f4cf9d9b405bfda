"""Galleries: every picture is there, with words, and the page needs nothing but itself."""

import base64
import html.parser
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.report import gallery
from tfssl.report.gallery import Picture, Row


class Tags(html.parser.HTMLParser):
    """All tags of a page: (name, attributes)."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def picture(number: int, **more) -> Picture:
    image = np.full((32, 32, 3), 10 * number, np.uint8)
    return Picture(image, f"0.{number}\n$\\class <{number}>$", f'picture {number} "quoted"', **more)


@pytest.fixture
def rows() -> list[Row]:
    patch = {"box": (0.5, 0.25, 0.25, 0.25), "patch": np.zeros((32, 32, 3), np.uint8)}
    return [
        Row(picture(0), [[picture(1, right=True), picture(2)], [picture(3)]]),
        Row(picture(4, **patch), [[picture(5, **patch)], []]),
    ]


def test_a_page_holds_all_of_it(rows, tmp_path):
    gallery.write(tmp_path / "a.html", rows, 2, ["one", "<two>"], "Title & more", "First.\nSecond.")
    text = (tmp_path / "a.html").read_text()
    tags = Tags(text).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 6 + 2  # of patches two each
    assert all(each["alt"] and each["src"].startswith("data:image/jpeg;base64,") for each in images)
    assert [each["alt"] for each in images][:4] == [f'picture {number} "quoted"' for number in range(4)]
    shades = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each["src"].split(",")[1])))) for each in images]
    assert [round(float(each.mean())) for each in shades] == [0, 10, 20, 30, 0, 40, 0, 50]
    boxes = [attributes["style"] for tag, attributes in tags if tag == "i"]
    assert boxes == ["top:50.0%;left:25.0%;height:25.0%;width:25.0%"] * 2
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "<p>First.</p>\n<p>Second.</p>" in text
    assert "&lt;two&gt;" in text
    assert text.count('<figure class="right">') == 1


def test_a_figure_holds_all_of_it(rows, tmp_path):
    figure = gallery.figure(rows, 2, ["one", "two"])
    figure.savefig(io.BytesIO())  # which Matplotlib refuses where it takes names of classes for formulas
    shown = [axes for axes in figure.axes if axes.images]
    assert sorted(float(axes.images[0].get_array().mean()) for axes in shown) == [0, 0, 0, 10, 20, 30, 40, 50]
    (box,) = {patch.get_bbox().bounds for axes in figure.axes for patch in axes.patches}
    assert box == (7.5, 15.5, 8, 8)  # left, top, width, height, from the corner of the first pixel
    gallery.write(tmp_path / "a.png", rows, 2, ["one", "two"])
    _, width, _ = tf.io.decode_png((tmp_path / "a.png").read_bytes()).shape
    assert width == pytest.approx((5 * 1.1 + 2 * 0.25) * 120, abs=2)


def test_long_names_are_cut_in_figures(rows):
    long = Row(rows[0].asked._replace(caption="n01440764_tench_and_more.JPEG"), rows[0].found)
    figure = gallery.figure([long], 2, ["one", "/home/somebody/projects/runs/first, stage4"])
    assert "n01440764_tench…" in [axes.get_title() for axes in figure.axes]
    assert [part.get_suptitle() for part in figure.subfigs] == [" ", "one", "…ody/projects/runs/first, stage4"]
