import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import Trunk, make_pixels, make_trunk
from tfssl.multitask.model import make_inputs, make_model
from tfssl.pipelines.ops import tiles
from tfssl.tasks.parts.patches import check_tiles, standardise
from tfssl.tasks.relative_position import (
    ARROWS,
    DIRECTIONS,
    RelativePosition,
    SeenPatches,
    _linear,
    _sides,
    projection,
    seen_levels,
)

SEED = tf.constant([1, 2])
ALL = [RelativePosition(grid=grid, colour=colour) for grid in (2, 3) for colour in ("drop", "project", "keep")]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 36, 36, 3), dtype=np.uint8)


def make(task, images, seed=SEED, graph=False):
    function = tf.function(task.puzzles) if graph else task.puzzles
    return tf.nest.map_structure(lambda part: part.numpy(), function({"image": tf.constant(images)}, seed))


def solver(task, images, trunk):
    puzzle = make(task, images)[0]
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), puzzle)
    return make_model([task], {"image": trunk}, ({task.name: specs},))


@pytest.mark.smoke
@pytest.mark.parametrize("grid", [2, 3])
def test_answers_are_the_directions_in_which_tiles_lie(grid):
    rows, columns = np.mgrid[:90, :90]  # pixels say where they are
    images = np.stack([rows, columns, rows], -1)[None].astype(np.uint8).repeat(3, 0)
    task = RelativePosition(grid=grid, colour="keep", resample=0.0)
    puzzle, answer, weight = make(task, images)
    assert answer.shape == weight.shape == (3, 16)
    cell = tiles.cell_size(90, grid)
    corners = puzzle["tiles"][:, :, 0, 0, :2].astype(int) // cell  # (row, column) of the cell
    for row in range(3):
        for (anchor, query), label in zip(task.pairs, answer[row], strict=True):
            np.testing.assert_array_equal(corners[row, query] - corners[row, anchor], DIRECTIONS[label])
    np.testing.assert_array_equal(np.bincount(answer.ravel()), np.full(8, 6))
    np.testing.assert_array_equal(answer[0, :8], np.arange(8))
    expected = 16 if grid == 3 else 12
    assert len(set(task.pairs)) == expected
    assert all(pair[::-1] in task.pairs for pair in task.pairs)


