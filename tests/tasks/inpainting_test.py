import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.pipelines.ops import holes
from tfssl.tasks import parse_task
from tfssl.tasks.inpainting import FILL, HoleError, Inpainting, pasted

SEED = tf.constant([1, 2])
KINDS = [Inpainting(), Inpainting(hole="centre")]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def make(task, images, graph=False, seed=SEED):
    function = tf.function(task.puzzles) if graph else task.puzzles
    return [part.numpy() for part in function({"image": tf.constant(images)}, seed)]


def parts(answer):
    """Colours uint8 [B, S, S, 3] and counts uint8 [B, S, S], row by row and without the code under test."""
    size = answer.shape[1]
    colours = np.stack([answer[:, :, channel : 3 * size : 3] for channel in range(3)], -1)
    return colours, answer[:, :, 3 * size :]


@pytest.mark.smoke
@pytest.mark.parametrize("task", KINDS, ids=str)
def test_outside_is_the_source_and_inside_one_colour(task, images):
    puzzle, answer, weight = make(task, images)
    colours, counts = parts(answer)
    assert puzzle.shape == (6, 32, 32, 3)
    assert puzzle.dtype == answer.dtype == np.uint8
    np.testing.assert_array_equal(weight, np.ones(6))
    for picture, source in zip(colours, images, strict=True):
        assert (picture == source).all() or (picture == source[:, ::-1]).all()
    hidden = counts == 1
    assert hidden.any((1, 2)).all()
    np.testing.assert_array_equal(puzzle[~hidden], colours[~hidden])
    np.testing.assert_array_equal(puzzle[hidden], np.broadcast_to(FILL, [hidden.sum(), 3]))


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_what_is_hidden_does_not_show(task, images):
    puzzle, answer, _ = make(task, images)
    colours, counts = parts(answer)
    flipped = ~(colours == images).all((1, 2, 3))
    hidden = np.where(flipped[:, None, None], counts[:, :, ::-1], counts) == 1
    changed = np.where(hidden[..., None], 255 - images, images)
    again, other_answer, _ = make(task, changed)
    np.testing.assert_array_equal(again, puzzle)
    assert (parts(other_answer)[0] != colours).any()


@pytest.mark.parametrize("size", [16, 32, 64, 96, 224, 255])
def test_random_blocks_cover_at_most_a_quarter(size):
    rows, columns = holes.random_blocks(200, size, SEED)
    share = holes.mask(rows, columns).numpy().mean((1, 2))
    assert share.max() <= 0.25
    assert share.min() > 0.01
    assert 0.1 < share.mean() < 0.2
    # Blocks as the codes tell them: sides within the limits, every count of blocks there.
    bits = np.unpackbits(np.stack([rows.numpy(), columns.numpy()])[..., None], axis=-1, bitorder="little")
    sides = bits.sum(2, dtype=int)  # [2, picture, block]
    count = (sides[0] > 0).sum(1)
    assert set(count) == set(holes.block_counts(size))
    for n in set(count):
        narrowest, widest = holes.block_sides(size, n)
        found = sides[:, count == n][:, :, :n]
        assert (found.min(), found.max()) == (narrowest, widest)
        assert n * widest**2 <= size**2 / 4
        assert n == 1 or narrowest >= 8
    # Each block is one interval.
    assert (np.abs(np.diff(bits.astype(int), axis=2)).sum(2) <= 2).all()


def test_blocks_reach_every_place_and_differ_between_pictures_and_seeds(images):
    rows, columns = holes.random_blocks(4000, 32, SEED)
    mask = holes.mask(rows, columns).numpy()
    assert mask.any(0).all()
    assert len({one.tobytes() for one in mask[:500]}) > 450
    one, other = (parts(make(Inpainting(), images, seed=tf.constant([1, k]))[1])[1] for k in (1, 2))
    assert (one != other).any()


def test_centre_counts():
    task = Inpainting(hole="centre")
    images = np.zeros([2, 128, 128, 3], np.uint8)
    counts = parts(make(task, images)[1])[1]
    y, x = np.mgrid[:128, :128]
    # The code's own ranges: 1 + 32 .. 64 + 32 is predicted, 4 pixels of it on each side are shown.
    predicted = (y >= 32) & (y < 96) & (x >= 32) & (x < 96)
    hidden = (y >= 36) & (y < 92) & (x >= 36) & (x < 92)
    np.testing.assert_array_equal(counts, np.stack([np.where(hidden, 1, np.where(predicted, 10, 0))] * 2))
    assert [task.overlap_at(size) for size in (16, 32, 64, 224)] == [0, 1, 2, 7]


