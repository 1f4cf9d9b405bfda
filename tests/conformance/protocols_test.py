"""What every evaluation protocol must hold. A new one is tested here without a line of its own."""

import json

import keras
import numpy as np
import pytest

import tfssl
from tests.support.protocol_checks import CHECKS, odd_data_gives_figures, what_a_run_keeps_of_it_is_read_again
from tfssl.evaluation.protocols import PROTOCOLS, parse
from tfssl.evaluation.protocols.base import Protocol
from tfssl.evaluation.protocols.tuned import Tuned
from tfssl.runs.evaluation import Evaluation, Score

PROBES = [protocol for protocol in PROTOCOLS.values() if issubclass(protocol, Protocol)]
EVERY = [*{protocol.scores: protocol for protocol in reversed(PROBES)}.values()]
"""One of those that differ in the places alone that they read."""


TRAINED = [protocol for protocol in PROTOCOLS.values() if issubclass(protocol, Tuned)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("protocol", EVERY, ids=lambda protocol: protocol.__name__)
def test_every_protocol(protocol, check):
    check(protocol())


def test_protocols_of_other_places():
    for protocol in PROBES:
        what_a_run_keeps_of_it_is_read_again(protocol())


@pytest.mark.parametrize("protocol", ["lowshot(labels=3)", "lowshot(by='svm', draws=2, labels=3)"])
def test_odd_data_with_settings(protocol):
    odd_data_gives_figures(parse(protocol))


def test_titles_tell_protocols_apart():
    titles = [protocol.title for protocol in PROTOCOLS.values()]
    assert len(set(titles)) == len(titles)
    assert all(protocol.pool is None or protocol.pool >= 1 for protocol in PROTOCOLS.values())


def test_protocols_that_do_the_same_are_run_once():
    linear, knn = parse("linear(penalty=0.5)"), parse("knn(neighbours=5)")
    assert (linear.penalty, knn.neighbours) == (0.5, 5)
    # The same probe with the same settings gives the same of the same rows; another does not.
    assert linear.way == parse("linear_pooled_2(penalty=0.5)").way
    assert linear.way != parse("linear_pooled").way
    assert linear.way != knn.way


@pytest.mark.parametrize("protocol", TRAINED, ids=lambda protocol: protocol.__name__)
def test_what_a_run_keeps_of_networks_that_were_trained_is_read_again(protocol):
    """It has a stage, but chooses none, and is nothing that `export` gives."""
    scores, facts = {protocol.name: {"stage1": Score(0.5, 0.25)}}, {protocol.name: protocol().facts}
    details = {"grid": {"stage1": 1}}
    made = Evaluation(trained=scores, random={}, protocols=facts, train_images=9, test_images=9, classes=("a", "b"),
                      details=details)  # fmt: skip
    read = Evaluation.from_json(json.loads(json.dumps(made.as_json())))
    assert (read, read.protocols) == (made, facts)
    title = facts[protocol.name].title
    assert f"{title[0].upper()}{title[1:]}, up to stage1, names 50.0 % of the 9 test images right" in str(read)
    assert read.measured_as_exported("stage1") == ()
    assert "layer_to_export" not in made.as_json()


@pytest.mark.slow
def test_odd_data_gives_figures_of_networks_that_are_trained():
    """Training lacks a class, the test another, and a class has one picture.

    All protocols at once, which takes three networks of a step each: from the trunk's weights on all labels and on half
    of them, and from random ones.
    """
    trunk = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, 8, name="stage1")], name="odd")
    rng = np.random.default_rng(0)
    labels, answers = np.repeat([0, 1, 2], [6, 5, 1]), np.array([0, 1, 3, 3])
    pictures, others = (rng.integers(0, 256, (len(each), 16, 16, 3)).astype(np.uint8) for each in (labels, answers))
    how = "steps=1, learning_rates=(0.01,)"
    protocols = [f"{each.name}({how}{', fraction=0.5, draws=1' * (each.name == 'semisupervised')})" for each in TRAINED]
    data = {"test": (others, answers), "protocols": protocols, "random": False, "cache": False}
    found = tfssl.evaluate(trunk, (pictures, labels), **data)
    assert [name.split("(")[0] for name in found.trained] == [each.name for each in TRAINED]
    for ((stage, score),) in (stages.items() for stages in found.trained.values()):
        assert stage == "stage1"
        assert all(0 <= share <= 1 for share in (score.top1, score.map, score.balanced, score.held_out))
        assert not score.right[2:].any()  # the class that was never learned
    assert found.train_images == 12
    assert len(found.classes) == 4