@pytest.mark.parametrize("task", ALL, ids=str)
def test_graph_equals_eager_and_the_seed_decides(task, images):
    eager, graph, other = make(task, images), make(task, images, graph=True), make(task, images, tf.constant([1, 3]))
    for one, two in zip(tf.nest.flatten(eager), tf.nest.flatten(graph), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (eager[0]["tiles"] != other[0]["tiles"]).any()
    assert set(eager[0]) == {"tiles", "side"} | ({"channel"} if task.colour == "drop" else set())
    assert (eager[2] == 1).all()


@pytest.mark.parametrize("task", ALL, ids=str)
def test_the_answer_puts_every_tile_into_its_box(task, images):
    puzzle, answer, _ = make(task, images)
    pixels, boxes = task.undone(puzzle, answer)
    tile = pixels.shape[2]
    for row, picture in enumerate(pixels):
        for piece, (top, left, height, width) in zip(picture, boxes, strict=True):
            box = images[row, top : top + height, left : left + width]
            windows = np.lib.stride_tricks.sliding_window_view(box, (tile, tile, 3))[:, :, 0]
            assert (windows == piece).all((2, 3, 4)).any()
    wrong = answer.copy()
    wrong[0] = 7 - wrong[0]
    assert (task.undone(puzzle, wrong).pixels[0] != pixels[0]).any()


def test_dropped_colour_leaves_one_channel_drawn_for_each_patch(images):
    task = RelativePosition(resample=0.0)
    puzzle, _, _ = make(task, images)
    assert set(puzzle["channel"].ravel()) == {0, 1, 2}
    levels = np.asarray(seen_levels(puzzle, "drop"))
    for row, place in np.ndindex(puzzle["channel"].shape):
        kept = puzzle["tiles"][row, place, :, :, puzzle["channel"][row, place]]
        np.testing.assert_array_equal(levels[row, place, :, :, 0], kept)
    before = np.asarray(SeenPatches("drop")(puzzle))
    others = np.eye(3)[puzzle["channel"]][:, :, None, None] == 0
    changed = np.where(others, 255 - puzzle["tiles"], puzzle["tiles"])
    np.testing.assert_array_equal(SeenPatches("drop")(puzzle | {"tiles": changed}), before)
    np.testing.assert_allclose(before.mean((2, 3, 4)), 0, atol=1e-4)
    np.testing.assert_allclose(before.std((2, 3, 4)), 1, atol=1e-4)


def test_projection_does_not_see_green_against_magenta(images):
    np.testing.assert_allclose(projection() @ [-1, 2, -1], 0, atol=1e-6)
    np.testing.assert_allclose(projection() @ projection(), projection(), atol=1e-6)
    np.testing.assert_allclose(projection() @ [1, 1, 1], 1, atol=1e-6)  # grey stays
    softer = images // 2 + 60
    shift = np.random.default_rng(1).integers(-20, 21, (*images.shape[:3], 1)) * np.array([-1, 2, -1])
    task = RelativePosition(colour="project")
    one, other = (make(task, pictures)[0] for pictures in (softer, (softer + shift).astype(np.uint8)))
    assert (one["tiles"] != other["tiles"]).any()
    layer = SeenPatches("project")
    np.testing.assert_allclose(layer(one), layer(other), atol=1e-3)
    assert np.abs(np.asarray(SeenPatches("keep")(one)) - SeenPatches("keep")(other)).max() > 0.1


def test_a_third_of_the_patches_is_down_sampled_and_up_again(images):
    side = np.asarray(_sides([100, 100], 96, 0.33, SEED, tf.constant([3, 4])))
    assert side.min() >= 10
    assert 0.31 < (side < 96).mean() < 0.35
    area = side[side < 96] ** 2.0
    assert abs(area.mean() - (96**2 + 100) / 2) < 200  # uniform in the area, as in the authors' code
    puzzle, _, _ = make(RelativePosition(colour="keep", resample=1.0), images)
    levels = np.asarray(seen_levels(puzzle, "keep"))
    tile = puzzle["tiles"].shape[2]
    for row, place in np.ndindex(puzzle["side"].shape):
        patch, side = tf.constant(puzzle["tiles"][row, place], tf.float32), puzzle["side"][row, place]
        small = tf.image.resize(patch, [side, side], antialias=True)
        np.testing.assert_allclose(levels[row, place], tf.image.resize(small, [tile, tile]), atol=1e-2)
    np.testing.assert_array_equal(_linear(7, 7), np.eye(7))
    whole = puzzle | {"side": np.full_like(puzzle["side"], tile)}
    np.testing.assert_allclose(seen_levels(whole, "keep"), puzzle["tiles"], atol=1e-4)


def test_standardised_patches():
    patches = np.random.default_rng(0).integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8)
    patches[0, 0] = 77  # flat
    patches[0, 1] = 77 + (np.mgrid[:8, :8].sum(0) % 2 == 0)[..., None]  # half a level about its mean
    found = np.asarray(standardise(patches))
    assert found.dtype == np.float32
    assert (found[0, 0] == 0).all()
    assert abs(found[0, 1].std() - 0.5) < 1e-5
    np.testing.assert_allclose(found[1:].mean((2, 3, 4)), 0, atol=1e-5)
    np.testing.assert_allclose(found[1:].std((2, 3, 4)), 1, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_the_head_knows_two_patches_and_not_their_place(images, training):
    task = RelativePosition(resample=0.0, colour="keep", hidden=8)
    model = solver(task, images, make_trunk("resnet10(width=4)", 36))
    puzzle, _, _ = make(task, images)

    for variable in model.trainable_variables:
        if not variable.numpy().any() and len(variable.shape) > 1:  # logits begin at zero
            variable.assign(np.random.default_rng(0).normal(size=variable.shape, scale=0.2))

    def logits(pixels):
        return np.asarray(model({task.name: {"tiles": pixels}}, training=training)[task.name])

    order = np.array([2, 8, 3, 0, 4, 5, 1, 7, 6])  # the middle stays where it is, so pairs stay pairs
    moved = [task.pairs.index((int(order[a]), int(order[q]))) for a, q in task.pairs]
    before = logits(puzzle["tiles"])
    assert before.shape == (4, 16, 8)
    np.testing.assert_allclose(logits(puzzle["tiles"][:, order]), before[:, moved], atol=2e-5)
    assert np.abs(before[:, moved] - before).max() > 1e-2


def test_any_batch_size_and_names(images):
    task = RelativePosition(hidden=8, dropout=0.5)
    trunk = make_trunk("resnet10(width=4)", 36)
    model = solver(task, images, trunk)
    for count in (1, 3):
        puzzle, _, _ = make(task, images[:count])
        assert model({task.name: puzzle})[task.name].shape == (count, 16, 8)
    layers = [layer.name for layer in model.layers if layer.weights and layer is not trunk.body]
    assert layers
    assert all(name.startswith("relative_position_") for name in layers)


def test_mixed_precision_and_compiled_training(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        task = RelativePosition(hidden=8)
        model = solver(task, images, make_trunk("resnet10(width=4)", 36))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output[task.name].dtype == "float32"
    model.compile("sgd", {task.name: task.make_loss()}, weighted_metrics={task.name: task.metrics()}, jit_compile=True)
    puzzle, answer, weight = make(task, images)
    named = [{task.name: part} for part in (puzzle, answer, weight)]
    logs = model.train_on_batch(*named, return_dict=True)
    assert np.isfinite(logs["loss"])
    guess = np.argmax(model(named[0])[task.name], -1)
    measured = model.test_on_batch(*named, return_dict=True)
    assert measured["accuracy"] == pytest.approx((guess == answer).mean(), abs=0.05)


def test_trunks_that_cannot_take_the_tiles_are_refused():
    with pytest.raises(UserError, match="tiles are 16 px, of which the trunk makes an empty map"):
        check_tiles(make_trunk("alexnet(width=4)", 64), 16, "relative_position")
    check_tiles(make_trunk("nin(width=4)", 64), 8, "relative_position")
    pixels = keras.Input((64, 64, 3))
    fixed = keras.Model(pixels, keras.layers.Conv2D(4, 3)(pixels))
    with pytest.raises(UserError, match="tiles are 16 px, but the trunk takes 64 px only"):
        check_tiles(Trunk(make_pixels(), fixed, ()), 16, "relative_position")


def test_questions_are_pairs_as_the_network_sees_them(images):
    task = RelativePosition(colour="drop", resample=0.0)
    puzzle, answer, _ = make(task, images)
    pairs, right = task.questions(puzzle, answer)
    tile = puzzle["tiles"].shape[2]
    assert pairs.shape == (64, 2, tile, tile, 3)
    assert pairs.dtype == np.uint8
    kept = puzzle["tiles"][1, 4, :, :, puzzle["channel"][1, 4]]  # the middle of the second picture
    np.testing.assert_array_equal(pairs[16, 0], kept[..., None].repeat(3, -1))
    np.testing.assert_array_equal(right, answer.ravel())
    assert task.choices == 8


def test_advice():
    assert RelativePosition().advice(64) == []
    assert "relative_position is degenerate at this size; give grid=2" in RelativePosition().advice(32)[0]
    assert RelativePosition(grid=2).advice(42) == []


@pytest.mark.parametrize("grid", [2, 3])
def test_picture_says_what_is_right_and_what_wrong(images, grid):
    task = RelativePosition(grid=grid)
    puzzle, answer, _ = make(task, images)
    guess = np.eye(8)[answer]
    guess[0, 0] = np.eye(8)[4]
    figure = task.picture(puzzle, answer, guess, count=2)
    assert len(figure.axes) == 2 * 9
    assert [axes.get_title() for axes in figure.axes[:3]] == ["", "↖ said →", "↑ said ↑"]
    assert [axes.title.get_color() for axes in figure.axes[1:3]] == ["tab:red", "tab:green"]
    assert [axes.get_title() for axes in task.picture(puzzle, answer, count=1).axes[1:]] == list(ARROWS)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grid": 4}, "grid=4 is given, expected 2 or 3"),
        ({"colour": "grey"}, "expected one of drop, project, keep"),
        ({"resample": 1.5}, "expected a probability"),
        ({"hidden": 0}, "expected at least 1"),
        ({"dropout": 1.0}, "expected a rate"),
    ],
)
def test_wrong_settings(settings, says):
    with pytest.raises(UserError, match=says):
        RelativePosition.from_text(settings)


def test_text_and_back():
    task = RelativePosition(grid=2, colour="project", weight=0.5)
    assert str(task) == "relative_position(weight=0.5, grid=2, colour='project')"
    assert str(RelativePosition()) == "relative_position"
    assert make_inputs("relative_position", {"side": tf.TensorSpec([4, 9], tf.int32)})["side"].shape == (None, 9)
