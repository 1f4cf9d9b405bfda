"""Signatures of the heads that a run has: one of each of its tasks that is `Served`, as `predict_rotation`.

Each has a network of its own, encoder included: batch norm statistics belong to a kind of input, and those of puzzles
are not those of whole pictures.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from tfssl.export.signatures import classifier, dense, encoder, limits, words
from tfssl.export.signatures.encoder import Signature, image_bytes, waveform
from tfssl.tasks import TASKS
from tfssl.tasks.parts.served import Served, ServedNetwork

if TYPE_CHECKING:
    from tfssl.runs.run import Run

INPUTS: dict[str, tuple[str, ...]] = (
    encoder.INPUTS
    | classifier.INPUTS
    | dense.INPUTS
    | {name: takes for name, takes in words.INPUTS.items() if name not in encoder.INPUTS}
    | {task.signature: task.takes for task in TASKS.values() if issubclass(task, Served)}
)
"""All signatures that an export may have, with the names of their inputs."""

ROWS = {"image_bytes": "pictures", "waveform": "windows of sound"}
"""What the rows of each input are called."""


def head_signatures(run: "Run") -> list[Signature]:
    """Make the signatures of the tasks of a run; none where it has no such task."""
    size, samples = run.settings.size, run.sound["samples"] if run.sound else 0
    specs = {"image_bytes": image_bytes(), "waveform": waveform(samples)}
    signatures = []
    for task in run.tasks():
        if isinstance(task, Served) and (network := task.served(run)) is not None:
            function = _answer_whole(network) if network.at_own_size else _answer_crops(network, task.takes, size)
            inputs = tuple(specs[name] for name in task.takes)
            signatures.append(Signature(task.signature, inputs, function))
    return signatures


def _answer_crops(network: ServedNetwork, takes: Sequence[str], size: int) -> Callable[..., dict[str, tf.Tensor]]:
    """Return a network's answers to rows of its inputs, and "valid" bool [N], false with zeros where one is none.

    As many rows of each input, or the request is refused.
    """
    decode = {"image_bytes": limits.decoder(size), "waveform": limits.waveforms}

    def function(*rows: tf.Tensor) -> dict[str, tf.Tensor]:
        count = _same_count(rows, takes)
        decoded = [decode[name](limits.at_least_one(each, count)) for name, each in zip(takes, rows, strict=True)]
        valid = functools.reduce(operator.and_, (is_valid for _, is_valid in decoded))
        answers = network.answer(*(given for given, _ in decoded))
        known = {name: tf.where(_beside(valid, each), each, tf.zeros([], each.dtype)) for name, each in answers.items()}
        return {name: each[:count] for name, each in known.items()} | {"valid": valid[:count]}

    return function


def _answer_whole(network: ServedNetwork) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Return what a network makes of encoded pictures, each at its own size.

    Gives "png_bytes" string [N], empty where a row is no picture, and "valid" bool [N]. By the ending of that name
    TensorFlow Serving's REST knows that it is to be sent as base64.
    """

    def function(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        rows = limits.at_least_one(encoded, count)
        png = limits.whole_pictures(rows, lambda image: tf.io.encode_png(network.answer(image)))[:count]
        return {"png_bytes": png, "valid": tf.strings.length(png) > 0}

    return function


def _same_count(rows: Sequence[tf.Tensor], takes: Sequence[str]) -> tf.Tensor:
    """Count the rows of each input, int32 scalar.

    Raise InvalidArgumentError in the graph where the counts differ, or are too many.
    """
    count, *others = (limits.count_rows(each) for each in rows)
    for name, other in zip(takes[1:], others, strict=True):
        message = [f"a request must have as many {ROWS[name]} as {ROWS[takes[0]]}. Given:", other, count]
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(count, other), message)]):
            count = tf.identity(count)
    return count


def _beside(valid: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    """Reshape bool [N] to [N, 1, ...] of the rank of the answers."""
    return tf.reshape(valid, [-1] + [1] * (answers.shape.rank - 1))
