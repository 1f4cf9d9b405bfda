"""Tracking: colours that are copied by similarity, what counts, and the scores."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.pipelines.clip_records_test import jpeg, record
from tests.tasks.clip_tasks_test import batch, numbered
from tfssl.base.errors import UserError
from tfssl.models.trunks import make_trunk
from tfssl.pipelines.ops import lab
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks.parts import copying
from tfssl.tasks.tracking import EMBEDDINGS, Tracking, _centres, stage_of

SEED = tf.constant([0, 1])
CENTRES = ((-40.0, 30.0), (0.0, 0.0), (60.0, 40.0))


def coloured(count: int) -> list[bytes]:
    """Frames of 32 px with a red bar on a lighter green ground, that moves two pixels a frame."""
    frames = np.empty((count, 32, 32, 3), np.uint8)
    frames[:] = (70, 140, 60)
    for number, frame in enumerate(frames):
        frame[:, (2 * number) % 32 : (2 * number) % 32 + 8] = (200, 40, 30)
    return [jpeg(frame) for frame in frames]


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@pytest.mark.parametrize("most", [0, 1, 3, 50])
@pytest.mark.parametrize("limited", [False, True])
def test_copying_is_that_of_a_loop(most, limited):
    generator = np.random.default_rng(0)
    target, references = generator.normal(size=(2, 5, 4)), generator.normal(size=(2, 12, 4))
    values, allowed = generator.uniform(size=(2, 12, 3)), generator.uniform(size=(5, 12)) < 0.5
    allowed[:, 0] = True
    expected = np.zeros((2, 5, 3))
    for row in range(2):
        for place in range(5):
            scores = [(float(target[row, place] @ other) / 2 / 0.7, n) for n, other in enumerate(references[row])]
            scores = sorted((each for each in scores if not limited or allowed[place, each[1]]), reverse=True)
            scores = scores[: most or None]
            shares = softmax(np.array([score for score, _ in scores]))
            expected[row, place] = sum(share * values[row, n] for share, (_, n) in zip(shares, scores, strict=True))
    given = [tf.constant(each, tf.float32) for each in (target, references, values)]
    made = copying.copied(*given, temperature=0.7, most=most, allowed=tf.constant(allowed) if limited else None)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_the_layer_copies_from_all_references():
    generator = np.random.default_rng(1)
    embedded = generator.normal(size=(2, 4, 3, 5, 8)).astype(np.float32)  # three references and the target
    colours = generator.integers(0, 6, (2, 3, 3, 5))
    made = copying.CopiedColours(6)([tf.constant(embedded), tf.constant(colours)]).numpy()
    assert made.shape == (2, 3, 5, 6)
    for row, y, x in [(0, 0, 0), (1, 2, 4), (1, 0, 3)]:
        others = embedded[row, :3].reshape(-1, 8)
        shares = softmax(others @ embedded[row, 3, y, x] / np.sqrt(8))
        expected = np.bincount(colours[row].reshape(-1), shares, minlength=6)
        np.testing.assert_allclose(np.exp(made[row, y, x]), expected, atol=1e-5)


def test_equal_embeddings_give_the_share_of_each_colour():
    """Chance: a network that tells no place from another says how common a colour is in the references."""
    colours = np.zeros((1, 2, 4, 4), int)
    colours[0, 1, :2] = 1
    made = copying.CopiedColours(2)([tf.ones([1, 3, 4, 4, 8]), tf.constant(colours)])
    np.testing.assert_allclose(np.exp(made.numpy()), np.broadcast_to([0.75, 0.25], (1, 4, 4, 2)), atol=1e-5)


def test_what_was_moved_is_found_again():
    """Embeddings that tell every place apart copy the colours of a picture that was moved, and only these."""
    generator = np.random.default_rng(2)
    embedded = 30 * keras.utils.normalize(generator.normal(size=(6, 6, 32)), -1).astype(np.float32)
    colours = generator.integers(0, 5, (6, 6))
    moved = np.roll(embedded, (1, 2), (0, 1))
    made = copying.CopiedColours(5)([tf.constant(np.stack([embedded, moved])[None]), tf.constant(colours[None, None])])
    np.testing.assert_array_equal(made.numpy().argmax(-1)[0], np.roll(colours, (1, 2), (0, 1)))


def test_loss_and_scores_are_those_of_numpy():
    generator = np.random.default_rng(3)
    answer = generator.integers(0, 3, (4, 2, 2, 2))
    logits = np.log(generator.dirichlet(np.ones(3), (4, 2, 2))).astype(np.float32)
    weight = np.array([1.0, 0.0, 1.0, 1.0], np.float32)[:, None, None]
    wanted, before = answer[..., 0], answer[..., 1]
    losses = -np.take_along_axis(logits, wanted[..., None], -1)[..., 0]
    given = tf.constant(answer), tf.constant(logits), tf.constant(weight)
    assert float(copying.CopyError()(*given)) == pytest.approx((losses * weight).mean(), rel=1e-5)
    guess, counts = logits.argmax(-1), np.broadcast_to(weight > 0, wanted.shape)
    changed = counts & (wanted != before)
    expected = {"accuracy": (guess == wanted)[counts], "stays": (before == wanted)[counts]}
    expected["moved"] = (guess == wanted)[changed]
    for metric in Tracking().metrics():
        for each in (metric, type(metric).from_config(metric.get_config())):
            each.update_state(*given)
            assert float(each.result()) == pytest.approx(expected[metric.name].mean())


@pytest.mark.parametrize("cell", [4, 8])
def test_puzzles_show_grey_frames_and_the_colours_of_references(cell):
    task = Tracking(references=2, gap=0.2, cell=cell, centres=CENTRES)
    clip = {"image": tf.zeros([4, 32, 32, 3], tf.uint8), "clip": tf.constant([record(coloured(20))] * 4)}
    puzzle, answer, weight = task.puzzles(clip, SEED)
    side = 32 // cell
    assert puzzle["lightness"].shape == (4, 3, 32, 32, 1)
    assert puzzle["colours"].shape == (4, 2, side, side)
    assert weight.numpy().tolist() == [[[1]]] * 4
    np.testing.assert_array_equal(answer[..., 1], puzzle["colours"][:, -1])
    # The bar is darker than the ground, so lightness tells where the colours must be.
    greys = np.concatenate([puzzle["lightness"].numpy()[:, -1], puzzle["lightness"].numpy()[:, 0]])[..., 0]
    colours = np.concatenate([answer.numpy()[..., 0], puzzle["colours"].numpy()[:, 0]])
    dark = (greys < 120).reshape(8, side, cell, side, cell).mean((2, 4))
    assert set(colours[dark < 0.1]) == {0}
    assert set(colours[dark > 0.9]) == {2}


def test_grey_or_still_or_short_clips_do_not_count():
    task = Tracking(centres=CENTRES)
    still, short, none = record(coloured(1) * 30), record(coloured(3)), record([], bytes(2000))
    grey, good = record(numbered(30)), record(coloured(30))
    _, _, weight = task.puzzles(batch([still, good, short, none, grey]), SEED)
    assert weight.numpy().reshape(-1).tolist() == [0, 1, 0, 0, 0]


def test_cells_are_means_and_centres_the_nearest():
    images = np.random.default_rng(4).integers(0, 256, (2, 20, 20, 3), np.uint8)
    task = Tracking(cell=8, centres=CENTRES)
    quarter = lab.quarter_ab(tf.constant(images)).numpy().astype(float)  # 5 x 5, so the last cells are of fewer
    expected = np.array([[quarter[0, y : y + 2, x : x + 2].mean((0, 1)) for x in (0, 2, 4)] for y in (0, 2, 4)])
    np.testing.assert_allclose(task.cells(tf.constant(images))[0], expected, atol=1e-4)
    distances = ((expected[..., None, :] - np.array(CENTRES)) ** 2).sum(-1)
    np.testing.assert_array_equal(task.nearest(task.cells(tf.constant(images)))[0], distances.argmin(-1))


def test_centres_are_learned_once_and_kept():
    points = np.repeat(np.array([[-40, 30], [0, 0], [60, 40]]), 50, 0)
    jittered = points + np.random.default_rng(5).integers(-2, 3, points.shape)
    np.testing.assert_allclose(_centres(jittered, 3), CENTRES, atol=1)
    assert len(_centres(points, 16)) == 3  # no more than there are colours
    task = Tracking().prepared(open_source("toy:clips(count=8, size=32, seconds=1.0)"))
    assert len(task.centres) == 16
    assert Tracking().with_learned(task.learned()) == task
    assert dataclasses.replace(task).prepared(None) == task


def test_head_gives_probabilities_and_an_embedding_for_any_size():
    trunk = make_trunk("plain(width=4)", 32)
    inputs = {
        "lightness": keras.Input((3, 32, 32, 1), dtype="uint8", name="lightness"),
        "colours": keras.Input((2, 8, 8), dtype="int32", name="colours"),
    }
    task = Tracking(references=2, centres=CENTRES, width=16)
    model = keras.Model(inputs, task.head({"image": trunk}, inputs))
    generator = np.random.default_rng(6)
    lightness = generator.integers(0, 256, (2, 3, 32, 32, 1), np.uint8)
    colours = generator.integers(0, 3, (2, 2, 8, 8)).astype(np.int32)
    shares = np.exp(model({"lightness": lightness, "colours": colours}).numpy())
    assert shares.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-4)
    assert model.get_layer(EMBEDDINGS)(np.zeros([1, 48, 80, 1], np.uint8)).shape == (1, 12, 20, 16)


def test_stage_is_the_last_that_is_as_fine_as_the_cells():
    names = {(32, 4): "stage3", (32, 8): "stage4", (96, 8): "stage2", (96, 2): "stage1"}  # of 96 px the stem is coarse
    for (size, stride), name in names.items():
        trunk = make_trunk("plain(width=4)", size)
        assert stage_of(trunk, "", stride).outputs[0] is trunk.body.get_layer(name).output
        assert stage_of(trunk, "stage1", stride).outputs[0] is trunk.body.get_layer("stage1").output
    with pytest.raises(UserError, match="stage='stage9' is given, the trunk has: stage1"):
        stage_of(trunk, "stage9", 8)
    assert [Tracking().cell_at(size) for size in (64, 96, 224)] == [4, 8, 8]


def test_settings_and_picture():
    assert str(Tracking(cell=8, references=1)) == "tracking(references=1, cell=8)"
    for wrong in ({"cell": 6}, {"references": 0}, {"colours": 1}, {"gap": 0}, {"grey": 100}, {"least_change": 1}):
        with pytest.raises(UserError, match="is given, expected"):
            Tracking(**wrong)
    task = Tracking(references=2, centres=CENTRES)
    puzzle, answer, _ = task.puzzles(batch([record(coloured(30))] * 2), SEED)
    assert len(task.picture(puzzle, answer, np.zeros([2, 4, 4, 3], np.float32)).axes) == 2 * 5
