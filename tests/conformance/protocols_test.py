"""What every evaluation protocol must hold. A new one is tested here without a line of its own."""

import pytest

from tests.support.protocol_checks import CHECKS
from tfssl.evaluation import sound
from tfssl.evaluation.protocols import PROTOCOLS

EVERY = dict.fromkeys((*PROTOCOLS.values(), *sound.PROTOCOLS))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("protocol", EVERY, ids=lambda protocol: protocol.__name__)
def test_every_protocol(protocol, check):
    check(protocol())


def test_titles_tell_protocols_apart():
    titles = [protocol.title for protocol in PROTOCOLS.values()]
    assert len(set(titles)) == len(titles)
    assert all(protocol.pool is None or protocol.pool >= 1 for protocol in PROTOCOLS.values())


def test_settings_are_those_that_a_protocol_has():
    asked = {"seed": 3, "neighbours": 5, "epochs": 2, "learning_rate": 0.5}
    linear, knn = PROTOCOLS["linear"].of(**asked), PROTOCOLS["knn"].of(**asked)
    assert (linear.seed, linear.epochs, linear.learning_rate, knn.neighbours) == (3, 2, 0.5, 5)
    assert not hasattr(knn, "epochs")
    # The same probe with the same settings gives the same of the same rows; another does not.
    assert linear.way == PROTOCOLS["linear_pooled_2"].of(**asked).way
    assert linear.way != PROTOCOLS["linear_pooled"]().way
    assert linear.way != knn.way
