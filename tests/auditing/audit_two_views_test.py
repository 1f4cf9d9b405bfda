"""What finds a view's partner: each shortcut is found where it is left open, and by its own probe."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support.leaky_tasks import leak
from tfssl.auditing import two_views
from tfssl.auditing.results import CONTENT, LEAK, OK
from tfssl.tasks.contrastive import Contrastive

TOY = "toy:images(count=128, size=40)"


@leak
class SameViews(Contrastive):
    """Augmentations that do nothing, as those of a public library did: but for a flip."""

    def views(self, images, seed):
        return tf.reshape(tf.stack([images, tf.reverse(images, [2])], 1), [-1, *images.shape[1:]])


@leak
class OnlyPulled(Contrastive):
    """Partners must be near, and nothing else: the same for all is perfect."""

    def make_loss(self):
        return Distance()


class Distance(keras.losses.Loss):
    """Squared distance of a row to the next."""

    def call(self, y_true, y_pred):
        pairs = tf.reshape(y_pred, [-1, 2, y_pred.shape[-1]])
        return tf.repeat(tf.reduce_sum(tf.square(pairs[:, 0] - pairs[:, 1]), -1), 2)


def audited(tasks):
    return tfssl.audit(TOY, tasks, size=32, count=128, verbose=0)


def verdicts(audit, task):
    names = ("views alike", "partner by colour histogram", "partner by colour histogram, not jittered")
    return [audit.verdict(name, task) for name in (*names, "constant embedding")]


@pytest.mark.slow
def test_a_histogram_tells_partners_unless_colours_are_jittered():
    audit = audited("contrastive")
    assert audit.ok
    assert verdicts(audit, "contrastive") == [OK, CONTENT, CONTENT, OK]
    with_jitter, without = (probe for probe in audit.probes if "histogram" in probe.name)
    assert with_jitter.chance == pytest.approx(1 / 125)  # of 63 pictures: 21 batches of 3
    assert without.found > 3 * with_jitter.found
    assert {probe.task for probe in audit.probes} == {"contrastive"}
    audit = audited("contrastive(strength=0.0)")
    assert verdicts(audit, "contrastive") == [OK, LEAK, CONTENT, OK]
    assert len(audit.leaks) == 1


def test_views_that_are_alike_and_a_loss_that_only_pulls_are_found():
    audit = audited([SameViews(), OnlyPulled()])
    assert verdicts(audit, "SameViews") == [LEAK, LEAK, CONTENT, OK]
    assert verdicts(audit, "OnlyPulled") == [OK, CONTENT, CONTENT, LEAK]


def test_histograms_count_colours():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    for picture, found in zip(pictures, two_views.histograms(pictures), strict=True):
        counts, _ = np.histogramdd(picture.reshape(-1, 3), bins=[np.arange(0, 257, 64)] * 3)
        np.testing.assert_allclose(np.square(found), counts.ravel() / 30)


def test_partners_are_found_by_the_nearest_vector():
    first, second = np.eye(4)[:3], np.eye(4)[[0, 1, 3]]
    second[1] = [0.5, 0.4, 0, 0]
    # Of picture 0 both; of picture 1 the first view, as the second is nearer to picture 0; of picture 2 none.
    np.testing.assert_array_equal(two_views.partners_found(first, second)[:2], [1, 0.5])
