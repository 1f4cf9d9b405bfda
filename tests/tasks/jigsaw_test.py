import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.multitask.model import make_model
from tfssl.pipelines.ops import tiles
from tfssl.tasks import parse_task
from tfssl.tasks.jigsaw import GREEN, RED, Jigsaw, SeenTiles, _frame, seen_levels
from tfssl.tasks.parts import permutations
from tfssl.tasks.parts.permutations import permutation_set

SEED = tf.constant([1, 2])


@pytest.fixture(scope="module", autouse=True)
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)


def make(task, images, seed=SEED, graph=False):
    function = tf.function(task.puzzles) if graph else task.puzzles
    return tf.nest.map_structure(lambda part: part.numpy(), function({"image": tf.constant(images)}, seed))


def solver(task, images, trunk):
    puzzle = make(task, images)[0]
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), puzzle)
    return make_model([task], {"image": trunk}, ({task.name: specs},))


@pytest.mark.smoke
@pytest.mark.parametrize("grid", [2, 3])
def test_the_answer_says_which_cell_each_position_shows(grid):
    rows, columns = np.mgrid[:90, :90]  # pixels say where they are
    images = np.stack([rows, columns, rows], -1)[None].astype(np.uint8).repeat(40, 0)
    task = Jigsaw(grid=grid)
    puzzle, answer, weight = make(task, images)
    number, tile, cell = grid**2, tiles.tile_size(90, grid), 90 // grid
    assert puzzle["tiles"].shape == (40, number, tile, tile, 3)
    assert puzzle["tiles"].dtype == np.uint8
    assert answer.dtype == np.int32
    assert weight.tolist() == [1.0] * 40
    corners = puzzle["tiles"][:, :, 0, 0, :2].astype(int) // cell @ [grid, 1]
    np.testing.assert_array_equal(corners, permutation_set(number, task.choices)[answer])
    assert len(set(answer)) > 10


