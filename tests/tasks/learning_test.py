"""Every task on pictures learns the toy world within a stated number of steps, and solves it on scenes never seen."""

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.multitask import puzzle_stream
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks.inpainting import take_apart
from tfssl.tasks.parts import colour_bins

SCENES = "toy:images(count=1000, size=64)"
UNSEEN = "toy:images(count=512, size=64, start=5000)"
COUNT = 512

# Task, settings of the run, least accuracy: halfway from chance to 100 % of few classes, three times chance of many.
CHOICES = [
    ("rotation", {"size": 32, "steps_per_epoch": 200, "learning_rate": 0.05}, (1 + 1 / 4) / 2),
    ("jigsaw", {"size": 48, "steps_per_epoch": 600, "learning_rate": 0.05}, 3 / 100),
    (
        "relative_position(grid=2, colour='keep', resample=0.0)",
        {"size": 48, "steps_per_epoch": 800, "learning_rate": 0.2, "trunk": "resnet10(width=16)"},
        (1 + 1 / 8) / 2,
    ),
]


def solved(text, folder, **settings):
    """Trains, in steps of 64 pictures, and answers puzzles of unseen scenes: arrays (puzzles, answers, predictions)."""
    settings = {"trunk": "resnet10(width=8)", "epochs": 1, "report": False, "verbose": 0} | settings
    run = tfssl.pretrain(SCENES, text, out=folder / "run", **settings)
    (task,) = run.tasks()
    solver, found = run.solver(task.name), []
    for puzzle, answer, _ in puzzle_stream.stream(open_source(UNSEEN), [task], settings["size"], 64, seed=9).take(
        COUNT // 64
    ):
        found.append((puzzle[task.name], answer[task.name], solver(puzzle[task.name], training=False)))
    return [tf.nest.map_structure(lambda *parts: np.concatenate(parts), *each) for each in zip(*found, strict=True)]


def least(values):
    """The lower 99 % bound of a mean over pictures: puzzles of one picture are one look at it. values: [pictures]."""
    return np.mean(values) - 2.326 * np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.mark.slow
@pytest.mark.parametrize(("text", "settings", "share"), CHOICES, ids=[text for text, *_ in CHOICES])
def test_chooses_right(text, settings, share, tmp_path):
    _, answer, prediction = solved(text, tmp_path, **settings)
    right = (prediction.argmax(-1) == answer).reshape(COUNT, -1).mean(1)
    assert least(right) > share, right.mean()


@pytest.mark.slow
def test_colours_better_than_one_colour_for_all(tmp_path):
    """Three times chance would be 1 % of the pixels: the commonest bin alone is right of ten times as many."""
    _, answer, prediction = solved(
        "colorization(rebalance=1.0)", tmp_path, size=32, steps_per_epoch=400, learning_rate=0.1
    )
    bins = colour_bins.nearest_bin(tf.constant(answer)).numpy()
    right = (prediction.argmax(-1) == bins).mean((1, 2))
    commonest = (bins == np.bincount(bins.ravel()).argmax()).mean((1, 2))
    assert least(right) > 3 / 313
    assert least(right - commonest) > 0, (right.mean(), commonest.mean())

    ab = answer.astype(np.float32)
    guess = colour_bins.annealed_mean(tf.constant(prediction), 0.38).numpy()
    mistakes = np.square(guess - ab).mean((1, 2, 3))
    of_mean_colour = np.square(ab - ab.mean((0, 1, 2))).mean((1, 2, 3))
    of_grey = np.square(ab).mean((1, 2, 3))
    for other in (of_mean_colour, of_grey):
        assert least(other - mistakes) > 0, (np.sqrt(mistakes.mean()), np.sqrt(other.mean()))


@pytest.mark.slow
def test_paints_better_than_the_mean_of_what_is_shown(tmp_path):
    puzzle, answer, prediction = solved("inpainting", tmp_path, size=32, steps_per_epoch=300, learning_rate=0.1)
    colours, counts = (part.numpy() for part in take_apart(tf.constant(answer)))
    hidden, shown = counts == 1, (counts == 0)[..., None]
    mean = (colours * shown).sum((1, 2)) / shown.sum((1, 2))

    def mistakes(painted):
        squared = np.square((np.clip(painted, -1, 1) - colours) / 2).mean(-1)
        return (squared * hidden).sum((1, 2)) / hidden.sum((1, 2))

    mine, flat = mistakes(prediction), mistakes(mean[:, None, None])
    assert least(flat - mine) > 0, (mine.mean(), flat.mean())
    assert puzzle.shape == (COUNT, 32, 32, 3)
