"""Signatures of the heads that a run has: `predict_rotation`, `colorize`, `localise`.

Each has a network of its own, encoder included: batch norm statistics belong to a kind of input, and those of puzzles
are not those of whole pictures.
"""

from typing import TYPE_CHECKING

import tensorflow as tf

from tfssl.apply.colouring import Colourer
from tfssl.export.signatures import limits
from tfssl.export.signatures.encoder import Signature, image_bytes, waveform
from tfssl.tasks.audio_visual import AudioVisual, similarity_of
from tfssl.tasks.colorization import Colorization
from tfssl.tasks.rotation import Rotation

if TYPE_CHECKING:
    from tfssl.runs.run import Run


def head_signatures(run: "Run") -> list[Signature]:
    """Those of the tasks of a run; none where it has no such task."""
    found = []
    for task in run.tasks():
        if isinstance(task, Rotation):
            found.append(_rotation(run, task))
        elif isinstance(task, Colorization):
            found.append(_colorize(run, task))
        elif isinstance(task, AudioVisual) and task.fusion == "localise":
            found.append(_localise(run, task))
    return found


def _rotation(run: "Run", task: Rotation) -> Signature:
    """How far is each picture turned?

    -> "probabilities" float32 [N, rotations], "angle" int32 [N], the likeliest, in degrees counter-clockwise, and
    "valid" bool [N]; zeros where a row is no picture.
    """
    solver, size = run.solver(task.name), run.settings.size

    def function(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        images, valid = limits.pictures(limits.at_least_one(encoded, count), size)
        seen, angles = task.seen(images)
        logits = solver(seen, training=False)
        probabilities = tf.where(valid[:, None], tf.nn.softmax(logits), 0.0)
        angle = tf.where(valid, tf.gather(tf.constant(angles), tf.argmax(logits, 1)), 0)
        return {"probabilities": probabilities[:count], "angle": angle[:count], "valid": valid[:count]}

    return Signature("predict_rotation", (image_bytes(),), function, (solver,))


def _colorize(run: "Run", task: Colorization) -> Signature:
    """What colours had each picture? As the command `colorize`: upright, at its own size, its lightness kept.

    -> "png_bytes" string [N], empty where a row is no picture, and "valid" bool [N]. By the ending of that name
    TensorFlow Serving's REST knows that it is to be sent as base64.
    """
    colourer = Colourer(run, task)

    def function(encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        count = limits.count_rows(encoded)
        rows = limits.at_least_one(encoded, count)
        png = limits.whole_pictures(rows, lambda image: tf.io.encode_png(colourer.painted(image)))[:count]
        return {"png_bytes": png, "valid": tf.strings.length(png) > 0}

    return Signature("colorize", (image_bytes(),), function, (colourer.solver,))


def _localise(run: "Run", task: AudioVisual) -> Signature:
    """Where in each picture does its window of sound come from?

    -> "heat" float32 [N, h, w], logits: above 0 the place sounds; and "valid" bool [N], false with zeros where either
    is none. As many pictures as windows, or the request is refused.
    """
    model, size = similarity_of(run.solver(task.name)), run.settings.size

    def function(encoded: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        count, others = limits.count_rows(encoded), limits.count_rows(rows)
        told = ["a request must have as many windows of sound as pictures. Given:", others, count]
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(count, others), told)]):
            count = tf.identity(count)
        images, seen = limits.pictures(limits.at_least_one(encoded, count), size)
        waves, heard = limits.waveforms(limits.at_least_one(rows, count))
        valid = seen & heard
        heat = tf.where(valid[:, None, None], model({"image": images, "sound": waves}, training=False)[..., 0], 0.0)
        return {"heat": heat[:count], "valid": valid[:count]}

    return Signature("localise", (image_bytes(), waveform(run.sound["samples"])), function, (model,))  # type: ignore[index]
