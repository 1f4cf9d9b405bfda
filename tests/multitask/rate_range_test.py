"""A range test raises the learning rate from update to update, and a third of where its loss was lowest is chosen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.multitask import rate_range
from tfssl.report.rate_figure import rate_figure


def curve(rates, noise=0.0):
    """A loss that stays at log 4 up to about 0.003, falls to 0.6 at 0.2, and rises steeply from there."""
    decades = np.log10(np.asarray(rates) / 0.2)
    falling = 1.386 - (1.386 - 0.6) * np.clip(1 + decades / 1.8, 0, 1)
    return falling + 3 * np.clip(decades, 0, None) + noise * np.random.default_rng(0).normal(size=len(rates))


def test_rates_rise_in_equal_ratios_around_the_usual_one():
    rates = rate_range.rates(0.2)
    assert len(rates) == 100
    assert (rates[0], rates[-1]) == pytest.approx((0.0002, 20))
    assert np.std(np.diff(np.log(rates))) < 1e-9


def test_smoothed_are_means_over_nine_updates():
    losses = np.random.default_rng(1).normal(size=30)
    found = rate_range.smoothed(losses)
    assert found[10] == pytest.approx(losses[6:15].mean())
    assert found[0] == pytest.approx(losses[:5].mean())
    assert found[-2] == pytest.approx(losses[-6:].mean())


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_third_of_the_rate_of_the_lowest_loss_is_chosen(noise):
    rates = rate_range.rates(0.1)
    chosen = rate_range.choose(rates, curve(rates, noise))
    assert chosen == pytest.approx(0.2 / 3, rel=0.5)  # smoothing moves it by some updates, 1.12 times each
    assert any(chosen == pytest.approx(rate / 3) for rate in rates)


def test_what_falls_again_after_it_rose_does_not_count():
    """As networks with batch norm do; but a rise within the noise is none."""
    rates = rate_range.rates(0.1)
    losses = curve(rates, 0.01)
    again = np.asarray(rates) > 1
    losses[again] = 0.4
    assert rate_range.choose(rates, losses) == pytest.approx(0.2 / 3, rel=0.5)
    losses = np.linspace(2, 1, 100) + 0.1 * np.random.default_rng(4).normal(size=100)
    assert np.diff(rate_range.smoothed(losses)).max() > 0.01
    assert rate_range.choose(rates, losses) > rates[85] / 3


def test_a_rise_before_the_loss_has_fallen_does_not_count():
    """As by the luck of some batches at rates too low for anything."""
    rates = rate_range.rates(0.1)
    losses = curve(rates, 0.001)
    losses[15:30] += 0.03
    assert rate_range.choose(rates, losses) == pytest.approx(0.2 / 3, rel=0.5)


def test_where_no_rate_helps_none_is_chosen():
    rates = rate_range.rates(0.1)
    noise = 1.386 + 0.02 * np.random.default_rng(2).normal(size=100)
    rising = noise + 5 * np.clip(np.log10(np.asarray(rates) / 0.1), 0, None)
    assert rate_range.choose(rates, rising) is None
    assert rate_range.choose(rates, noise[:9]) is None
    assert rate_range.choose(rates, []) is None


def test_losses_are_those_of_gradient_descent_by_rising_rates():
    """Until one is not finite; each is of the batches of an update, and the model has learned from those before."""
    rng = np.random.default_rng(3)
    inputs, outputs = rng.normal(size=(40, 4, 3)).astype(np.float32), rng.normal(size=(40, 4, 1)).astype(np.float32)
    rates = [*(0.01 * 1.2**update for update in range(12)), 1e30, 1e30, 0.1, 0.1]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    told = []
    found = rate_range.losses(model, tf.data.Dataset.from_tensor_slices((inputs, outputs)), rates, 1, told.append)
    weight, want = np.ones((3, 1)), []
    for rate, x, y in zip(rates, inputs, outputs, strict=False):
        error = x @ weight - y
        want.append(np.mean(error**2))
        weight = weight - rate * 2 * x.T @ error / len(x)
    assert len(found) == len(told) == 13  # the first step by 1e30 is seen at the next one
    np.testing.assert_allclose(found, want[:13], rtol=1e-4)


def test_the_figure_has_each_update_the_means_and_what_was_chosen():
    rates = rate_range.rates(0.1)
    losses = list(curve(rates)[:90])
    (axes,) = rate_figure({"rates": rates, "losses": losses, "chosen": 0.07, "found": True}).axes
    assert axes.get_xscale() == "log"
    each, means, chosen = axes.lines
    np.testing.assert_allclose(each.get_xydata(), np.column_stack([rates[:90], losses]))
    np.testing.assert_allclose(means.get_ydata(), rate_range.smoothed(losses))
    assert set(chosen.get_xdata()) == {0.07}
    low, high = axes.get_ylim()
    assert low < min(losses) < 1.386 < high < 3


def test_it_is_said():
    found = {"rates": [0.1] * 100, "losses": [], "chosen": 0.05, "found": True}
    want = "learning rate 0.05, a third of the 0.15 at which the loss was lowest before it rose in a range"
    want += " test of 100 updates"
    assert rate_range.sentence(found) == want
    want = "learning rate 0.05, the optimizer's own: the loss fell at no rate in a range test of 100 updates"
    assert rate_range.sentence(found | {"found": False}) == want