@pytest.mark.parametrize("size", [30, 31, 36, 40])
def test_filled_whatever_the_length_of_a_row(size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [3, size, size, 3], dtype=np.uint8)
    chosen = rng.integers(0, 2, [3, size, size], dtype=np.uint8)
    filled = holes.fill(tf.constant(images), tf.constant(chosen.repeat(3, axis=2)), (1, 2, 255))
    np.testing.assert_array_equal(filled, np.where(chosen[..., None], np.array([1, 2, 255], np.uint8), images))


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_eager_equals_graph(task, images):
    for one, other in zip(make(task, images), make(task, images, graph=True), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_undone_it_is_the_source(task, images):
    puzzle, answer, _ = make(task, images)
    pieces = task.undone(puzzle, answer)
    np.testing.assert_array_equal(pieces.boxes, [[0, 0, 32, 32]])
    assert pieces.pixels.shape == (6, 1, 32, 32, 3)
    for back, source in zip(pieces.pixels[:, 0], images, strict=True):
        assert (back == source).all() or (back == source[:, ::-1]).all()


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_loss_and_metrics_against_numpy(task, images):
    _, answer, weight = make(task, images)
    colours, counts = parts(answer)
    prediction = np.random.default_rng(1).uniform(-1.5, 1.5, colours.shape).astype(np.float32)
    truth = colours / 127.5 - 1
    # As in the authors' code: the squared error times 10 in the overlap; here divided by all that counts.
    squared = ((prediction - truth) ** 2).mean(-1)
    losses = [(squared[i] * counts[i]).sum() / counts[i].sum(dtype=int) for i in range(6)]
    np.testing.assert_allclose(task.make_loss()(answer, prediction, weight), np.mean(losses), rtol=1e-5)

    grey = 127.5 * (np.clip(prediction, -1, 1) - truth)  # error in grey levels
    holes_of = [grey[i][counts[i] == 1] for i in range(6)]
    expected = {
        "l1": np.mean([np.abs(each).mean() / 255 * 100 for each in holes_of]),
        "l2": np.mean([(each**2).mean() / 255**2 * 100 for each in holes_of]),
        "psnr": np.mean([20 * np.log10(255 / np.sqrt((each**2).mean())) for each in holes_of]),
    }
    for metric in task.metrics():
        again = type(metric).from_config(metric.get_config())
        again.update_state(answer[:4], prediction[:4], weight[:4])  # in two parts, as replicas have them
        again.update_state(answer[4:], prediction[4:], weight[4:])
        np.testing.assert_allclose(again.result(), expected.pop(metric.name), rtol=1e-5)
    assert not expected


def test_loss_and_metrics_of_the_truth_and_of_rows_left_out(images):
    _, answer, _ = make(Inpainting(), images)
    truth = (parts(answer)[0] / 127.5 - 1).astype(np.float32)
    assert float(HoleError()(answer, truth)) < 1e-10
    l1, _, psnr = Inpainting().metrics()
    psnr.update_state(answer, truth)
    np.testing.assert_allclose(psnr.result(), 60)
    wrong = np.concatenate([truth[:3], truth[3:] + 1])
    l1.update_state(answer, wrong, np.repeat([1.0, 0.0], 3))
    assert float(l1.result()) < 1e-4


@pytest.mark.parametrize(
    ("trunk", "size"),
    [
        ("resnet10(width=4)", 32),
        ("nin(width=12)", 64),
        ("resnet10(width=4)", 96),
        ("alexnet(width=8)", 224),
        ("resnet10(width=4)", 255),
    ],
)
def test_head_at_any_size(trunk, size):
    encoders = {"image": make_trunk(trunk, size)}
    fixed, free = (keras.Input((side, side, 3), dtype="uint8") for side in (size, None))
    model = keras.Model(fixed, Inpainting().head(encoders, fixed))
    assert model.output_shape == (None, size, size, 3)
    assert all(layer.name.startswith("inpainting_") for layer in model.layers[3:])
    other = keras.Model(free, Inpainting().head(encoders, free))
    other.set_weights(model.get_weights())
    pictures = np.random.default_rng(0).integers(0, 256, [2, size, size, 3], np.uint8)
    np.testing.assert_allclose(model(pictures), other(pictures), atol=1e-5)
    side = 2 * size if size < 100 else 160
    assert other(np.zeros([1, side, size, 3], np.uint8)).shape == (1, side, size, 3)


def test_the_decoder_ends_at_half_the_resolution():
    for trunk, size, side in (("resnet10(width=4)", 64, 32), ("resnet10(width=4)", 96, 48), ("nin(width=12)", 32, 16)):
        pictures = keras.Input((size, size, 3), dtype="uint8")
        model = keras.Model(pictures, Inpainting().head({"image": make_trunk(trunk, size)}, pictures))
        assert model.get_layer("inpainting_colours").output.shape[1:] == (side, side, 3)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_lowers_the_loss(images, jit_compile):
    keras.utils.set_random_seed(0)
    task = Inpainting()
    puzzle, answer, weight = make(task, images)
    pictures = keras.Input((32, 32, 3), dtype="uint8")
    model = keras.Model(pictures, task.head({"image": make_trunk("plain(width=4)", 32)}, pictures))
    model.compile("adam", task.make_loss(), weighted_metrics=task.metrics(), jit_compile=jit_compile)
    losses = [model.train_on_batch(puzzle, answer, weight, return_dict=True)["loss"] for _ in range(6)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_mixed_precision_predicts_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        pictures = keras.Input((32, 32, 3), dtype="uint8")
        output = Inpainting().head({"image": make_trunk("plain(width=4)", 32)}, pictures)
    finally:
        keras.config.set_dtype_policy("float32")
    assert output.dtype == "float32"


def test_settings_are_read_and_written():
    task = parse_task("inpainting(hole='centre', overlap=7, adversarial=True)")
    assert task == Inpainting(hole="centre", overlap=7, adversarial=True)
    assert parse_task(str(task)) == task
    assert str(Inpainting()) == "inpainting"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("inpainting(hole='center')", "expected one of random, centre"),
        ("inpainting(overlap=32)", "expected 0 to 31 pixels"),
        ("inpainting(holes=1)", "no setting 'holes'"),
    ],
)
def test_wrong_text(text, says):
    with pytest.raises(UserError, match=says):
        parse_task(text)


