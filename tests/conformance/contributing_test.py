"""The task that CONTRIBUTING.md shows is a task."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.auditing.results import FAULT, OK
from tfssl.models.trunks import make_trunk
from tfssl.training.guessing import chance_loss


@pytest.fixture
def mirror(tmp_path):
    page = Path(__file__).parents[2] / "CONTRIBUTING.md"
    if not page.is_file():
        pytest.skip("the tests run outside of a checkout")
    code, _ = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)  # the task, the protocol
    file = tmp_path / "mirror.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("mirror", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mirror()


def test_the_task_of_the_page(mirror):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    puzzle, answer, weight = mirror.puzzles({"image": tf.constant(images)}, tf.constant([0, 0]))
    expected = [picture for image in images for picture in (image, image[:, ::-1])]
    np.testing.assert_array_equal(puzzle, expected)
    np.testing.assert_array_equal(answer, [0, 1] * 3)
    np.testing.assert_array_equal(weight, np.ones(6))

    trunk = make_trunk("resnet10(width=8)", 32)
    asked = keras.Input((32, 32, 3), dtype="uint8", name="mirror")
    model = keras.Model(asked, mirror.head({"image": trunk}, asked))
    logits = model(puzzle)
    assert logits.shape == (6, 2)
    assert mirror.make_loss()(answer, logits).numpy() == pytest.approx(np.log(2))  # that of guessing
    assert len(mirror.picture(puzzle.numpy(), answer.numpy(), logits.numpy()).axes) == 6
    assert str(mirror) == "mirror"


def test_it_has_its_chance_level_and_its_audit(mirror):
    assert mirror.chance == 0.5
    assert chance_loss(mirror) == pytest.approx(np.log(2))
    audit = tfssl.audit("toy:images(count=40, size=32)", mirror, size=16, verbose=0)
    probes = {probe.name: probe for probe in audit.probes}
    assert (probes["answers balanced"].found, probes["answers balanced"].chance) == (0.5, 0.5)
    assert {probes[name].chance for name in ("mean colours", "borders, neutral", "sharpness directions")} == {0.5}
    # A picture beside its mirror image has the same colours and the same noise; and nothing of it is drawn at random.
    assert probes["mean colours"].verdict == probes["noise level, neutral"].verdict == OK
    assert [probe.name for probe in audit.leaks] == ["epochs differ"]
    assert probes["epochs differ"].verdict == FAULT
