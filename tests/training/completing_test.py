"""What a run takes where nothing was given."""

import pytest

from tfssl.pipelines.sources.any_source import open_source
from tfssl.training.completing import completed
from tfssl.training.config import PretrainSettings


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ("toy:images(count=16, size=32)", 32),
        ("toy:images(count=16, size=63)", 32),
        ("toy:images(count=16, size=64)", 96),
        ("toy:images(count=16, size=128)", 96),
        ("toy:clips(count=8, size=32, seconds=0.4)", 96),
    ],
)
def test_size_follows_from_the_pictures(data, size):
    source = open_source(data, 0.0)
    assert completed(PretrainSettings(data=data, batch_size=8), source).size == size
    assert completed(PretrainSettings(data=data, batch_size=8, size=40), source).size == 40


@pytest.mark.parametrize(
    ("given", "epochs"),
    [
        ({}, 667),  # of 3 steps
        ({"batch_size": 200}, 2000),
        ({"batch_size": 300}, 2000),  # refused later: more than there are
        ({"steps_per_epoch": 900}, 3),
        ({"steps_per_epoch": 5000}, 1),
        ({"epochs": 7, "steps_per_epoch": 900}, 7),
    ],
)
def test_epochs_make_two_thousand_steps(given, epochs):
    data = "toy:images(count=200, size=32)"
    assert completed(PretrainSettings(data=data, **given), open_source(data, 0.0)).epochs == epochs


def test_text_is_read_twenty_times():
    data = "toy:text(count=300)"
    assert completed(PretrainSettings(data=data), open_source(data, 0.0)).epochs == 20