def test_advice_where_holes_are_small():
    assert Inpainting().advice(224) == Inpainting(hole="centre").advice(64) == []
    assert "8 to 16 px" in Inpainting().advice(32)[0]
    assert "14 px" in Inpainting(hole="centre").advice(32)[0]


def test_pasted_and_picture(images):
    task = Inpainting()
    puzzle, answer, _ = make(task, images)
    colours, counts = parts(answer)
    truth = colours / 127.5 - 1
    np.testing.assert_array_equal(pasted(puzzle, counts == 1, truth), colours)
    np.testing.assert_array_equal(pasted(puzzle, counts == 1, truth + 9)[counts == 1], 255)
    figure = task.picture(puzzle, answer, truth.astype(np.float32), count=2)
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), puzzle[0])
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), colours[1])
    np.testing.assert_array_equal(figure.axes[5].images[0].get_array(), colours[1])
    assert figure.axes[5].get_title() == "painted, L1 0.0 %"
    assert len(task.picture(puzzle, answer, count=2).axes) == 4


@pytest.mark.parametrize("hole", ["random", "centre"])
def test_what_the_opponent_sees(images, hole):
    task = Inpainting(hole=hole, adversarial=True)
    puzzle, answer, _ = make(task, images)
    colours, counts = parts(answer)
    prediction = np.random.default_rng(1).uniform(-1, 1, colours.shape).astype(np.float32)
    real, made = (np.asarray(each) for each in task.contest(puzzle, tf.constant(answer), tf.constant(prediction)))
    if hole == "centre":  # all that is predicted, as in the code: the shown ring too
        assert real.shape == made.shape == (6, 16, 16, 3)
        np.testing.assert_allclose(real, colours[:, 8:24, 8:24] / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(made, prediction[:, 8:24, 8:24])
    else:
        hidden = counts == 1
        np.testing.assert_allclose(real, colours / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(made[hidden], prediction[hidden])
        np.testing.assert_array_equal(made[~hidden], real[~hidden])


@pytest.mark.parametrize("hole", ["random", "centre"])
def test_the_opponent_learns_and_its_gradient_reaches_the_prediction(images, hole):
    keras.utils.set_random_seed(0)
    task = Inpainting(hole=hole, adversarial=True)
    puzzle, answer, _ = make(task, images)
    opponent = task.opponent({"image": make_trunk("plain(width=4)", 32)})
    assert all(layer.name.startswith("inpainting_") for layer in opponent.layers)
    assert len({v.path for v in opponent.variables}) == len(opponent.variables)
    prediction = tf.zeros([6, 32, 32, 3])
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        logits = opponent(task.contest(puzzle, tf.constant(answer), prediction)[1], training=True)
    assert logits.shape == (6, 1)
    gradient = tape.gradient(logits, prediction).numpy()
    counts = parts(answer)[1]
    reached = (gradient != 0).any(-1)
    assert reached[counts == 1].mean() > 0.9
    assert not reached[counts == 0].any()
    # Noise against grey is told apart within a few steps.
    pictures = tf.concat(task.contest(puzzle, tf.constant(answer), prediction), 0)
    labels = np.repeat([[1.0], [0.0]], 6, axis=0)
    opponent.compile(keras.optimizers.Adam(2e-3, 0.5), keras.losses.BinaryCrossentropy(from_logits=True))
    losses = [float(opponent.train_on_batch(pictures, labels)) for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]


def test_there_is_no_opponent_unless_asked_for():
    assert Inpainting().opponent({}) is None
    assert Inpainting().opponent_weight == 0
    assert Inpainting(adversarial=True).opponent_weight == 0.001
