import numpy as np
import pytest

from tfssl.training.schedules import learning_rate


def test_cosine_with_warm_up():
    rates = np.array([learning_rate(step, 100, 0.8, "cosine", 0.1) for step in range(100)])
    np.testing.assert_allclose(rates[:10], 0.8 * np.arange(1, 11) / 11)
    np.testing.assert_allclose(rates[10:], 0.4 * (1 + np.cos(np.pi * np.arange(90) / 90)))


def test_step():
    rates = [learning_rate(step, 200, 0.1, "step", 0) for step in (0, 59, 60, 119, 120, 159, 160, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])  # RotNet's on CIFAR-10
