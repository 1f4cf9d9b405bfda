import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.multitask import puzzle_stream
from tfssl.multitask.model import make_model
from tfssl.pipelines.ops import lab
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_task
from tfssl.tasks.colorization import Colorization, coloured
from tfssl.tasks.parts import colour_bins
from tfssl.tasks.parts.colour_losses import SCALE, ColourError, SoftBins, SquaredColour

SEED = tf.constant([1, 2])
KINDS = [Colorization(), Colorization(loss="regression"), Colorization(diverse=3)]


@pytest.fixture(scope="module")
def images():
    """Two of flat colours in blocks of 4 x 4, a grey one, and one that is nearly grey."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    grey = rng.integers(0, 256, (1, 32, 32, 1), dtype=np.uint8).repeat(3, 3)
    nearly = np.full((1, 32, 32, 3), 120, np.uint8) + np.array([2, 0, 0], np.uint8)
    return np.concatenate([blocks, grey, nearly])


def make(task, images, graph=False, seed=SEED):
    function = tf.function(task.puzzles) if graph else task.puzzles
    return tf.nest.map_structure(np.asarray, function({"image": tf.constant(images)}, seed))


def lightness_of(puzzle):
    return puzzle["lightness"] if isinstance(puzzle, dict) else puzzle


@pytest.mark.smoke
@pytest.mark.parametrize("task", KINDS, ids=str)
@pytest.mark.parametrize("size", [32, 29])
def test_puzzle_is_lightness_and_answer_the_colours(task, images, size):
    images = images[:, :size, :size]
    puzzle, answer, weight = make(task, images)
    lightness = lightness_of(puzzle)
    assert (lightness.shape, lightness.dtype) == ((4, size, size, 1), np.uint8)
    assert (answer.shape, answer.dtype) == ((4, 8, 8, 2), np.int8)
    np.testing.assert_array_equal(weight, np.array([1, 1, 0, 0], np.float32)[:, None, None])
    for row, source in enumerate(images):
        sides = [lab.rgb_to_lab(side).numpy() for side in (source, source[:, ::-1])]
        fits = [np.abs(lightness[row, ..., 0] / 2.55 - side[..., 0]).max() < 0.25 for side in sides]
        assert any(fits)
        if row < 2:
            seen = [source, source[:, ::-1]][fits.index(True)]
            shrunk = lab.quarter_ab(seen[None])[0]
            np.testing.assert_array_equal(answer[row], shrunk)
            if size == 32:
                np.testing.assert_allclose(answer[row], sides[fits.index(True)][::4, ::4, 1:], atol=0.51)


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_eager_equals_graph_and_seed_decides(task, images):
    eager, graph = make(task, images), make(task, images, graph=True)
    tf.nest.map_structure(np.testing.assert_array_equal, eager, graph)
    others = [make(task, images, seed=tf.constant([1, seed]))[1] for seed in range(8)]
    assert any((other != eager[1]).any() for other in others)


def test_noise_of_codes_is_normal_and_apart_from_the_flips():
    task = Colorization(diverse=8)
    images = np.random.default_rng(0).integers(0, 256, (256, 4, 4, 3), dtype=np.uint8)
    puzzle, answer, _ = make(task, images)
    noise = puzzle["noise"]
    assert noise.shape == (256, 8)
    assert abs(noise.mean()) < 0.1
    assert abs(noise.std() - 1) < 0.1
    np.testing.assert_array_equal(puzzle["draw"], np.zeros((256, 1)))
    np.testing.assert_array_equal(puzzle["reference"], answer)
    flipped = (puzzle["lightness"][..., 0] != lab.lightness(images).numpy()[..., 0]).any((1, 2))
    assert 0.35 < flipped.mean() < 0.65
    assert np.abs(noise[flipped].mean(0) - noise[~flipped].mean(0)).max() < 0.5


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_undone_is_the_source(task, images):
    puzzle, answer, _ = make(task, images)
    pieces = task.undone(puzzle, answer)
    assert pieces.pixels.shape == (4, 1, 32, 32, 3)
    np.testing.assert_array_equal(pieces.boxes, [[0, 0, 32, 32]])
    for back, source in zip(pieces.pixels[:, 0], images, strict=True):
        both = [np.corrcoef(back.reshape(-1), side.reshape(-1))[0, 1] for side in (source, source[:, ::-1])]
        assert max(both) > 0.85 or source.std() < 2


def soft(ab, neighbours=10, sigma=5.0):
    """The soft encoding of [N, 2] as a dense distribution, [N, Q], without the tables."""
    bins = lab.gamut_bins()
    squared = ((ab[:, None].astype(float) - bins) ** 2).sum(-1)
    shares = np.exp(-squared / (2 * sigma**2))
    last = np.sort(squared, 1)[:, neighbours - 1 : neighbours]
    shares[squared > last] = 0
    return shares / shares.sum(1, keepdims=True)


def test_loss_is_cross_entropy_against_the_soft_encoding():
    rng = np.random.default_rng(0)
    ab = rng.integers(-3, 4, (2, 3, 3, 2)) * 10 + rng.choice([-4, 1, 3], (2, 3, 3, 2))
    logits = rng.normal(size=(2, 3, 3, 313)).astype(np.float32)
    shares = rng.uniform(size=313) / 100
    weights = colour_bins.rebalancing(shares / shares.sum(), 0.5)
    expected = soft(ab.reshape(-1, 2), 1)  # one neighbour: no ties between the last ones
    log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    entropy = -(expected.reshape(2, 3, 3, 313) * log_probability).sum(-1)
    np.testing.assert_allclose(SoftBins(1, 5.0).call(ab, logits), entropy, rtol=1e-5)
    rare = weights[expected.argmax(1)].reshape(2, 3, 3)
    np.testing.assert_allclose(SoftBins(1, 5.0, weights).call(ab, logits), rare * entropy, rtol=1e-5)
    counts = np.array([1.0, 0.0])[:, None, None]
    mean = SoftBins(1, 5.0, weights)(ab, logits, counts)
    np.testing.assert_allclose(mean, (rare * entropy)[0].sum() / 18, rtol=1e-5)


def test_soft_encoding():
    tables = colour_bins.tables(10, 5.0)
    colours = np.array([[1, 2], [33, -41], [-52, 44], [98, 94], [-128, 127]], np.int8)
    place = colour_bins.place(colours).numpy()
    np.testing.assert_allclose(tables.shares[place].sum(1), 1, rtol=1e-5)
    dense = np.zeros((5, 313))
    for row, which in enumerate(place):
        dense[row, tables.neighbours[which]] = tables.shares[which]
    # Ties at the edge of ten neighbours hold next to nothing.
    np.testing.assert_allclose(dense[:4], soft(colours[:4]), atol=0.02)
    np.testing.assert_array_equal(colour_bins.nearest_bin(colours), soft(colours, 1).argmax(1))


def test_gradient_of_the_loss_is_probability_minus_soft_encoding():
    ab = np.array([[[[12, -7]]]], np.int8)
    logits = tf.Variable(np.random.default_rng(0).normal(size=(1, 1, 1, 313)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = SoftBins(10, 5.0)(ab, logits)
    expected = tf.nn.softmax(logits)[0, 0, 0] - soft(ab.reshape(1, 2))[0]
    np.testing.assert_allclose(tape.gradient(loss, logits)[0, 0, 0], expected, atol=0.01)


def test_rebalancing_counts_rare_colours_more_and_one_in_the_mean():
    shares = np.array([0.7, 0.2, 0.1])
    weights = colour_bins.rebalancing(shares, 0.5)
    np.testing.assert_allclose((weights * shares).sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[2] / weights[0], (0.35 + 1 / 6) / (0.05 + 1 / 6), rtol=1e-6)
    np.testing.assert_allclose(colour_bins.rebalancing(shares, 1.0), 1, rtol=1e-6)


def test_annealed_mean():
    bins = lab.gamut_bins()
    logits = np.full((1, 313), -50, np.float32)
    logits[0, 3], logits[0, 100] = 1.0, 0.0
    share = 1 / (1 + np.exp(-1 / 0.38))
    expected = share * bins[3] + (1 - share) * bins[100]
    np.testing.assert_allclose(colour_bins.annealed_mean(logits, 0.38)[0], expected, rtol=1e-5)


def test_statistics_of_a_source():
    """All of one colour: the statistics are a Gaussian around its bin; and grey pictures do not count."""
    red, grey = np.full((24, 24, 3), [200, 30, 60], np.uint8), np.full((24, 24, 3), 128, np.uint8)
    source = open_source(tf.data.Dataset.from_tensor_slices(np.stack([red, grey, red])))
    task = Colorization().prepared(source)
    shares = np.asarray(task.shares)
    bins = lab.gamut_bins()
    ab = lab.rgb_to_lab(red[:1, :1]).numpy()[0, 0, 1:]
    assert (bins[shares.argmax()] == bins[((bins - ab) ** 2).sum(1).argmin()]).all()
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-4)
    next_to_it = ((bins - bins[shares.argmax()]) ** 2).sum(1) == 100
    np.testing.assert_allclose(shares[next_to_it] / shares.max(), np.exp(-2), rtol=1e-3)
    assert Colorization().with_learned(task.learned()) == task
    assert str(task) == "colorization"
    assert task.prepared(source) is task
    with pytest.raises(UserError, match="statistics of 261 bins"):
        Colorization().with_learned({"shares": [1 / 261] * 261})
    with pytest.raises(UserError, match="grey pictures only"):
        Colorization().prepared(open_source(tf.data.Dataset.from_tensor_slices(grey[None])))


@pytest.mark.parametrize("task", KINDS, ids=str)
@pytest.mark.parametrize(("trunk", "size"), [("nin(width=8)", 32), ("resnet10(width=4)", 50), ("alexnet(width=4)", 67)])
def test_head_has_a_quarter_of_the_size_and_runs_at_any(task, trunk, size):
    channels = {0: 313 if task.bins else 2, 3: 8}[task.diverse]
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    encoders = {"image": make_trunk(trunk, size)}
    spec = puzzle_stream.puzzle_spec(task, size)[0]
    model = make_model([task], encoders, ({task.name: spec},))
    puzzle, answer, _ = make(task, images)
    made = model({task.name: puzzle})[task.name]
    assert made.shape == (*answer.shape[:3], channels)
    assert made.dtype == tf.float32

    names = {name for name in (each.name for each in model.layers) if name not in ("body", "rescaling")}
    assert all(name.startswith("colorization") for name in names)

    def without_size(key, part):
        shape = part.shape[1:] if len(part.shape) < 4 else (None, None, part.shape[3])
        return keras.Input(shape, dtype=part.dtype.name, name=key)

    if isinstance(spec, dict):
        inputs = {key: without_size(key, part) for key, part in spec.items()}
    else:
        inputs = without_size("lightness", spec)
    anywhere = keras.Model(inputs, task.head(encoders, inputs))
    # The same weights, but for the head's, which are new: copied.
    anywhere.set_weights(model.get_weights())
    np.testing.assert_allclose(anywhere(puzzle), made, atol=1e-4)
    wide = task.draws(tf.zeros([1, 40, 90, 1], tf.uint8), 0)
    assert anywhere(wide).shape == (1, 10, 23, channels)


def test_code_decides_and_is_the_true_one_only_while_it_learns(images):
    task = Colorization(diverse=3)
    encoders = {"image": make_trunk("plain(width=4)", 32)}
    model = make_model([task], encoders, ({task.name: puzzle_stream.puzzle_spec(task, 32)[0]},))

    def colours(puzzle):
        return model({task.name: puzzle})[task.name][..., :2].numpy()

    puzzle, _, _ = make(task, images)
    other = puzzle | {"reference": -puzzle["reference"]}
    assert np.abs(colours(puzzle) - colours(other)).max() > 1e-4
    drawn = task.draws(puzzle, 1)
    np.testing.assert_array_equal(colours(drawn), colours(drawn | {"reference": tf.constant(puzzle["reference"])}))
    assert np.abs(colours(drawn) - colours(task.draws(puzzle, 2))).max() > 1e-4


def test_divergence_and_squared_error():
    rng = np.random.default_rng(0)
    ab = rng.integers(-100, 100, (2, 3, 3, 2))
    guess = rng.normal(size=(2, 3, 3, 2)).astype(np.float32)
    squared = ((guess - ab / SCALE) ** 2).sum(-1)
    np.testing.assert_allclose(SquaredColour().call(tf.cast(ab, tf.float32), guess), squared, rtol=1e-5)
    mean, deviation = np.array([1.0, 0.0]), np.array([0.5, 2.0])
    # Of two normal distributions: log(1 / s) + (s^2 + m^2 - 1) / 2.
    nats = (-np.log(deviation) + (deviation**2 + mean**2 - 1) / 2).sum()
    code = np.broadcast_to(np.concatenate([mean, 2 * np.log(deviation)]), (2, 3, 3, 4))
    whole = np.concatenate([guess, code], -1).astype(np.float32)
    loss = SquaredColour(2, 0.1).call(tf.cast(ab, tf.float32), whole)
    np.testing.assert_allclose(loss, squared + 0.1 * nats, rtol=1e-5)
    (error, divergence) = Colorization(diverse=2).metrics()
    divergence.update_state(ab, whole, np.ones((2, 1, 1)))
    np.testing.assert_allclose(divergence.result(), nats, rtol=1e-5)
    error.update_state(ab, whole, np.array([1.0, 0.0])[:, None, None])
    np.testing.assert_allclose(error.result(), np.sqrt(np.mean((guess[0] * SCALE - ab[0]) ** 2)), rtol=1e-5)


def test_accuracy_is_of_coloured_pictures_only():
    accuracy, error = Colorization().metrics()
    bins = lab.gamut_bins()
    answer = bins[[[0, 50], [100, 200]]][:, None].astype(np.int8)  # [2, 1, 2, 2]
    logits = 40 * np.eye(313, dtype=np.float32)[[[0, 50], [7, 8]]][:, None]
    accuracy.update_state(answer, logits, np.ones((2, 1, 1)))
    assert float(accuracy.result()) == 0.5
    accuracy.reset_state()
    for metric in (accuracy, error):
        metric.update_state(answer, logits, np.array([1.0, 0.0])[:, None, None])
    assert float(accuracy.result()) == 1.0
    assert float(error.result()) < 1e-3
    error.update_state(answer, logits)
    off = ((bins[[7, 8]] - bins[[100, 200]]) ** 2).mean()
    np.testing.assert_allclose(error.result(), np.sqrt(off / 3), rtol=1e-4)
    for metric in (accuracy, error):
        again = type(metric).from_config(metric.get_config() | {"name": "other"})
        again.update_state(answer, logits)
        assert again.name == "other"
    assert isinstance(again, ColourError)


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS, ids=str)
def test_learns_the_colours_of_a_few_pictures(task):
    """Eight toy scenes by heart: it can only be told by the lightness, or by the code."""
    keras.utils.set_random_seed(0)
    source = open_source("toy:images(count=8, size=32)")
    task = task.prepared(source)
    dataset = puzzle_stream.stream(source, [task], 32, 8, 0)
    model = make_model([task], {"image": make_trunk("resnet10(width=8)", 32)}, dataset.element_spec)
    model.compile(
        keras.optimizers.Adam(3e-3), loss={task.name: task.make_loss()}, weighted_metrics={task.name: task.metrics()}
    )
    history = model.fit(dataset, steps_per_epoch=40, epochs=4, shuffle=False, verbose=0).history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["ab_rmse"][-1] < 0.7 * history["ab_rmse"][0]
    if task.bins:
        assert history["accuracy"][-1] > 2 * max(task.shares)


def test_settings_are_read_and_written():
    task = parse_task("colorization(loss='regression', neighbours=5)")
    assert task == Colorization(loss="regression", neighbours=5)
    assert parse_task(str(task)) == task
    assert str(Colorization()) == "colorization"
    assert dataclasses.replace(task, loss="classification").bins
    assert isinstance(task.make_loss(), SquaredColour)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colorization(loss='l2')", "expected one of classification, regression"),
        ("colorization(neighbours=0)", "expected 1 or more"),
        ("colorization(sigma=0.0)", "expected more than 0"),
        ("colorization(temperature=-1.0)", "expected more than 0"),
        ("colorization(rebalance=0.0)", "expected above 0"),
        ("colorization(diverse=-1)", "numbers of a code"),
        ("colorization(beta=0.0)", "expected more than 0"),
        ("colorization(grey=100.0)", "expected 0 to below 100"),
        ("colorization(bins=3)", "no setting 'bins'"),
    ],
)
def test_wrong_settings(text, says):
    with pytest.raises(UserError, match=says):
        parse_task(text)


@pytest.mark.parametrize("task", KINDS, ids=str)
def test_picture(task, images):
    puzzle, answer, _ = make(task, images)
    assert len(task.picture(puzzle, answer, count=3).axes) == 2 * 3
    prediction = np.zeros((4, 8, 8, 313 if task.bins else 8), np.float32)
    titles = [axes.get_title() for axes in task.picture(puzzle, answer, prediction, count=2).axes]
    assert titles[:2] == ["grey", "picture"]
    assert titles[2].startswith("coloured, off by")
    titles = [axes.get_title() for axes in task.picture(puzzle, answer, [prediction] * 3, count=2).axes]
    assert titles[:5] == ["grey", "picture", "draw 1", "draw 2", "draw 3"]


def test_grey_stays_grey(images):
    lightness = lab.lightness(images)
    shown = coloured(lightness, np.zeros((4, 8, 8, 2), np.int8)).astype(int)
    assert np.ptp(shown, axis=-1).max() <= 1
    np.testing.assert_allclose(shown[2], images[2], atol=2)
