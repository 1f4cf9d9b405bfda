import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.multitask.model import PretextModel, build_metrics, compile_model
from tfssl.tasks import parse_tasks
from tfssl.tasks.shuffle_and_learn import ShuffleAndLearn
from tfssl.training import showing
from tfssl.training.callbacks import Steps
from tfssl.training.guessing import AboveGuessing, chance_loss

ROWS, WARM_UP = 4, 3
GUESS = {"rotation": np.log(4), "relative_position": np.log(8)}


def logits(loss, choices):
    """[ROWS, choices]: the first logit is so far from the others, 0, that it has this cross-entropy."""
    return np.tile([-np.log(np.expm1(loss) / (choices - 1))] + [0.0] * (choices - 1), [ROWS, 1])


def said(text, losses, steps_per_epoch=1000, start=0):
    """What is said of tasks whose loss at each step is given: {task: one loss a step}."""
    tasks, lines = parse_tasks(text), []
    inputs = {task.name: keras.Input([task.choices], name=task.name) for task in tasks}
    puzzles = {task.name: np.stack([logits(loss, task.choices) for loss in losses[task.name]]) for task in tasks}
    answers = {task.name: np.zeros([len(losses[task.name]), ROWS], np.int32) for task in tasks}
    weights = {task.name: np.ones([len(losses[task.name]), ROWS], np.float32) for task in tasks}
    data = tf.data.Dataset.from_tensor_slices((puzzles, answers, weights))
    one = keras.layers.Dense(tasks[0].choices, use_bias=False, kernel_initializer="identity", name="as_it_is")
    model = PretextModel(inputs, inputs | {tasks[0].name: one(inputs[tasks[0].name])})
    compile_model(model, tasks, {}, keras.optimizers.SGD(0.0))
    build_metrics(model, data.element_spec)
    steps = Steps(start, lambda step: 0.0, ROWS)
    listeners = [steps, AboveGuessing(tasks, steps, WARM_UP, lines.append)]
    count = len(losses[tasks[0].name])
    settings = {"steps_per_epoch": min(steps_per_epoch, count), "epochs": max(1, count // steps_per_epoch)}
    model.fit(data, callbacks=listeners, shuffle=False, verbose=0, **settings)
    return lines


def test_the_mean_of_twenty_steps_after_the_warm_up_is_held_against_chance():
    losses = {"rotation": [9.0] * WARM_UP + [1.0, 2.2] * 10 + [9.0] * 4}  # 1.6 in the mean; chance is 1.386
    (line,) = said("rotation", losses)
    assert line.startswith("rotation: the loss is 1.6 after 23 steps, above 1.39, that of guessing")
    assert "lower --learning-rate" in line
    assert "\n" not in line
    assert said("rotation", losses, steps_per_epoch=9) == [line]  # of which each begins the sums anew


def test_nothing_is_said_at_chance_before_and_after():
    assert said("rotation", {"rotation": [9.0] * WARM_UP + [1.0, 2.0] * 10 + [9.0] * 4}) == []  # 1.5
    assert said("rotation", {"rotation": [9.0] * (WARM_UP + 19)}) == []  # too few to judge by


def test_the_task_that_is_above_chance_is_named():
    losses = {"rotation": [1.5] * 30, "relative_position": [2.4] * 30}  # chance 2.079
    (line,) = said("rotation, relative_position", losses)
    assert line.startswith("relative_position: the loss is 2.4 after 23 steps, above 2.08")


def test_a_weight_is_no_loss():
    assert said("rotation(weight=3)", {"rotation": [1.4] * 30}) == []
    (line,) = said("rotation(weight=0.1)", {"rotation": [5.0] * 30})
    assert "the loss is 5 after" in line


def test_a_run_that_goes_on_is_looked_at_after_twenty_steps_of_its_own():
    (line,) = said("rotation", {"rotation": [5.0] * 25}, start=100)
    assert "after 120 steps" in line


def test_chance_is_the_entropy_of_the_shares():
    for name, loss in GUESS.items():
        assert chance_loss(parse_tasks(name)[0]) == pytest.approx(loss)
    task = ShuffleAndLearn(positives=0.25)
    assert chance_loss(task) == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))


def test_a_run_with_an_absurd_learning_rate_says_so(tmp_path, capsys):
    settings = {"trunk": "plain(width=4)", "size": 32, "batch_size": 8, "report": False, "verbose": 0}
    settings |= {"epochs": 1, "steps_per_epoch": 22, "learning_rate": 60.0}
    tfssl.pretrain("toy:images(count=72, size=32)", "rotation", out=tmp_path / "run", **settings)
    assert "rotation: the loss is" in capsys.readouterr().err


def test_what_is_said_while_training_has_a_line_of_its_own(tmp_path, capfd, monkeypatch):
    """Keras does not end the line of its bar, and a sentence stood behind it where nobody saw it."""
    monkeypatch.setattr(showing, "can_redraw", lambda stream: True)  # as a terminal
    settings = {"trunk": "plain(width=4)", "size": 32, "epochs": 1, "steps_per_epoch": 12, "batch_size": 8}
    with pytest.raises(tfssl.UserError, match="not finite"):
        tfssl.pretrain("toy:images(count=24, size=32)", "rotation", out=tmp_path / "run", learning_rate=1e6, **settings)
    bar = capfd.readouterr().out
    assert "loss: " in bar
    assert bar.endswith("\n")
