"""`show` draws what the network gets to see, and what it answers."""

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.report.puzzles import draw, show
from tfssl.runs.config import TASKS
from tfssl.tasks import parse_tasks

TOY = "toy:images(count=72, size=32)"


@pytest.mark.smoke
def test_a_picture_of_puzzles(tmp_path):
    shown = show(TOY, "rotation", tmp_path / "new" / "puzzles.png", size=32, count=3)
    assert shown.files == {"rotation": tmp_path / "new" / "puzzles.png"}
    assert str(shown) == f"rotation: {tmp_path}/new/puzzles.png"
    image = tf.io.decode_png((tmp_path / "new" / "puzzles.png").read_bytes(), channels=3).numpy()
    assert min(image.shape[:2]) > 300
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["puzzles.png"]


@pytest.mark.parametrize(
    ("ending", "begins"),
    [("PNG", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("jpg", b"\xff\xd8\xff")],
)
def test_endings(tmp_path, ending, begins):
    path = tmp_path / f"puzzles.{ending}"
    show(TOY, "rotation(rotations=2)", path, size=32, count=1)
    assert path.read_bytes().startswith(begins)


def test_a_wrong_ending_and_a_folder(tmp_path):
    for name in ("puzzles", "puzzles.gif", "puzzles.npz"):
        with pytest.raises(UserError, match=r"expected a file that ends in \.png, \.svg, \.pdf or \.jpg"):
            show(TOY, "rotation", tmp_path / name, size=32)
    assert not list(tmp_path.iterdir())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        show(TOY, "rotation", tmp_path / "folder.png", size=32, count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def test_a_run_answers(toy_run, tmp_path):
    figure = draw(toy_run, count=2)["rotation"]
    assert len(titles(figure)) == 8
    assert [title.split(" → ")[0] for title in titles(figure)] == ["0°", "90°", "180°", "270°"] * 2
    assert {title.split(" → ")[1] for title in titles(figure)} <= {"0°", "90°", "180°", "270°"}
    colours = {axes.title.get_color() for axes in figure.axes}
    assert colours <= {"tab:green", "tab:red"}
    for axes in figure.axes:
        right, guess = axes.get_title().split(" → ")
        assert (axes.title.get_color() == "tab:green") == (right == guess)
    # Names of tasks choose among the run's; its settings need not be given again.
    for tasks in (None, "rotation"):
        assert show(TOY, tasks, tmp_path / "answers.png", run=toy_run.folder, size=32, count=2).files
    with pytest.raises(UserError, match=r"--tasks rotation\(rotations=2\) is given, but the run in .* has rotation"):
        show(TOY, "rotation(rotations=2)", tmp_path / "answers.png", run=toy_run)


def test_seeds_show_other_pictures_and_the_same_again(toy_run):
    def pixels(seed: int) -> np.ndarray:
        return np.stack([axes.images[0].get_array() for axes in draw(toy_run, count=2, seed=seed)["rotation"].axes])

    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert (pixels(1) != pixels(2)).any()
    turned = pixels(1)[:4]
    for quarters in range(4):
        np.testing.assert_array_equal(turned[quarters], np.rot90(turned[0], quarters))


def test_more_pictures_than_there_are(tmp_path):
    few = "toy:images(count=3, size=32)"
    shown = tfssl.show(few, to=tmp_path / "puzzles.png", size=32, count=10)
    # Where no task is named they are those that `pretrain` asks.
    assert list(shown.files) == [task.name for task in parse_tasks(TASKS)]