@pytest.mark.parametrize("task", [Jigsaw(), Jigsaw(grid=2), Jigsaw(classes=4, grey=0.0)], ids=str)
def test_graph_equals_eager_and_the_seed_decides(task, images):
    eager, graph, other = make(task, images), make(task, images, graph=True), make(task, images, tf.constant([1, 3]))
    for one, two in zip(tf.nest.flatten(eager), tf.nest.flatten(graph), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (eager[0]["tiles"] != other[0]["tiles"]).any()


@pytest.mark.parametrize("grid", [2, 3])
def test_undone_every_tile_lies_in_its_box(images, grid):
    task = Jigsaw(grid=grid)
    puzzle, answer, _ = make(task, images)
    pixels, boxes = task.undone(puzzle, answer)
    tile = pixels.shape[2]
    for row, picture in enumerate(pixels):
        for piece, (top, left, height, width) in zip(picture, boxes, strict=True):
            box = images[row, top : top + height, left : left + width]
            windows = np.lib.stride_tricks.sliding_window_view(box, (tile, tile, 3))[:, :, 0]
            assert (windows == piece).all((2, 3, 4)).any()
    wrong = task.undone(puzzle, (answer + 1) % task.choices).pixels
    assert (wrong != pixels).any((1, 2, 3, 4)).all()


@pytest.mark.parametrize("grid", [2, 3])
def test_edges_of_neighbours_do_not_go_on(grid):
    size = 96
    rows, columns = np.mgrid[:size, :size]
    images = np.stack([rows, columns, rows], -1)[None].astype(np.uint8).repeat(64, 0)
    task = Jigsaw(grid=grid)
    puzzle, answer, _ = make(task, images)
    placed = task.undone(puzzle, answer).pixels.astype(int).reshape(64, grid, grid, *puzzle["tiles"].shape[2:])
    across = placed[:, :, 1:, 0, 0, 1] - placed[:, :, :-1, 0, -1, 1]  # from last column to first, in pixels
    down = placed[:, 1:, :, 0, 0, 0] - placed[:, :-1, :, -1, 0, 0]
    room = size // grid - placed.shape[3]
    for gaps in (across, down):
        assert gaps.min() >= 1
        assert len(set(gaps.ravel())) > room  # each tile has a place of its own
        # A difference of two uniform places, each 0 to `room`: it is 1 only where both lie at that very edge.
        assert abs(gaps.mean() - (room + 1)) < 0.15 * room
        assert (gaps == 1).mean() < 4 / (room + 1) ** 2


def test_answers_are_balanced_and_no_other_draw_tells_them():
    task = Jigsaw(grid=2)
    rows, columns = np.mgrid[:96, :96]
    pictures = tf.tile(tf.constant(np.stack([rows, columns, rows], -1)[None], tf.uint8), [200, 1, 1, 1])
    function = tf.function(lambda seed: task.puzzles({"image": pictures}, seed))
    made = [function(tf.constant([7, step])) for step in range(30)]
    answers, greys, shifts, places = (
        np.concatenate(parts)
        for parts in zip(
            *((y, x["grey"], x["shift"], x["tiles"][:, :, 0, 0, :2].numpy() % 48) for x, y, _ in made), strict=True
        )
    )
    counts = np.bincount(answers, minlength=24)
    assert len(counts) == 24
    assert ((counts - 250) ** 2 / 250).sum() < 49.7  # chi squared of 23, 99.9 %
    assert abs(greys.mean() - 0.3) < 0.02
    of_grey = np.bincount(answers, greys, 24)
    assert ((of_grey - counts * 0.3) ** 2 / (counts * 0.3 * 0.7)).sum() < 51.2  # of 24
    # Where each tile was cut in its cell, and how its channels are shifted: means by class, in standard errors.
    for values in (places, shifts[greys == 0]):
        flat = values.reshape(len(values), -1).astype(float)
        of_class = answers if values is places else answers[greys == 0]
        means = np.stack([flat[of_class == label].mean(0) for label in range(24)])
        errors = (means - flat.mean(0)) / (flat.std(0) / np.sqrt(np.bincount(of_class, minlength=24))[:, None])
        assert 0.8 < (errors**2).mean() < 1.2
        assert np.abs(errors).max() < 4.8


def test_channels_are_shifted_each_on_its_own(images):
    task = Jigsaw(grey=0.0, jitter=6)
    puzzle, _, _ = make(task, images)
    reach = 2  # 6 * 24 / 64
    assert puzzle["tiles"].shape[2] == 24
    assert set(puzzle["shift"].ravel()) == {-2, -1, 0, 1, 2}
    levels = np.asarray(seen_levels(puzzle, reach))
    padded = np.pad(puzzle["tiles"], [(0, 0), (0, 0), (2, 2), (2, 2), (0, 0)], mode="symmetric")
    for row, place, channel in np.ndindex(4, 9, 3):
        down, right = puzzle["shift"][row, place, :, channel]
        expected = padded[row, place, 2 - down : 26 - down, 2 - right : 26 - right, channel]
        np.testing.assert_array_equal(levels[row, place, ..., channel], expected)


def test_shifts_scale_with_the_tile():
    reach = {tile: Jigsaw()._reach(tile) for tile in (12, 24, 56, 64, 96)}
    assert reach == {12: 1, 24: 1, 56: 2, 64: 2, 96: 3}  # a pixel at least: photos of 64 px have tiles of 16
    assert Jigsaw(jitter=0)._reach(64) == 0
    small = Jigsaw().puzzles({"image": tf.zeros([2, 48, 48, 3], tf.uint8)}, SEED)[0]
    assert set(small["shift"].numpy().ravel()) == {-1, 0, 1}
    assert set(Jigsaw(jitter=0).puzzles({"image": tf.zeros([2, 48, 48, 3], tf.uint8)}, SEED)[0]) == {"tiles", "grey"}


def test_grey_pictures_have_no_colour_and_are_not_shifted(images):
    task = Jigsaw(grey=0.5)
    puzzle, _, _ = make(task, images, tf.constant([3, 1]))
    assert set(puzzle["grey"]) == {0, 1}
    levels = np.asarray(seen_levels(puzzle, 1))
    for row, is_grey in enumerate(puzzle["grey"]):
        if is_grey:
            expected = puzzle["tiles"][row] @ np.array([0.299, 0.587, 0.114])
            np.testing.assert_allclose(levels[row], expected[..., None].repeat(3, -1), atol=1e-3)
            assert (puzzle["shift"][row] == 0).all()
        else:
            assert (puzzle["shift"][row] != 0).any()
            assert np.ptp(levels[row], -1).mean() > 20
    seen = np.asarray(SeenTiles(1)(puzzle))
    np.testing.assert_allclose(seen.mean((2, 3, 4)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std((2, 3, 4)), 1, atol=1e-4)
    pixels, right = task.questions(puzzle, np.arange(4))
    np.testing.assert_allclose(pixels, levels, atol=0.5001)
    np.testing.assert_array_equal(right, np.arange(4))


def test_head_widths_names_and_any_batch_size(images):
    task = Jigsaw()
    trunk = make_trunk("resnet10(width=4)", 96)  # 32 channels
    model = solver(task, images, trunk)
    assert model.get_layer("jigsaw_each").units == 64
    assert model.get_layer("jigsaw_all").units == 256
    for count in (1, 3):
        puzzle, _, _ = make(task, images[:count])
        assert model({task.name: puzzle})[task.name].shape == (count, 100)
    layers = [layer.name for layer in model.layers if layer.weights and layer is not trunk.body]
    assert layers
    assert all(name.startswith("jigsaw_") for name in layers)
    names = {layer.name for layer in solver(Jigsaw(hidden=7, dropout=0.0), images, trunk).layers}
    assert "jigsaw_dropout" not in names
    wide = keras.Input((None, None, 3))
    own = make_trunk(keras.Model(wide, keras.layers.Conv2D(600, 3)(wide)), 96)
    model = solver(task, images, own)
    assert (model.get_layer("jigsaw_each").units, model.get_layer("jigsaw_all").units) == (1000, 4096)


def test_every_tile_goes_through_the_same_layers(images):
    task = Jigsaw(grid=2, grey=0.0, jitter=0)
    model = solver(task, images, make_trunk("resnet10(width=4)", 96))
    each = keras.Model(model.inputs, model.get_layer("jigsaw_each_relu").output)
    pixels, _, _ = make(task, images)
    order = [2, 0, 3, 1]
    before, moved = (np.asarray(each([tiles])) for tiles in (pixels["tiles"], pixels["tiles"][:, order]))
    np.testing.assert_allclose(moved, before[:, order], atol=1e-5)
    whole = keras.Model(model.inputs, model.get_layer("jigsaw_all_relu").output)  # logits begin at zero
    shown = (whole([tiles]) for tiles in (pixels["tiles"], pixels["tiles"][:, order]))
    assert np.abs(np.subtract(*map(np.asarray, shown))).max() > 1e-4  # and positions are told apart behind them


def test_mixed_precision_and_compiled_training(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        task = Jigsaw(hidden=8)
        model = solver(task, images, make_trunk("plain(width=4)", 96))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output[task.name].dtype == "float32"
    model.compile("sgd", {task.name: task.make_loss()}, weighted_metrics={task.name: task.metrics()}, jit_compile=True)
    logs = model.train_on_batch(*({task.name: part} for part in make(task, images)), return_dict=True)
    assert np.isfinite(logs["loss"])
    assert {"accuracy", "top5_accuracy"} <= set(logs)
    assert [metric.name for metric in Jigsaw(classes=10).metrics()] == ["accuracy"]


def test_nothing_is_searched_before_it_is_needed(monkeypatch):
    permutation_set.cache_clear()
    searched = []
    monkeypatch.setattr(permutations, "_read", lambda *_: None)
    monkeypatch.setattr(permutations, "search", lambda *given: searched.append(given) or np.arange(4)[None])
    task = parse_task("jigsaw(grid=2, classes=5)")
    assert (task.choices, str(task), searched) == (5, "jigsaw(grid=2, classes=5)", [])
    assert task.prepared(None) is task
    assert searched == [(4, 5)]
    permutation_set.cache_clear()


def test_advice():
    assert Jigsaw().advice(96) == [
        "permutation set: 100 permutations, Hamming distance at least 6, mean 8.080, 0 pairs at 2 or less, "
        "a tile stands 11 to 12 times at a position"
    ]
    first, second = Jigsaw().advice(32)
    assert "jigsaw is degenerate at this size; give grid=2" in first
    assert second.startswith("permutation set: 100 ")
    assert Jigsaw(grid=2).advice(64)[0].startswith("permutation set: 24 permutations, Hamming distance at least 2,")


def test_picture_says_what_is_right_and_what_wrong(images):
    task = Jigsaw(grid=2)
    puzzle, answer, _ = make(task, images)
    guess = answer.copy()
    one = permutation_set(4, 24)
    kept = (one == one[answer[1]]).sum(1)
    guess[1] = np.flatnonzero(kept == 2)[0]  # two tiles changed places
    figure = task.picture(puzzle, answer, np.eye(24)[guess], count=2)
    titles = ["shuffled", "network: 4 of 4 in place", "in order", "shuffled", "network: 2 of 4 in place", "in order"]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [figure.axes[k].title.get_color() for k in (1, 4)] == ["tab:green", "tab:red"]
    drawn = figure.axes[4].get_images()[0].get_array()
    greens, reds = ((drawn == colour).all(-1).sum() for colour in (GREEN, RED))
    assert greens == reds > 0
    np.testing.assert_array_equal(
        figure.axes[1].get_images()[0].get_array()[2:38, 2:38], figure.axes[2].get_images()[0].get_array()[2:38, 2:38]
    )
    assert [axes.get_title() for axes in task.picture(puzzle, answer, count=1).axes] == ["shuffled", "in order"]


def test_tiles_are_drawn_apart_in_their_places():
    pixels = np.arange(4, dtype=np.uint8)[:, None, None, None] + np.full((4, 16, 16, 3), 10, np.uint8)
    canvas = _frame(pixels, np.full((4, 3), 200), 2)
    assert canvas.shape == (40, 40, 3)
    assert [canvas[y, x, 0] for y in (10, 30) for x in (10, 30)] == [10, 11, 12, 13]
    assert (canvas[10, [0, 1, 2, 17, 18, 19, 20, 21, 22], 0] == [255, 200, 10, 10, 200, 255, 255, 200, 11]).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grid": 4}, "grid=4 is given, expected 2 or 3"),
        ({"grid": 2, "classes": 25}, "classes=25 is given, expected 2 to 24, .* or 0 for 24"),
        ({"classes": 1}, "classes=1 is given, expected 2 to 362880, .* or 0 for 100"),
        ({"grey": 1.5}, "expected a probability"),
        ({"jitter": -1}, "expected 0 to 16 pixels"),
        ({"hidden": -1}, "expected at least 1"),
        ({"dropout": 1.0}, "expected a rate"),
    ],
)
def test_wrong_settings(settings, says):
    with pytest.raises(UserError, match=says):
        Jigsaw.from_text(settings)


def test_text_and_back():
    assert str(Jigsaw()) == "jigsaw"
    task = Jigsaw(grid=2, classes=4, grey=0.66, weight=0.5)
    assert parse_task(str(task)) == task
    assert Jigsaw(grid=2).choices == 24
    assert Jigsaw().choices == 100
