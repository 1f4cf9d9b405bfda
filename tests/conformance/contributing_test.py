"""The task that CONTRIBUTING.md shows is a task."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.models.trunks import make_trunk


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
