import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.tasks import TASKS, parse_task, parse_tasks
from tfssl.tasks.rotation import TILT, Rotation, _tilt

SEED = tf.constant([1, 2])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def make(task, images, graph=False):
    function = tf.function(task.puzzles) if graph else task.puzzles
    return [part.numpy() for part in function({"image": tf.constant(images)}, SEED)]


@pytest.mark.smoke
@pytest.mark.parametrize("rotations", [2, 4])
def test_turned_back_it_is_the_source(images, rotations):
    task = Rotation(rotations=rotations)
    puzzle, answer, weight = make(task, images)
    assert puzzle.shape == (5 * rotations, 8, 8, 3)
    np.testing.assert_array_equal(answer, np.tile(np.arange(rotations), 5))
    np.testing.assert_array_equal(weight, np.ones(5 * rotations))
    for row, (turned, label) in enumerate(zip(puzzle, answer, strict=True)):
        back = np.rot90(turned, -task.angles[label] // 90)
        source = images[row // rotations]
        assert (back == source).all() or (back == source[:, ::-1]).all()


@pytest.mark.parametrize("rotations", [2, 4])
@pytest.mark.parametrize("size", [32, 33, 34, 48])
def test_the_inscribed_view_is_the_square_that_eight_rotations_see(rotations, size):
    """Of 32 and 33 pixels it is half a pixel beside the middle, in all turns alike."""
    images = np.random.default_rng(1).integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    task = Rotation(rotations=rotations, view="inscribed")
    puzzle, answer, _ = make(task, images)
    side = puzzle.shape[1]
    assert puzzle.shape == (6 * rotations, side, side, 3)
    assert side == make(Rotation(rotations=8), images)[0].shape[1]
    middle = slice((size - side) // 2, (size - side) // 2 + side)
    pieces = task.undone(puzzle, answer)
    top, left, tall, wide = pieces.boxes[0]
    assert (pieces.boxes == pieces.boxes[0]).all()
    assert 0 <= middle.start - top <= tall - side <= 1
    assert (left, wide) == (top, tall)
    sides = set()
    for picture, alike in zip(images, pieces.pixels, strict=True):
        crops = [picture[middle, middle], picture[:, ::-1][middle, middle]]
        found = [[np.array_equal(crop, one) for crop in crops] for one in alike]
        assert (np.sum(found, 1) == 1).all()
        assert found == [found[0]] * rotations
        sides.add(found[0].index(True))
    assert sides == {0, 1}  # mirrored ones too
    turns = np.array(task.angles) // 90
    for turned, label, back in zip(puzzle, answer, pieces.pixels.reshape(puzzle.shape), strict=True):
        np.testing.assert_array_equal(turned, np.rot90(back, turns[label]))
    seen, meant = task.seen(tf.constant(images))
    np.testing.assert_array_equal(seen, images[:, middle, middle])
    assert meant == task.angles


def test_eight_rotations_are_always_inscribed(images):
    whole, inscribed = (make(Rotation(rotations=8, view=view), images)[0] for view in ("whole", "inscribed"))
    np.testing.assert_array_equal(whole, inscribed)


@pytest.mark.parametrize("rotations", [2, 4, 8])
def test_eager_equals_graph_and_seed_decides(images, rotations):
    task = Rotation(rotations=rotations)
    eager, graph = make(task, images), make(task, images, graph=True)
    for one, other in zip(eager, graph, strict=True):
        np.testing.assert_array_equal(one, other)
    others = [task.puzzles({"image": tf.constant(images)}, tf.constant([1, seed]))[0].numpy() for seed in range(8)]
    assert any((other != eager[0]).any() for other in others)


def test_eight_rotations_turn_in_steps_of_45_degrees_and_show_no_corner():
    size = 64
    y = np.mgrid[:size, :size][0] - (size - 1) / 2
    across = np.abs(y) < 4  # a bar through the middle, from left to right
    images = np.where(across[None, :, :, None], 255, 60).astype(np.uint8).repeat(3, 3)
    puzzle, answer, _ = make(Rotation(rotations=8), images)
    np.testing.assert_array_equal(np.sort(np.mod(Rotation(rotations=8).angles, 360)), 22.5 + 45 * np.arange(8))
    side = puzzle.shape[1]
    assert side <= size / np.sqrt(2)
    assert puzzle.min() >= 60  # a corner from outside of the picture would be black or a mirror image; none is darker
    for turned, label in zip(puzzle, answer, strict=True):
        angle = np.radians(Rotation(rotations=8).angles[label])
        yy, xx = np.mgrid[:side, :side] - (side - 1) / 2
        distance = np.abs(xx * np.sin(angle) + yy * np.cos(angle))  # from the turned bar; y points down
        assert turned[distance < 2].min() > 200
        assert turned[distance > 6].max() < 100


def test_tilted_pictures_stay_inside_of_the_picture():
    outside = np.zeros((1, 33, 33, 3), np.uint8)
    y, x = np.mgrid[:33, :33] - 16
    outside[0][np.hypot(y, x) > 16.5] = 255  # only what a square of S / sqrt(2) cannot reach
    for degrees in (-TILT, TILT):
        assert _tilt(tf.constant(outside), degrees).numpy().max() == 0


def test_both_halves_of_eight_are_resampled_alike():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    one, other = (np.float32(_tilt(tf.constant(images), degrees)) for degrees in (-TILT, TILT))
    mirrored = np.float32(_tilt(tf.constant(images[:, :, ::-1]), TILT))[:, :, ::-1]
    assert np.abs(one - mirrored).max() <= 1  # of the mirror image it is the mirror image, but for rounding
    assert one.var() == pytest.approx(other.var(), rel=0.01)


def test_settings_are_read_and_written():
    assert parse_task("rotation") == Rotation()
    task = parse_task("rotation(rotations=8, weight=2)")
    assert task == Rotation(rotations=8, weight=2)
    assert parse_task(str(task)) == task
    assert str(Rotation()) == "rotation"
    assert parse_tasks(["rotation(dropout=0.5)"]) == [Rotation(dropout=0.5)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rotations", "unknown task 'rotations'; tasks are: .*rotation"),
        ("rotation(angle=4)", "no setting 'angle'"),
        ("rotation(rotations=3)", "expected one of 2, 4, 8"),
        ("rotation(dropout=1.0)", "expected a rate"),
        ("rotation(view='middle')", "expected one of whole, inscribed"),
        ("rotation, rotation", "2 times"),
    ],
)
def test_wrong_text(text, says):
    with pytest.raises(UserError, match=says):
        parse_tasks(text)


def test_picture_says_what_is_right_and_what_wrong(images):
    puzzle, answer, _ = make(Rotation(), images)
    guess = np.eye(4)[(answer + (np.arange(20) == 0)) % 4]
    figure = Rotation().picture(puzzle, answer, guess, count=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 8
    assert titles[:2] == ["0° → 90°", "90° → 90°"]
    assert figure.axes[0].title.get_color() != figure.axes[1].title.get_color()
    assert [axes.get_title() for axes in Rotation().picture(puzzle, answer, count=1).axes] == [
        "0°",
        "90°",
        "180°",
        "270°",
    ]


def test_registry_names():
    assert all(task.name == name for name, task in TASKS.items())
